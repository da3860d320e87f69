"""Connections to servers: kept, taken, lost at any moment, and closed when their pool is; none is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from tests.unit.router.running_router import until
from tests.unit.router.scripted_upstream import COMPLETION, Do, Script, Upstream, upstream
from tierwise.routing.failover import Failure
from tierwise_router.upstream import Connection, Pool, Server, UpstreamError

ASK = b"POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"


class Waiting:
    """Who waits for one answer."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.ended: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.failures: list[Failure] = []

    def head_came(self, status: int, headers: dict[str, str]) -> None:
        self.status = status

    def body_came(self, data: bytes) -> None:
        self.body += data

    def answer_ended(self, reusable: bool) -> None:
        self.ended.set_result(reusable)

    def failed(self, error: UpstreamError) -> None:
        self.failures.append(error.failure)
        if not self.ended.done():
            self.ended.set_exception(error)


async def _ask(connection: Connection) -> Waiting:
    waiting = Waiting()
    connection.send(ASK, waiting)
    with contextlib.suppress(UpstreamError):
        async with asyncio.timeout(3):
            await waiting.ended
    return waiting


async def _used(pool: Pool) -> Connection:
    connection = pool.take(time.monotonic()) or await pool.connect()
    waiting = await _ask(connection)
    assert waiting.status == 200
    connection.answered()
    return connection


@pytest.fixture
async def served() -> AsyncIterator[tuple[Upstream, Pool]]:
    async with upstream(default=[COMPLETION]) as up:
        pool = Pool(up.url, 4.0)
        yield up, pool
        pool.close()
        await until(lambda: up.open == 0)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("http://h", Server("h", 80, False, "")),
        ("https://h/v1", Server("h", 443, True, "")),
        ("https://h:8443/api/v1/", Server("h", 8443, True, "/api")),
        ("http://[::1]:80/x/", Server("::1", 80, False, "/x")),
    ],
)
def test_a_base_url_says_where_a_server_is(url: str, server: Server) -> None:
    assert Server.of(url) == server


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://h", "/v1/chat/completions"),
        ("https://h/v1", "/v1/chat/completions"),
        ("https://h/openai/v1", "/openai/v1/chat/completions"),
        ("https://h/v1beta/openai", "/v1beta/openai/chat/completions"),
        ("https://h/api/paas/v4/", "/api/paas/v4/chat/completions"),
    ],
)
def test_a_provider_is_asked_below_its_base_url_as_its_own_clients_do(url: str, target: str) -> None:
    assert Server.of(url, provider=True).target("/v1/chat/completions") == target


def test_a_server_of_ours_has_its_api_below_its_folder() -> None:
    assert Server.of("http://gateway/team-a").target("/v1/embeddings") == "/team-a/v1/embeddings"


def test_the_authority_leaves_out_the_usual_port() -> None:
    assert [Server.of(url).authority for url in ("http://h:80", "https://h:80", "http://[::1]:81")] == [
        "h",
        "h:80",
        "[::1]:81",
    ]


@pytest.mark.parametrize("url", ["ftp://h", "h:80", "http://", "http://h:99999", ""])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Server.of(url)


async def test_the_newest_idle_connection_is_taken_and_old_ones_are_closed(served: tuple[Upstream, Pool]) -> None:
    up, pool = served
    now = time.monotonic()
    one, two, three = [await pool.connect() for _ in range(3)]
    for age, connection in ((3.9, one), (1.0, two), (0.0, three)):
        pool.give_back(connection, now - age)
    assert pool.take(now) is three
    pool.sweep(now + 0.2)
    await until(lambda: up.open == 2)
    assert not one.open
    assert pool.take(now + 5.0) is None
    await until(lambda: up.open == 1)
    three.close()


async def test_a_connection_that_the_server_has_closed_is_not_taken(served: tuple[Upstream, Pool]) -> None:
    up, pool = served
    up.scripts = [[COMPLETION, 0.01, Do.CLOSE]]
    connection = await _used(pool)
    pool.give_back(connection, time.monotonic())
    await until(lambda: up.open == 0)
    await asyncio.sleep(0.01)
    assert pool.take(time.monotonic()) is None


