"""Requests framed to be read twice, too large, too slow or with headers that must not travel: what upstream sees.

Numbers in names are those of the forty cases that a router of this kind has to survive.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from tests.unit.router.running_router import CHAT, Client, Router, chat, post, route, running, tier, until
from tests.unit.router.scripted_upstream import COMPLETION, GOOD_STREAM, Do, Script, answer, upstream
from tierwise_router.http_request import MOST_HEADERS

BODY = orjson.dumps(chat())
INNER = b"POST /v1/completions HTTP/1.1\r\nHost: inner\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize("extra", ["Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x\r\n"])
async def test_case_01_the_body_of_a_request_for_an_upgrade_is_delivered_with_it(extra: str) -> None:
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        for cut in (1, 40, len(post(BODY, extra=extra)) - len(BODY), len(post(BODY, extra=extra)) - 1):
            raw = post(BODY, extra=extra)
            async with router.client() as client:
                client.say(raw[:cut])
                await asyncio.sleep(0.002)
                got = await client.ask(raw[cut:])
                assert got.status == 200
                assert got.headers["connection"] == "close"
                assert await client.rest() == b""
        assert len(up.seen) == 4
        assert {seen.body for seen in up.seen} == {BODY.replace(b'"auto"', b'"a-model"')}
        forbidden = {"upgrade", "connection", "http2-settings"}
        assert not any(forbidden & seen.headers.keys() for seen in up.seen)


async def test_case_02_a_request_in_the_body_of_a_request_for_an_upgrade_is_never_executed() -> None:
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        raw = post(INNER, extra="Upgrade: h2c\r\nConnection: Upgrade\r\n")
        got = await router.ask(raw)
        assert (got.status, got.code) == (400, "invalid_json")
        async with router.client() as client:
            got = await client.ask(post(BODY, extra="Upgrade: h2c\r\nConnection: Upgrade\r\n") + INNER + INNER)
            assert got.status == 200
            assert await client.rest() == b""
        assert [seen.target for seen in up.seen] == [CHAT]


TE, CL = "Transfer-Encoding: chunked\r\n", f"Content-Length: {len(BODY)}\r\n"


def _raw(headers: str, body: bytes, version: str = "1.1") -> bytes:
    return f"POST {CHAT} HTTP/{version}\r\nHost: a\r\n{headers}\r\n".encode() + body


@pytest.mark.parametrize(
    "raw",
    [
        _raw(CL + TE, b"0\r\n\r\n" + post(BODY)),
        _raw(TE + CL, b"0\r\n\r\n" + post(BODY)),
        _raw(CL + TE, BODY),
        _raw(TE + CL, BODY),
    ],
)
async def test_case_03_a_length_and_a_transfer_coding_in_either_order_are_refused(raw: bytes) -> None:
    assert await _answer_to(raw) == REFUSED


@pytest.mark.parametrize(
    "raw",
    [
        _raw(CL + CL, BODY),
        _raw(CL + "Content-Length: 0\r\n", BODY),
        _raw("Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
        _raw("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        _raw(TE, b"0\r\n\r\n", version="1.0"),
    ],
)
async def test_case_04_two_lengths_other_codings_and_codings_on_http_1_0_are_refused(raw: bytes) -> None:
    assert await _answer_to(raw) == REFUSED


REFUSED = (400, "close", b"", 0)


async def _answer_to(raw: bytes) -> tuple[int, str, bytes, int]:
    """The status, what the answer says of the connection, what comes after it, and how many requests upstream saw."""
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        async with router.client() as client:
            got = await client.ask(raw)
            after = await client.rest()
        return got.status, got.headers["connection"], after, len(up.seen)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"POST /" + b"a" * (10 << 20) + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 100_000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * (3 << 20) + b"\r\n\r\n", 431),
        (_raw(TE, b"5;" + b"a" * (1 << 20) + b"\r\nhello\r\n0\r\n\r\n"), 400),
        (_raw(TE, b"0\r\n" + b"a: b\r\n" * 100_000 + b"\r\n"), 400),
    ],
    ids=["url", "headers", "header", "extension", "trailers"],
)
async def test_case_31_what_has_no_end_is_refused_before_it_has_come(raw: bytes, status: int) -> None:
    async with upstream() as up, running(route(tier("a", up))) as router:
        async with router.client() as client:
            client.say(raw)
            got = await client.answer()
            assert got.status == status
            assert router.only._parser._raw < len(raw) // 2
        assert up.seen == []


@pytest.mark.parametrize("sent", [b"POST /v1/chat/completions HT", post(BODY)[:-3]], ids=["head", "body"])
async def test_case_32_a_request_that_comes_too_slowly_is_answered_with_408(sent: bytes) -> None:
    async with upstream() as up, running(route(tier("a", up))) as router:
        async with router.client() as client:
            client.say(sent)
            await until(lambda: router.server.connections and router.only.busy)
            router.later(9.0)
            client.say(b"T" if sent.endswith(b"HT") else b"x")  # one byte now and then does not help
            await asyncio.sleep(0.01)
            router.later(61.0)
            got = await client.answer()
            assert (got.status, got.code) == (408, "request_timeout")
            assert await client.rest() == b""
        assert up.seen == []


OURS = """
    X-Tierwise-Tier X-Data-Parallel-Rank X-Request-Id Authorization Api-Key X-Api-Key Cookie X-Forwarded-For Forwarded
    Proxy-Authorization Keep-Alive TE Accept-Encoding Content-Encoding
