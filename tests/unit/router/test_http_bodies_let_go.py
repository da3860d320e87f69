"""A body is held until its answer is committed, and no longer: open streams leave the memory to other requests."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.router.cascades import RULE, SURE, UNSURE, cascading, small
from tests.unit.router.running_router import HANGS_SECONDS, Client, Router, chat, post, route, running, tier, until
from tests.unit.router.scripted_upstream import (
    COMPLETION,
    DONE,
    FINISH,
    LAST_CHUNK,
    ROLE,
    STREAM_HEAD,
    USAGE,
    Do,
    Script,
    Step,
    Upstream,
    chunk,
    upstream,
    word,
)
from tierwise.routing.route import Sampling
from tierwise_router.bodies import Bodies
from tierwise_router.request_body import read

KIB, MIB = 1 << 10, 1 << 20
BEGUN: list[Step] = [STREAM_HEAD, chunk(ROLE), chunk(word("Hel"))]
REST: list[Step] = [chunk(word("lo")), chunk(FINISH), chunk(USAGE), chunk(DONE), LAST_CHUNK]


class Watched(Bodies):
    """Fails where more is given back than was taken."""

    def __setattr__(self, name: str, value: Any) -> None:
        assert value >= 0, (name, value)
        super().__setattr__(name, value)


def asked(size: int, **more: Any) -> bytes:
    """A request for a stream with a prompt of this size."""
    return post(chat(stream=True) | {"messages": [{"role": "user", "content": "x" * size}]} | more)


def bodies(router: Router) -> Bodies:
    """Of a router; from now on watched."""
    found = router.server._shared.bodies
    found.__class__ = Watched
    return found


@asynccontextmanager
async def serving(script: Script, *, bound: int = MIB, **changes: Any) -> AsyncIterator[tuple[Router, Upstream]]:
    """A router before one server that plays this."""
    async with (
        upstream(default=script) as up,
        running(route(tier("a", up), **changes), most_bodies_bytes=bound) as router,
    ):
        yield router, up


async def opened(client: Client, request: bytes) -> None:
    """The first of a streamed answer has come."""
    client.say(request)
    async with asyncio.timeout(HANGS_SECONDS):
        await client.reader.readuntil(b"Hel")


@pytest.mark.parametrize("more", [{}, {"stream_options": {"include_usage": True}}])
async def test_open_streams_leave_the_memory_to_further_requests(more: dict[str, Any]) -> None:
    going = asyncio.Event()
    async with serving([*BEGUN, going, *REST]) as (router, up), AsyncExitStack() as clients:
        counted = bodies(router)
        for _ in range(10):
            client = await clients.enter_async_context(router.client())
            await opened(client, asked(300 * KIB, **more))
            assert counted.used == 0
        going.set()
        answer = await router.ask(asked(300 * KIB))
        assert (answer.status, answer.whole, counted.refused) == (200, True, 0)
        assert [len(seen.body) > 300 * KIB for seen in up.seen] == [True] * 11


async def test_nothing_of_a_body_stays_in_memory_while_its_stream_is_open() -> None:
    going = asyncio.Event()
    # Each is as long as it can be, and none of them has anything to say.
    long: dict[str, Any] = {
        "stream_options": {"include_usage": True, "x": "x" * MIB},
        "service_tier": "x" * MIB,
        "response_format": {"type": "x" * MIB},
        "user": "x" * MIB,
    }
    async with serving([*BEGUN, going, *REST], bound=64 * MIB) as (router, up), AsyncExitStack() as clients:
        ready = [await clients.enter_async_context(router.client()) for _ in range(3)]
        await router.ask(post(b"{}"))  # what the first request of a process takes
        gc.collect()
        tracemalloc.start()
        try:
            for client in ready:
                await opened(client, asked(MIB, **long))
            up.seen.clear()
            gc.collect()
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < MIB
        going.set()


async def test_an_attempt_that_fails_before_the_commit_leaves_its_body_to_the_next_one() -> None:
    going = asyncio.Event()
    request = asked(300 * KIB)
    fails: Script = [STREAM_HEAD, chunk(ROLE), going, Do.RESET]
    async with (
        upstream(default=[*BEGUN, *REST]) as up,
        upstream(default=[*BEGUN, *REST]) as other,
        running(route(tier("a", up, other)), most_bodies_bytes=MIB) as router,
        router.client() as client,
    ):
        counted = bodies(router)
        up.scripts = other.scripts = [fails]  # one of them, whichever is asked first
        client.say(request)
        await until(lambda: up.seen + other.seen)
        await asyncio.sleep(0.02)
        assert counted.used == len(request.partition(b"\r\n\r\n")[2]), "nobody has got anything of the answer"
        going.set()
        answer = await client.answer()
        assert (answer.status, answer.whole) == (200, True)
        (first,), (second,) = up.seen, other.seen
        assert first.body == second.body
        assert len(second.body) > 300 * KIB
        assert counted.used == 0


@pytest.mark.parametrize("ends", ["well", "broken", "cut", "client", "router"])
async def test_what_was_let_go_is_not_given_back_again_however_the_answer_ends(ends: str) -> None:
    going = asyncio.Event()
    after: dict[str, list[Step]] = {"broken": [Do.RESET], "cut": [LAST_CHUNK]}
    async with serving([*BEGUN, going, *after.get(ends, REST)]) as (router, _), router.client() as client:
        counted = bodies(router)
        async with router.client() as other:
            other.say(asked(KIB)[:-1])  # what is held of it must be there to the end
            await until(lambda: counted.used > KIB)
            held = counted.used
            await opened(client, asked(300 * KIB))
            assert counted.used == held
            if ends == "client":
                client.vanish()
            elif ends == "router":
                for attempt in list(router.state.attempts):
                    attempt.end()
            going.set()
            await until(lambda: router.records)
            await asyncio.sleep(0.02)
            outcome = {"well": "ok", "client": "client_gone"}.get(ends, "broken")
            assert [record.outcome for record in router.records] == [outcome]
            assert counted.used == held
        await until(lambda: counted.used == 0)


async def test_requests_that_follow_on_a_connection_hold_their_own_bodies() -> None:
    going = asyncio.Event()
    async with serving([*BEGUN, going, *REST]) as (router, _), router.client() as client:
        counted = bodies(router)
        second = asked(KIB)
        client.say(asked(2 * KIB) + second)
        await client.reader.readuntil(b"Hel")
        assert counted.used == len(second.partition(b"\r\n\r\n")[2])
        going.set()
        await client.reader.readuntil(b"[DONE]")
        await client.reader.readuntil(b"[DONE]")
        assert counted.used == 0


@pytest.mark.parametrize(("value", "shadow"), [(SURE, False), (UNSURE, False), (UNSURE, True)])
async def test_a_held_answer_holds_its_body_until_it_is_released(value: float, shadow: bool) -> None:
    more, going = asyncio.Event(), asyncio.Event()
    events = small(*[value] * 9)
    first, then, last = (list(map(chunk, part)) for part in (events[:4], events[4:7], events[7:]))
    cheap: Script = [STREAM_HEAD, *first, more, *then, going, *last, LAST_CHUNK]
    dear: Script = [*BEGUN, going, *REST]
    rule = replace(RULE, shadow=shadow)
    async with (
        cascading(cheap, dear=dear, rule=rule) as (router, one, two),
        router.client() as client,
    ):
        counted = bodies(router)
        request = asked(300 * KIB)
        client.say(request)
        await until(lambda: one.seen)
        if shadow:
            await until(lambda: counted.used == 0)
        else:
            await asyncio.sleep(0.02)
            assert counted.used == len(request.partition(b"\r\n\r\n")[2])
        more.set()
        await client.reader.readuntil(b"Hel" if value == UNSURE and not shadow else b"s3 ")
        assert counted.used == 0
        going.set()
        await client.reader.readuntil(b"[DONE]")
        assert len(two.seen) == (value == UNSURE and not shadow)
        assert all("x" * 300 * KIB in seen.body.decode() for seen in two.seen)


async def test_the_copy_of_a_sample_is_counted_until_the_answer_is_whole() -> None:
    going = asyncio.Event()
    sampling = Sampling(100, "a", Decimal(5))
    async with serving([*BEGUN, going, *REST], sampling=sampling) as (router, _):
        counted = bodies(router)
        async with router.client() as client, router.client() as too_large:
            request = asked(100 * KIB)
            await opened(client, request)
            size = len(request.partition(b"\r\n\r\n")[2])
            assert counted.used == size
            await opened(too_large, asked(300 * KIB))
            assert counted.used == size, "of what is too large to be compared there is no copy"
            going.set()
            await client.reader.readuntil(b"[DONE]")
            await until(lambda: counted.used == 0)
            sample = router.state.sampler.take()
            assert sample is not None
            assert request.endswith(sample.body)


async def test_answers_in_one_piece_and_errors_give_back_what_was_held() -> None:
    async with serving([COMPLETION]) as (router, up), router.client() as client:
        counted = bodies(router)
        refusal = b'HTTP/1.1 400 X\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n{"error":{}}'
        up.scripts = [[COMPLETION], [refusal]]
        for status in (200, 400):
            assert (await client.ask(post(chat(user="x" * 300 * KIB)))).status == status
            await until(lambda: counted.used == 0)
        assert (await client.ask(post(b'{"x":"' + b"x" * 300 * KIB + b'"}'))).status == 400
        await until(lambda: counted.used == 0)


def test_what_is_let_go_keeps_what_is_asked_of_it_later() -> None:
    body = read(b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}')
    body.let_go()
    assert (body.raw, body.options) == (b"", b"")
    assert (body.model, body.stream, body.wants_usage) == ("m", True, True)