async def test_a_pool_that_is_closed_keeps_no_connection_that_was_in_use(served: tuple[Upstream, Pool]) -> None:
    up, pool = served
    connection = await _used(pool)
    pool.close()
    pool.give_back(connection, time.monotonic())
    await until(lambda: up.open == 0)
    assert pool.take(time.monotonic()) is None
    again = await _used(pool)  # a replica that drained and came back
    pool.give_back(again, time.monotonic())
    assert pool.take(time.monotonic()) is again
    again.close()


async def test_a_request_on_a_connection_that_was_lost_meanwhile_fails_at_once(served: tuple[Upstream, Pool]) -> None:
    _, pool = served
    for used in (False, True):
        connection = await (_used(pool) if used else pool.connect())
        connection.close()
        await asyncio.sleep(0.01)
        waiting = await _ask(connection)
        assert waiting.failures == [Failure.RESET_IDLE if used else Failure.RESET]


@pytest.mark.parametrize(
    ("script", "fresh", "used"),
    [
        ([Do.RESET], Failure.RESET, Failure.RESET_IDLE),
        ([Do.CLOSE], Failure.RESET, Failure.RESET_IDLE),
        ([b"HTTP/1.1 100 C\r\n\r\n", 0.01, Do.RESET], Failure.RESET, Failure.RESET),
        ([b"HTTP/1.1 200 OK\r\n", 0.01, Do.CLOSE], Failure.RESET, Failure.RESET),
        ([b"nonsense\r\n"], Failure.PROTOCOL, Failure.PROTOCOL),
        ([COMPLETION[:-1], 0.01, Do.CLOSE], Failure.RESET, Failure.RESET),
    ],
)
async def test_the_way_a_connection_fails_says_whose_fault_it_is(
    served: tuple[Upstream, Pool], script: Script, fresh: Failure, used: Failure
) -> None:
    up, pool = served
    up.scripts = [script]
    connection = await pool.connect()
    assert connection.fresh
    assert (await _ask(connection)).failures == [fresh]
    connection = await _used(pool)
    assert not connection.fresh
    up.scripts = [script]
    assert (await _ask(connection)).failures == [used]
    assert not connection.usable


async def test_a_failure_is_told_once_and_an_abandoned_exchange_is_told_nothing(served: tuple[Upstream, Pool]) -> None:
    up, pool = served
    up.scripts = [[COMPLETION[:120], 0.02, b"x", Do.RESET]]
    connection = await pool.connect()
    waiting = Waiting()
    connection.send(ASK, waiting)
    await until(lambda: waiting.status)
    connection.abandon()
    await until(lambda: up.open == 0)
    await asyncio.sleep(0.02)
    assert waiting.failures == []
    assert not waiting.ended.done()


async def test_a_server_that_is_not_there_is_a_failure_to_connect() -> None:
    async with upstream() as up:
        pool = Pool(up.url, 4.0)
    for url in (pool, Pool("http://" + "a" * 70 + ".invalid", 4.0), Pool("http://127.0.0.1:1", 4.0)):
        with pytest.raises(UpstreamError) as error:
            await url.connect()
        assert error.value.failure is Failure.CONNECT


async def test_a_pause_lasts_until_it_is_ended_and_never_into_the_next_request(served: tuple[Upstream, Pool]) -> None:
    up, pool = served
    up.default = [COMPLETION]
    connection = await pool.connect()
    waiting = Waiting()
    connection.send(ASK, waiting)
    connection.pause()
    connection.pause()
    await asyncio.sleep(0.03)
    assert waiting.status == 0
    connection.resume()
    await waiting.ended
    connection.pause()
    connection.answered()
    assert (await _ask(connection)).status == 200
    connection.close()
    connection.pause()
    connection.resume()