"""


async def test_case_33_trailers_and_headers_that_are_ours_do_not_travel() -> None:
    headers = "".join(f"{name}: evil\r\n" for name in OURS.split())
    chunked = b"%x\r\n%b\r\n0\r\nAuthorization: evil\r\nX-Data-Parallel-Rank: evil\r\n\r\n" % (len(BODY), BODY)
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        got = await router.ask(_raw(TE + headers + "Trailer: Authorization\r\nX-Mine: kept\r\n", chunked))
        assert got.status == 200
        (seen,) = up.seen
        assert b"evil" not in seen.head
        assert seen.headers["x-mine"] == "kept"
        assert seen.headers["accept-encoding"] == "identity"
        assert seen.headers["x-request-id"] == got.headers["x-request-id"]


async def test_case_34_a_header_that_connection_names_does_not_travel() -> None:
    extra = "Connection: X-Secret ,x-other\r\nConnection: keep-alive, X-Third\r\n"
    extra += "X-Secret: 1\r\nX-Other: 2\r\nx-third: 3\r\nX-Fourth: 4\r\n"
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        assert (await router.ask(post(BODY, extra=extra))).status == 200
        (seen,) = up.seen
        assert not {"x-secret", "x-other", "x-third", "connection"} & seen.headers.keys()
        assert seen.headers["x-fourth"] == "4"


async def test_case_35_a_body_over_the_cap_is_refused_and_never_asked_for() -> None:
    async with upstream() as up, running(route(tier("a", up)), most_body_bytes=1_000) as router:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n"
        async with router.client() as client:
            got = await client.ask(head.encode())
            assert (got.status, got.code) == (413, "body_too_large")
            assert b"100 Continue" not in got.head
            assert got.headers["connection"] == "close"


async def test_case_35_a_body_that_fits_is_asked_for_once() -> None:
    raw = post(BODY, extra="Expect: 100-continue\r\n")
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        async with router.client() as client:
            client.say(raw[: -len(BODY)])
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert (await client.ask(BODY)).status == 200
            # The next request is already there when the first is answered: its body is asked for all the same.
            client.say(post(BODY) + raw[: -len(BODY)])
            assert (await client.answer()).status == 200
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert (await client.ask(BODY)).status == 200
        assert "expect" not in up.seen[0].headers


async def test_case_35_no_100_is_promised_to_http_1_0_and_nothing_else_may_be_expected() -> None:
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        async with router.client() as client:
            client.say(post(BODY, extra="Expect: 100-continue\r\n", version="1.0"))
            assert (await client.rest()).startswith(b"HTTP/1.1 200 ")
        assert (await router.ask(post(BODY, extra="Expect: 200-maybe\r\n"))).status == 417


async def test_case_36_a_hundred_requests_at_once_are_answered_in_order() -> None:
    raw = b"".join(post(chat(user=str(number))) for number in range(100))
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        async with router.client() as client:
            client.say(raw)
            identities = [(await client.answer()).headers["x-request-id"] for _ in range(100)]
        assert [orjson.loads(seen.body)["user"] for seen in up.seen] == [str(number) for number in range(100)]
        assert identities == [seen.headers["x-request-id"] for seen in up.seen]
        assert up.connections == 1


async def test_case_36_whoever_sends_too_much_ahead_gets_the_answer_that_is_due_and_no_more() -> None:
    hold = asyncio.Event()
    async with upstream([hold, COMPLETION]) as up, running(route(tier("a", up))) as router:
        async with router.client() as client:
            client.say(post(BODY))
            await up.asked.wait()
            client.say(post(BODY) * 2_000)
            await until(lambda: router.only.closing)
            assert router.only._early_bytes <= 600_000  # counted, and thrown away
            assert router.only._early == []
            hold.set()
            assert (await client.answer()).headers["connection"] == "close"
            assert not await client.rest()
        assert len(up.seen) == 1


async def test_case_36_a_client_that_pipelines_and_goes_is_noticed() -> None:
    async with upstream(default=[Do.HOLD]) as up, running(route(tier("a", up))) as router:
        async with router.client() as client:
            client.say(post(BODY) * 50)
            await up.asked.wait()
            client.vanish()
            await up.ended.wait()
        assert len(up.seen) == 1
        assert [record.outcome for record in router.records] == ["client_gone"]


@pytest.mark.parametrize("streamed", [True, False])
async def test_case_37_an_answer_to_http_1_0_has_no_chunks_and_ends_with_the_connection(streamed: bool) -> None:
    script = GOOD_STREAM if streamed else [COMPLETION]
    async with upstream(default=script) as up, running(route(tier("a", up))) as router, router.client() as client:
        got = await client.ask(post(chat(streamed), version="1.0", extra="Connection: keep-alive\r\n"))
        assert got.status == 200
        assert "transfer-encoding" not in got.headers
        assert got.headers["connection"] == "close"
        assert (b"[DONE]" in got.body) is streamed
        assert await client.rest() == b""


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://router/v1/chat/completions", 400),
        ("http://evil/v1/chat/completions", 400),
        ("router:443", 400),
        ("*", 400),
        ("//v1/chat/completions", 404),
        ("/v1//chat/completions", 404),
        ("/v1/chat/completions/", 404),
        ("/v1/./chat/completions", 404),
        ("/v1/x/../chat/completions", 404),
        ("/v1/chat/completions/../../pause", 404),
        ("/v1/%63hat/completions", 404),
        ("/v1/chat%2fcompletions", 404),
        ("/%2e%2e/v1/chat/completions", 404),
        ("/v1/chat/completions#x", 404),
        ("/v1/chat/completions;x", 404),
        ("/V1/chat/completions", 404),
        ("/pause", 404),
        ("/metrics", 404),
        ("/v1/load_lora_adapter", 404),
        ("/v1/chat\\completions", 404),
    ],
)
async def test_case_38_only_the_paths_that_are_written_down_go_upstream(target: str, status: int) -> None:
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        assert (await router.ask(post(BODY, path=target))).status == status
        assert up.seen == []


async def test_case_38_a_query_does_not_travel() -> None:
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        assert (await router.ask(post(BODY, path=CHAT + "?a=/../pause&b=%0d%0a"))).status == 200
        assert up.seen[0].target == CHAT


@pytest.mark.parametrize("hosts", ["", "Host: a\r\nHost: a\r\n", "Host: a/b\r\n", "Host: a, b\r\n", "Host: a@b\r\n"])
async def test_case_38_no_host_two_hosts_and_a_strange_host_are_refused(hosts: str) -> None:
    raw = f"POST {CHAT} HTTP/1.1\r\n{hosts}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
    assert await _answer_to(raw) == REFUSED


async def test_case_39_an_answer_to_head_has_no_body_and_the_connection_goes_on() -> None:
    script = [COMPLETION]
    async with upstream(script) as up, running(route(tier("a", up))) as router, router.client() as client:
        got = await client.ask(b"HEAD /v1/models HTTP/1.1\r\nHost: a\r\n\r\n", head_only=True)
        assert int(got.headers["content-length"]) > 10
        assert (await client.ask(b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n")).json["object"] == "list"
        assert (await client.ask(b"HEAD /v1/none HTTP/1.1\r\nHost: a\r\n\r\n", head_only=True)).status == 404
        assert (await client.ask(post(BODY))).status == 200


NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
EARLY = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\ncontent-length: 7\r\n\r\n"


async def test_case_39_a_204_has_neither_body_nor_length() -> None:
    async with upstream([NO_CONTENT], default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        async with router.client() as client:
            got = await client.ask(post(BODY))
            assert got.status == 204
            assert not {"content-length", "transfer-encoding"} & got.headers.keys()
            assert (await client.ask(post(BODY))).status == 200
        assert up.connections == 1


async def test_case_39_informational_answers_are_not_the_answer() -> None:
    async with upstream([EARLY + COMPLETION], default=[EARLY, 0.005, COMPLETION]) as up:
        async with running(route(tier("a", up))) as router:
            for _ in range(2):
                got = await router.ask(post(BODY))
                assert (got.status, got.json["id"]) == (200, "c1")
                assert "link" not in got.headers
        assert up.connections == 1


@pytest.mark.parametrize("surplus", [COMPLETION, b"x", b"\r\nx", NO_CONTENT, b"HTTP/1.1 100 Continue\r\n\r\n"])
@pytest.mark.parametrize("later", [False, True])
async def test_case_39_a_connection_that_says_more_than_it_was_asked_for_is_not_used_again(
    surplus: bytes, later: bool
) -> None:
    first: Script = [COMPLETION, 0.01, surplus] if later else [COMPLETION + surplus]
    async with upstream(first, default=[answer(b'{"id":"right"}')]) as up, running(route(tier("a", up))) as router:
        assert (await router.ask(post(BODY))).json["id"] == "c1"
        await asyncio.sleep(0.03 if later else 0)
        assert (await router.ask(post(BODY))).json["id"] == "right"
        assert up.connections == 2


async def test_many_headers_up_to_the_bound_are_taken() -> None:
    extra = "".join(f"X-{number}: v\r\n" for number in range(MOST_HEADERS - 2))
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        assert (await router.ask(post(BODY, extra=extra))).status == 200
        assert up.seen[0].headers[f"x-{MOST_HEADERS - 3}"] == "v"
        assert (await router.ask(post(BODY, extra=extra + "X-Last: v\r\n"))).status == 431


async def _say(router: Router, client: Client, pieces: list[bytes]) -> Any:
    for piece in pieces:
        client.say(piece)
        await asyncio.sleep(0)
    return await client.answer()


async def test_a_request_that_comes_byte_by_byte_is_one_request() -> None:
    raw = post(BODY)
    async with upstream(default=[COMPLETION]) as up, running(route(tier("a", up))) as router:
        async with router.client() as client:
            got = await _say(router, client, [raw[i : i + 1] for i in range(len(raw))])
            assert got.status == 200
        assert len(up.seen) == 1
