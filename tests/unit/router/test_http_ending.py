"""A router that ends: what is open goes on while there is time, and then every client is told what became of it.

Numbers in names are those of the forty cases that a router of this kind has to survive.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

import tierwise_router.client_connection
from tests.unit.router.router_process import router as router_process
from tests.unit.router.running_router import Client, Router, chat, post, route, running, tier, until
from tests.unit.router.scripted_upstream import (
    COMPLETION,
    DONE,
    FINISH,
    ROLE,
    STREAM_HEAD,
    USAGE,
    Do,
    Script,
    chunk,
    upstream,
    word,
)
from tierwise.routing.route import Budget, QueueLimits

TALKS: Script = [STREAM_HEAD, chunk(ROLE + word("a")), Do.HOLD]
DRAIN_SECONDS = 60.0
"""More than any wait here takes: a drain that has ended has waited for nobody until its time was over."""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A router that waits for long before it breaks off what is ending: what has ended by then has ended by itself."""
    monkeypatch.setattr(tierwise_router.client_connection, "LINGER_SECONDS", 60.0)


async def _drained(draining: asyncio.Task[None]) -> None:
    await until(draining.done)
    await draining


async def test_case_22_fifty_streams_end_well_while_the_router_drains() -> None:
    going = asyncio.Event()
    script: Script = [
        STREAM_HEAD,
        chunk(ROLE + word("a")),
        going,
        chunk(word("b") + FINISH + USAGE + DONE),
        b"0\r\n\r\n",
    ]
    async with (
        upstream(default=script) as up,
        running(route(tier("a", up))) as router,
        contextlib.AsyncExitStack() as stack,
    ):
        idle = await stack.enter_async_context(router.client())
        assert (await idle.ask(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")).status == 200
        clients = [await stack.enter_async_context(router.client()) for _ in range(50)]
        for client in clients:
            client.say(post(chat(True)))
        await until(lambda: len(up.seen) == 50)
        draining = asyncio.create_task(router.server.drain(DRAIN_SECONDS))
        assert await idle.rest() == b""
        got = await router.ask(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (got.status, got.headers["connection"]) == (503, "close")
        going.set()
        for client in clients:
            ended = await client.answer()
            assert (ended.whole, ended.body) == (True, ROLE + word("a") + word("b") + FINISH + DONE)
        await _drained(draining)


async def test_an_answer_that_began_before_the_drain_promised_its_connection_so_one_more_is_answered_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its head could not say that it would be closed; a client that asks at once would find it closed under it."""
    monkeypatch.setattr(tierwise_router.client_connection, "LAST_REQUEST_SECONDS", 30.0)  # "at once", on a busy machine
    going = asyncio.Event()
    script: Script = [STREAM_HEAD, chunk(ROLE + word("a")), going, chunk(FINISH + USAGE + DONE), b"0\r\n\r\n"]
    async with (
        upstream(script, default=[COMPLETION]) as up,
        running(route(tier("a", up))) as router,
        router.client() as client,
    ):
        client.say(post(chat(True)))
        await until(lambda: any(attempt.committed for attempt in router.state.attempts))
        draining = asyncio.create_task(router.server.drain(DRAIN_SECONDS))
        await until(lambda: router.only.closing)
        going.set()
        first = await client.answer()
        assert (first.whole, first.headers.get("connection")) == (True, None)
        second = await client.ask(post(chat()))
        assert (second.status, second.headers["connection"]) == (200, "close")
        assert await client.rest() == b""
        await _drained(draining)


async def test_a_connection_that_stays_idle_ends_a_moment_after_its_answer_while_the_router_drains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert tierwise_router.client_connection.LAST_REQUEST_SECONDS <= 1, "a moment"
    monkeypatch.setattr(tierwise_router.client_connection, "LAST_REQUEST_SECONDS", 5.0)  # long beside a late turn
    going = asyncio.Event()
    script: Script = [STREAM_HEAD, chunk(ROLE + word("a")), going, chunk(FINISH + USAGE + DONE), b"0\r\n\r\n"]
    async with upstream(script) as up, running(route(tier("a", up))) as router, router.client() as client:
        client.say(post(chat(True)))
        await until(lambda: any(attempt.committed for attempt in router.state.attempts))
        draining = asyncio.create_task(router.server.drain(DRAIN_SECONDS))
        began = time.monotonic()
        going.set()
        assert (await client.answer()).whole
        assert await client.rest() == b""
        assert 4 < time.monotonic() - began < 10
        await _drained(draining)


async def _last_words(router: Router) -> None:
    """End as the process does when the time for open answers is over."""
    await router.server.drain(0.0)
    router.state.end()
    await _drained(asyncio.create_task(router.server.drain(DRAIN_SECONDS)))


async def test_a_stream_that_is_longer_than_the_drain_ends_with_an_error_and_not_without_a_word() -> None:
    async with (
        upstream(default=TALKS) as up,
        running(route(tier("a", up))) as router,
        router.client() as client,
    ):
        client.say(post(chat(True)))
        await until(lambda: any(attempt.committed for attempt in router.state.attempts))
        await _last_words(router)
        got = await client.answer()
        assert (got.status, got.whole) == (200, False), "nobody takes it for complete"
        *events, last = got.body.removesuffix(b"\n\n").split(b"\n\n")
        assert b"".join(event + b"\n\n" for event in events) == ROLE + word("a")
        assert orjson.loads(last.removeprefix(b"data: "))["error"]["code"] == "router_ending"
        await until(lambda: up.open == 0)
        (record,) = router.records
        assert (record.outcome, record.charges[0].tier) == ("broken", "a")
        assert router.state.ledger.failures["a", "ending"] == 1


@pytest.mark.parametrize("streamed", [True, False])
async def test_who_has_no_answer_when_the_router_ends_is_told_to_ask_again_and_no_other_tier_is_asked(
    streamed: bool,
) -> None:
    async with (
        upstream(default=[Do.HOLD]) as up,
        upstream(default=[COMPLETION]) as other,
        running(route(tier("a", up), tier("b", other), budget=Budget(Decimal(1)))) as router,
        router.client() as client,
    ):
        client.say(post(chat(streamed)))
        await until(lambda: len(up.seen) == 1)
        await _last_words(router)
        got = await client.answer()
        assert (got.status, got.code, got.headers["retry-after"]) == (503, "router_ending", "1")
        assert other.seen == []
        account = router.state.purse.account
        assert account is not None
        assert account.reserved == 0


async def test_who_waits_for_a_replica_when_the_router_ends_is_told_to_ask_again() -> None:
    served = route(tier("a"), queue=QueueLimits(10, 60.0, 60.0))
    async with running(served) as router, contextlib.AsyncExitStack() as stack:
        clients: list[Client] = [await stack.enter_async_context(router.client()) for _ in range(3)]
        for client in clients:
            client.say(post(chat()))
        await until(lambda: router.state.tiers["a"].waiting == 3)
        await _last_words(router)
        told = [await client.answer() for client in clients]
        assert {(one.status, one.code, one.headers["retry-after"]) for one in told} == {(503, "router_ending", "1")}


async def test_the_process_says_its_last_words_within_its_drain(tmp_path: Path) -> None:
    async with upstream(default=TALKS) as up:
        served = {"name": "auto", "tiers": [{"name": "a", "model": "m", "servers": [up.url]}]}
        with router_process(served, tmp_path, "--drain-seconds", "1") as process:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(process.url.rsplit(":", 1)[1]))
            writer.write(post(chat(True)))
            await reader.readuntil(b"data: ")
            began = time.monotonic()
            process.process.send_signal(signal.SIGTERM)
            rest = await asyncio.wait_for(reader.read(), 60)
            assert 0.9 < time.monotonic() - began < 20
            assert b'"code":"router_ending"' in rest
            assert not rest.endswith(b"0\r\n\r\n")
            assert await asyncio.to_thread(process.process.wait, 60) == 0
            writer.close()
