"""The parser of requests, by example: what it takes, what it refuses and with which status, what it knows of itself."""

from __future__ import annotations

import pytest

from tests.unit.router.test_http_request_fuzz import Sink, parse
from tierwise_router.http_request import (
    MOST_HEAD_BYTES,
    MOST_HEADERS,
    MOST_URL_BYTES,
    Request,
    RequestParser,
)
from tierwise_router.openai_error import ClientError

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"


def _status(data: bytes, most_body: int = 1_000) -> int:
    requests, refused = parse([data], most_body)
    assert refused is None or not requests
    return 200 if refused is None else refused.status


def _only(data: bytes) -> Request:
    (request,), refused = parse([data])
    assert refused is None
    return request


def test_a_request_is_what_was_sent() -> None:
    request = _only(b"POST /a?b=/c?d HTTP/1.1\r\nHOST: h:1\r\nX-y:  z \t\r\nX-Y: \xff\r\nContent-Length: 2\r\n\r\nhi")
    assert (request.method, request.path, request.query, request.version) == ("POST", "/a", "b=/c?d", "1.1")
    assert request.headers == [(b"host", b"h:1"), (b"x-y", b"z"), (b"x-y", b"\xff"), (b"content-length", b"2")]
    assert (bytes(request.body), request.complete, request.keep_alive) == (b"hi", True, True)
    assert request.header(b"x-y") == "\xff"
    assert request.header(b"none") is None


@pytest.mark.parametrize("host", [b"a \t", b"[::1]:80", b"a.b-c_d~%41:8", b""])
def test_a_host_as_it_may_be_written_is_taken(host: bytes) -> None:
    assert _status(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host) == 200


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 505),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (GET + b"Transfer_Encoding: chunked\r\n\r\n", 400),
        (GET + b"Content_Length: 5\r\n\r\n", 400),
        (GET + b"X@: y\r\n\r\n", 400),
        (GET + b"Expect: x\r\n\r\n", 417),
        (GET + b"Content-Length: 1001\r\n\r\n", 413),
        (GET + b"Content-Length: 9223372036854775808\r\n\r\n", 413),
        (GET + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
        (GET + b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001, 413),
        (GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 1001\r\n\r\n", 413),
        (GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001, 413),
        (GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\nzz", 400),
        (b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * MOST_URL_BYTES), 414),
        (b"GET /" + b"x" * MOST_URL_BYTES, 414),
        (GET + b"X: %b\r\n\r\n" % (b"x" * MOST_HEAD_BYTES), 431),
        (GET + b"X: y\r\n" * MOST_HEADERS + b"\r\n", 431),
        (GET + b"X: " + b"y" * (MOST_URL_BYTES + MOST_HEAD_BYTES), 431),
        (b"\r\n" * 30_000, 431),
    ],
)
def test_what_is_refused_says_why(data: bytes, status: int) -> None:
    assert _status(data) == status


@pytest.mark.parametrize(
    "data",
    [
        b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * (MOST_URL_BYTES - 1)),
        GET + b"X: y\r\n" * (MOST_HEADERS - 1) + b"\r\n",
        GET + b"X: %b\r\n\r\n" % (b"x" * (MOST_HEAD_BYTES - 10)),
        GET + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000,
        GET + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n",
    ],
)
def test_what_just_fits_is_taken(data: bytes) -> None:
    assert _only(data).complete
    assert parse([data[i : i + 7] for i in range(0, len(data), 7)])[1] is None


def test_frames_that_outweigh_their_body_are_refused() -> None:
    padded = (
        GET + b"Transfer-Encoding: chunked\r\n\r\n" + b"00000000000000000000000000001;a=bcdefghijk\r\nx\r\n" * 4_000
    )
    _, refused = parse([padded[i : i + 1_000] for i in range(0, len(padded), 1_000)], 10_000)
    assert refused is not None
    assert refused.status == 400


def test_a_large_upload_in_ordinary_chunks_is_taken() -> None:
    body = b"%x\r\n%b\r\n" % (8_192, b"x" * 8_192)
    data = [GET + b"Transfer-Encoding: chunked\r\n\r\n", *[body] * 500, b"0\r\n\r\n"]
    (request,), refused = parse(data, 1 << 23)
    assert (refused, len(request.body)) == (None, 500 * 8_192)


def test_the_parser_knows_what_it_is_in_the_middle_of() -> None:
    parser = RequestParser(Sink())
    states = []
    for piece in (b"\r\n", b"PO", b"ST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n", b"\r\n", b"h", b"i", b"\r\n"):
        parser.feed(piece)
        states.append((parser.in_head, parser.in_body))
    idle, head, body = (False, False), (True, False), (False, True)
    assert states == [idle, head, head, body, body, idle, idle]
    parser.feed(GET + b"\r\nGET")
    assert parser.in_head


def test_nothing_is_read_after_a_request_that_ends_the_connection() -> None:
    ending = [
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        GET + b"Connection: close\r\n\r\n",
        GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ]
    for last in ending:
        for behind in (
            GET + b"\r\n",
            b"\x00junk",
            b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            GET + b"X: y\r\n" * 500,
        ):
            for data in ([last + behind], [last, behind], [GET + b"\r\n" + last + behind]):
                requests, refused = parse(data)
                assert refused is None
                assert len(requests) == (2 if data[0].startswith(GET + b"\r\n") else 1)
                assert not requests[-1].keep_alive


def test_nothing_is_read_after_a_refusal() -> None:
    sink = Sink()
    parser = RequestParser(sink)
    with pytest.raises(ClientError):
        parser.feed(b"GET / HTTP/1.1\r\n\r\n")
    parser.feed(GET + b"\r\n")
    assert sink.requests == []
    assert not parser.in_head


def test_trailers_are_dropped() -> None:
    data = b"0\r\nAuthorization: x\r\nHost: b\r\n\r\n"
    request = _only(GET + b"Transfer-Encoding: chunked\r\n\r\n" + data)
    assert [name for name, _ in request.headers] == [b"host", b"transfer-encoding"]


def test_a_fault_of_ours_is_not_called_a_fault_of_the_request() -> None:
    class Faulty(Sink):
        def request_came(self, request: Request) -> None:
            raise KeyError("x")

    with pytest.raises(KeyError):
        RequestParser(Faulty()).feed(GET + b"\r\n")
