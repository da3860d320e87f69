"""Smuggled requests over real sockets: upstream sees no request, and no byte of a body, that the client did not send.

Each attack carries a body that would be a fine request for upstream, and behind or within it another one, marked. What
may arrive is what h11 finds in the same bytes; the marked one never may.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from tests.unit.router.http_reference import read_all
from tests.unit.router.http_texts import BAD_CHUNKS, BAD_FRAMES, BAD_LASTS
from tests.unit.router.running_router import CHAT, Router, chat, post, route, running, tier, until
from tests.unit.router.scripted_upstream import COMPLETION, Upstream, upstream

EVIL = post(chat(user="evil"))
GOOD = orjson.dumps(chat(user="good"))
FIRST = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\n"


def _framed(frames: str, body: bytes, rest: bytes = EVIL) -> bytes:
    return f"{FIRST}{frames}\r\n\r\n".encode("latin-1") + body + rest


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)


def _sized(frame: str, length: int) -> str:
    return frame.replace("{length}", str(length))


LENGTH = f"Content-Length: {len(GOOD)}"
CHUNKED = "Transfer-Encoding: chunked"
UPGRADE = "Connection: upgrade\r\nUpgrade: h2c"
HALF = len(GOOD) // 2
ATTACKS: dict[str, bytes] = {
    **{f"frame {one!r}": _framed(_sized(one, len(GOOD)), GOOD) for one in BAD_FRAMES},
    **{f"chunked and {one!r}": _framed(f"{CHUNKED}\r\n{_sized(one, 5)}", _chunked(GOOD)) for one in BAD_FRAMES},
    **{f"{one!r} and chunked": _framed(f"{_sized(one, 5)}\r\n{CHUNKED}", _chunked(GOOD)) for one in BAD_FRAMES},
    **{f"length and {one!r}": _framed(f"{LENGTH}\r\n{_sized(one, HALF)}", GOOD) for one in BAD_FRAMES},
    **{
        f"chunk {one!r}": _framed(CHUNKED, one.format(size=len(GOOD), data=GOOD.decode()).encode() + b"0\r\n\r\n")
        for one in BAD_CHUNKS
    },
    **{f"last {one!r}": _framed(CHUNKED, b"%x\r\n%b\r\n" % (len(GOOD), GOOD) + one.encode()) for one in BAD_LASTS},
    "CL.0": _framed("Content-Length: 0", b""),
    "no frame": _framed("X: y", b""),
    "GET with a body": b"GET /v1/models HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(EVIL) + EVIL,
    "HEAD with a body": b"HEAD /v1/models HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(EVIL) + EVIL,
    "a length too short": _framed(f"Content-Length: {len(GOOD) - 1}", GOOD),
    "a length too long": _framed(f"Content-Length: {len(GOOD) + len(EVIL)}", GOOD),
    "LF alone": _framed(LENGTH, GOOD).replace(b"\r\n", b"\n"),
    "one LF": _framed(LENGTH + "\nX: y", GOOD),
    "CR alone": _framed(LENGTH + "\rX: y", GOOD),
    "a header in the target": _framed(LENGTH, GOOD).replace(b" HTTP/1.1", b" HTTP/1.1\r\n\r\n", 1),
    "two requests in one line": b"POST %b HTTP/1.1 POST /x HTTP/1.1\r\nHost: a\r\n\r\n" % CHAT.encode() + EVIL,
    "absolute": _framed(LENGTH, GOOD).replace(CHAT.encode(), b"http://evil" + CHAT.encode(), 1),
    "expect and upgrade": _framed(f"{LENGTH}\r\nExpect: 100-continue\r\nConnection: upgrade\r\nUpgrade: h2c", GOOD),
    "close and more": _framed(f"{LENGTH}\r\nConnection: close", GOOD),
    "1.0 and more": _framed(f"{LENGTH}\r\nConnection: keep-alive", GOOD).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "0.9": b"GET /v1/models\r\n" + EVIL,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + EVIL,
    "trailers that frame": _framed(CHUNKED, _chunked(GOOD)[:-2] + b"Content-Length: 5\r\n\r\n"),
    "a bad one first": b"\x16\x03\x01" + EVIL,
    "a body that is a request": _framed(f"Content-Length: {len(EVIL)}", EVIL, b""),
    "an upgrade whose body is a request": _framed(
        f"{UPGRADE}\r\nContent-Length: {len(EVIL)}", EVIL, b""
    ),
    "an upgrade whose body is a chunked request": _framed(
        f"{UPGRADE}\r\n{CHUNKED}", _chunked(EVIL)
    ),
    "an upgrade with two frames": _framed(f"{UPGRADE}\r\n{CHUNKED}\r\n{LENGTH}", _chunked(GOOD)),
    "a header of 30 kB": _framed(f"{LENGTH}\r\nX: {'a' * 30_000}\r\n{CHUNKED}", _chunked(GOOD)),
    "200 headers": _framed("X: y\r\n" * 200 + LENGTH, GOOD),
}  # fmt: skip


@pytest.fixture
async def both() -> AsyncIterator[tuple[Router, Upstream]]:
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        yield router, up


def _allowed(data: bytes) -> list[bytes]:
    """The bodies that may arrive, as they arrive."""
    found = [one for one in read_all(data) if one.method == "POST" and one.target == CHAT and one.body]
    return [one.body.replace(b'"auto"', b'"a-model"', 1) for one in found]


async def _attack(router: Router, data: bytes, pieces: int) -> bytes:
    async with router.client() as client:
        size = max(1, len(data) // pieces)
        for start in range(0, len(data), size):
            client.say(data[start : start + size])
            await asyncio.sleep(0)
        await until(lambda: not any(one.busy for one in router.server.connections) or client.reader.at_eof())
        client.half_close()
        return await client.rest()


@pytest.mark.parametrize("pieces", [1, 40])
async def test_nothing_arrives_that_was_not_sent(both: tuple[Router, Upstream], pieces: int) -> None:
    router, up = both
    for name, data in ATTACKS.items():
        up.seen.clear()
        await _attack(router, data, pieces)
        await until(lambda: not router.server.connections)
        arrived = [seen.body for seen in up.seen]
        allowed = iter(_allowed(data))
        assert all(body in allowed for body in arrived), name  # in the same order, none twice
        assert {(seen.method, seen.target) for seen in up.seen} <= {("POST", CHAT)}, name


async def test_attacks_between_honest_requests_of_others_change_nothing_for_them(both: tuple[Router, Upstream]) -> None:
    router, up = both
    up.default = [0.001, COMPLETION]

    async def honest() -> None:
        async with router.client() as client:
            for _ in range(10):
                assert (await client.ask(post(chat(user="honest")))).json["id"] == "c1"

    async def attacks() -> None:
        for data in list(ATTACKS.values())[::5]:
            await _attack(router, data, 1)

    await asyncio.gather(honest(), attacks(), honest())
    bodies = [seen.body for seen in up.seen]
    assert len([body for body in bodies if b"honest" in body]) == 20


async def test_a_refused_request_says_why_though_its_body_is_still_coming(both: tuple[Router, Upstream]) -> None:
    router, _ = both
    async with router.client() as client:
        client.say(_framed(LENGTH + "\r\n" + CHUNKED, b""))
        for _ in range(50):
            client.say(b"x" * 10_000)
            await asyncio.sleep(0)
        assert (await client.answer()).status == 400


@pytest.mark.parametrize("half", [1, 30, 90, len(post(GOOD)) - 1])
async def test_half_a_request_and_then_the_end_is_no_request(both: tuple[Router, Upstream], half: int) -> None:
    router, up = both
    async with router.client() as client:
        client.say(post(GOOD)[:half])
        client.half_close()
        assert await client.rest() == b""
    assert up.seen == []


async def test_a_slow_body_is_one_request_when_it_is_whole(both: tuple[Router, Upstream]) -> None:
    router, up = both
    data = _framed(CHUNKED, _chunked(GOOD), b"")
    async with router.client() as client:
        for start in range(len(data)):
            client.say(data[start : start + 1])
            await asyncio.sleep(0)
            assert up.seen == []
        assert (await client.answer()).status == 200
    assert len(up.seen) == 1
