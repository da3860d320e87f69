"""Bodies: a stranger's is not read, all together are bounded, and a slow one is told from one that only trickles."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.unit.router.running_router import CHAT, Answered, Router, chat, post, route, running, tier, until
from tests.unit.router.scripted_upstream import COMPLETION, Upstream, upstream
from tierwise.routing.route import Clients
from tierwise_router.client_connection import Timeouts

KEY = "tw-blue-key"
CLIENTS = Clients({hashlib.sha256(KEY.encode()).hexdigest(): "blue"})
KNOWN = f"Authorization: Bearer {KEY}\r\n"
MIB = 1 << 20


def head(size: int | None, extra: str = "", path: str = CHAT) -> bytes:
    """Of a POST with a body of this size, or one in chunks."""
    framing = "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}"
    return f"POST {path} HTTP/1.1\r\nHost: router\r\n{framing}\r\n{extra}\r\n".encode()


@asynccontextmanager
async def closed_route() -> AsyncIterator[tuple[Router, Upstream]]:
    """A router that wants keys."""
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up), clients=CLIENTS)) as router:
        yield router, up


@pytest.mark.parametrize("size", [31 * MIB, None])
@pytest.mark.parametrize("key", ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic YTpi\r\n"])
async def test_a_stranger_is_refused_before_a_byte_of_the_body_has_come(size: int | None, key: str) -> None:
    async with closed_route() as (router, up), router.client() as client:
        answered = await client.ask(head(size, key + "Expect: 100-continue\r\n"))
        assert (answered.status, answered.code) == (401, "invalid_api_key")
        assert answered.head.startswith(b"HTTP/1.1 401"), "no word to go on came before"
        assert answered.headers["connection"] == "close"
        assert answered.headers["x-tierwise-request-id"] == router.records[0].id
        (record,) = router.records
        assert (record.status, record.outcome, record.path) == (401, "client_error", CHAT)
        client.say(b"x" * MIB)  # it is read for a while and kept nowhere, so that the answer is not lost by a reset
        await asyncio.sleep(0.02)
        assert router.server._shared.bodies.used == 0
        router.later(3.0)
        await router.until_quiet()
        assert up.seen == []


async def test_one_who_goes_on_sending_is_read_from_for_a_while_and_no_longer() -> None:
    async with closed_route() as (router, _), router.client() as client:
        client.say(head(31 * MIB))
        await until(lambda: router.server.connections and router.only._lingering)
        connection, began = router.only, asyncio.get_running_loop().time()
        await asyncio.sleep(0.3)
        client.say(b"x" * 1000)
        await asyncio.sleep(0.05)
        connection.check(began + 2.2)
        assert connection in router.server.connections, "it has sent something 2 s before"
        connection._lingers_since -= 10.0
        client.say(b"x" * 1000)
        await asyncio.sleep(0.05)
        connection.check(began + 2.5)
        await router.until_quiet()


async def test_a_stranger_behind_another_request_is_refused_in_its_turn() -> None:
    async with closed_route() as (router, up), router.client() as client:
        client.say(post(chat(), extra=KNOWN) + head(5 * MIB) + b"x" * 1000)
        assert (await client.answer()).status == 200
        assert (await client.answer()).status == 401
        assert router.server._shared.bodies.used == 0
        assert len(up.seen) == 1
        router.later(3.0)


async def test_a_key_that_is_known_is_asked_for_its_body() -> None:
    async with closed_route() as (router, _), router.client() as client:
        raw = post(chat(), extra=KNOWN + "Expect: 100-continue\r\n")
        top, _, body = raw.partition(b"\r\n\r\n")
        client.say(top + b"\r\n\r\n")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await client.ask(body)).status == 200
        assert router.records[0].tenant == "blue"


@pytest.mark.parametrize("path", ["/healthz", "/v1/models", "/nowhere"])
async def test_the_body_of_what_takes_none_is_not_kept(path: str) -> None:
    async with closed_route() as (router, _), router.client() as client:
        client.say(head(2 * MIB, path=path) + b"x" * MIB)
        await asyncio.sleep(0.05)
        assert router.only.busy
        assert router.server._shared.bodies.used == 0
        client.say(b"x" * MIB)
        assert (await client.answer()).status in (404, 405)


async def _send(router: Router, size: int, *, chunked: bool, slowly: asyncio.Event) -> Answered:
    """A body of this size, the last bytes of it when it is time."""
    start = b'{"model":"auto","messages":[{"role":"user","content":"'
    text = b"x" * (size - len(start) - 4)
    async with router.client() as client:
        client.say(head(None if chunked else size))
        for piece in [start, *(text[at : at + MIB] for at in range(0, len(text), MIB))]:
            client.say(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            await asyncio.sleep(0)
        answer = asyncio.ensure_future(client.answer())
        waiting = asyncio.ensure_future(slowly.wait())
        await asyncio.wait({answer, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not answer.done():
            client.say(b'4\r\n"}]}\r\n0\r\n\r\n' if chunked else b'"}]}')
        return await answer


@pytest.mark.parametrize("chunked", [False, True])
async def test_many_large_bodies_together_do_not_pass_the_bound(chunked: bool) -> None:
    bound, size, clients = 16 * MIB, 31 * MIB // 10, 35
    async with (
        upstream(default=[COMPLETION]) as up,
        running(route(tier("a", up)), most_bodies_bytes=bound) as router,
    ):
        bodies, used, all_sent = router.server._shared.bodies, [0], asyncio.Event()

        def decided() -> bool:
            """Whether every body is refused, or has come but for its last bytes."""
            used.append(bodies.used)
            return bodies.used == (clients - bodies.refused) * (size - 4)

        sending = [asyncio.ensure_future(_send(router, size, chunked=chunked, slowly=all_sent)) for _ in range(clients)]
        await until(decided)
        small = await router.ask(post(chat()))
        all_sent.set()
        answers = await asyncio.gather(*sending)
        assert small.status == 200, "a quarter is kept for small ones"
        taken = [one for one in answers if one.status == 200]
        refused = [one for one in answers if one.status == 503]
        assert len(taken) + len(refused) == clients
        assert 1 <= len(taken) <= bound // size
        assert {(one.code, one.headers["retry-after"]) for one in refused} == {("bodies_full", "5")}
        assert bodies.refused == len(refused)
        assert size <= max(used) <= (bound if chunked else bound * 3 // 4), "a body in chunks is small until it is not"
        router.later(3.0)
        await until(lambda: bodies.used == 0)


async def test_what_is_held_is_given_back_however_a_request_ends() -> None:
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        bodies = router.server._shared.bodies
        async with router.client() as client:
            client.say(head(MIB) + b"x" * 1000)
            await until(lambda: bodies.used == 1000)
            client.vanish()
            await until(lambda: bodies.used == 0)
        async with router.client() as client:
            client.say(head(None) + b"5\r\nhello\r\nzz\r\n")
            assert (await client.answer()).status == 400
            assert bodies.used == 0
        async with router.client() as client:
            client.say(post(chat()) * 5)
            for _ in range(5):
                assert (await client.answer()).status == 200
            assert bodies.used == 0
        async with router.client() as client:
            client.say(post(chat()) * 3 + b"junk\r\n\r\n")
            await client.rest()
        await until(lambda: bodies.used == 0)


async def test_a_large_body_over_a_slow_line_comes_in_whole() -> None:
    timeouts = Timeouts(body_window=20.0, body_rate=8192.0)
    size, rate = 20_000_000, 250_000  # 2 Mbit/s: 80 seconds
    body = b'{"model":"auto","messages":[],"x":"' + b"x" * (size - 37) + b'"}'
    async with (
        upstream(default=[COMPLETION]) as up,
        running(route(tier("a", up)), timeouts=timeouts) as router,
        router.client() as client,
    ):
        client.say(head(len(body)))
        await until(lambda: router.server.connections)
        connection, began = router.only, asyncio.get_running_loop().time()
        for second in range(0, len(body) // rate + 1, 10):
            at = second * rate
            client.say(body[at : at + 10 * rate])
            await until(lambda at=at: connection._parser.body_bytes >= min(len(body), at + 10 * rate) or up.seen)
            if not connection.answering:
                connection.check(began + second + 10)
        assert (await client.answer()).status == 200
        assert len(up.seen[0].body) > size


@pytest.mark.parametrize("rate", [0, 1, 4000])
async def test_a_body_that_only_trickles_is_ended(rate: int) -> None:
    async with (
        upstream(default=[COMPLETION]) as up,
        running(route(tier("a", up))) as router,
        router.client() as client,
    ):
        client.say(head(10 * MIB))
        await until(lambda: router.server.connections and router.only._parser.in_body)
        connection, began = router.only, router.only._since  # a head may come late on a busy machine
        for second in range(1, 60):
            if connection._lingering:
                break
            client.say(b"x" * rate)
            await asyncio.sleep(0.002)
            connection.check(began + second)
        assert 20 <= second <= 22
        assert (await client.answer()).code == "request_timeout"
        assert router.server._shared.bodies.used == 0
        router.later(60.0)


async def test_a_body_that_begins_fast_and_then_trickles_is_ended_as_well() -> None:
    async with (
        upstream(default=[COMPLETION]) as up,
        running(route(tier("a", up))) as router,
        router.client() as client,
    ):
        client.say(head(10 * MIB) + b"x" * (9 * MIB))
        await until(lambda: router.server.connections)
        connection = router.only
        await until(lambda: connection._parser.body_bytes == 9 * MIB)
        began = connection._since
        connection.check(began + 21)
        assert not connection._lingering
        connection.check(began + 43)
        assert (await client.answer()).status == 408
        router.later(60.0)
