"""The parser of answers: by example, with noise, and against an independent reader (h11)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.router.fuzzing import cut, fuzz
from tests.unit.router.http_texts import (
    BAD_CHUNKS,
    BAD_FRAMES,
    BAD_LASTS,
    GOOD_CHUNKS,
    GOOD_FRAMES,
    GOOD_LASTS,
    INSERTED,
    mostly,
)
from tierwise_router.http_response import MOST_HEADERS, MOST_QUIET_BYTES, ProtocolError, ResponseParser

OK = b"HTTP/1.1 200 OK\r\n"


@dataclass
class Told:
    """What was told of one answer."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool | None = None

    def head_came(self, status: int, headers: dict[str, str]) -> None:
        assert self.status == 0
        self.status, self.headers = status, dict(headers)

    def body_came(self, data: bytes) -> None:
        assert self.status
        assert self.ended is None
        self.body += data

    def answer_ended(self, reusable: bool) -> None:
        assert self.status
        assert self.ended is None
        self.ended = reusable


def _read(pieces: Sequence[bytes], eof: bool = False) -> tuple[Told, ResponseParser, bool]:
    """What was told, and whether it was refused."""
    parser, told = ResponseParser(), Told()
    parser.expect(told)
    try:
        for piece in pieces:
            parser.feed(piece)
    except ProtocolError:
        return told, parser, True
    if eof:
        parser.ended()
    return told, parser, False


@pytest.mark.parametrize(
    ("data", "reusable"),
    [
        (OK + b"Content-Length: 2\r\n\r\nhi", True),
        (OK + b"Transfer-Encoding: chunked \r\n\r\n2;x=y\r\nhi\r\n0\r\nT: z\r\n\r\n", True),
        (OK + b"Transfer-Encoding: CHUNKED\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n", True),
        (OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", True),
        (OK + b"Connection: upgrade\r\nUpgrade: h2,h2c\r\nContent-Length: 2\r\n\r\nhi", True),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", True),
        (b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi", True),
    ],
)
def test_an_answer_is_the_same_however_it_is_cut(data: bytes, reusable: bool) -> None:
    cuts = [[data], [data[i : i + 1] for i in range(len(data))], *([data[:i], data[i:]] for i in range(len(data)))]
    for pieces in cuts:
        told, parser, refused = _read(pieces)
        assert not refused
        assert (told.status, told.body, told.ended, parser.surplus) == (200, b"hi", reusable, False)
        assert "link" not in told.headers


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body(status: int) -> None:
    told, parser, _ = _read([b"HTTP/1.1 %d X\r\nContent-Length: 5\r\n\r\n" % status])
    assert (told.status, told.ended, parser.surplus) == (status, True, False)


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    told, parser, _ = _read([OK + b"\r\nhel", b"lo"])
    assert (told.body, told.ended) == (b"hello", None)
    assert parser.ended()
    assert told.ended is False
    assert not parser.waiting


@pytest.mark.parametrize(
    "data", [b"", OK, OK + b"Content-Length: 2\r\n\r\nh", OK + b"Transfer-Encoding: chunked\r\n\r\n"]
)
def test_an_answer_with_a_length_does_not_end_with_the_connection(data: bytes) -> None:
    told, parser, _ = _read([data])
    assert not parser.ended()
    assert told.ended is None


@pytest.mark.parametrize(
    "data",
    [
        OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: identity\r\n\r\nhi",
        OK + b"X: a\x00b\r\n\r\n",
        OK + b"X: a\r\n b\r\n\r\n",
        OK.replace(b"\r", b"") + b"Content-Length: 2\n\nhi",
        b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 101 S\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/0.9 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 050 X\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 600 X\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 20 X\r\n\r\n",
        b"<html>",
        OK + b"X: y\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(MOST_HEADERS)) + b"\r\n",
        OK + b"X: " + b"y" * (MOST_QUIET_BYTES + 60_000),
        OK + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"y" * (MOST_QUIET_BYTES + 60_000),
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"y" * (MOST_QUIET_BYTES + 60_000),
    ],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    assert _read([data[i : i + 50_000] for i in range(0, len(data), 50_000)])[2]


SURPLUS = [
    *(OK, b"x", b"\r\nx", b"HTTP/1.1 100 C\r\n\r\n", OK + b"Content-Length: 0\r\n\r\n"),
    *(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", OK + b"X: y\r\n" * 20_000),
]


@pytest.mark.parametrize("behind", SURPLUS)
@pytest.mark.parametrize("cut_at", [0, 1, 2])
def test_more_than_was_asked_for_is_told_to_nobody(behind: bytes, cut_at: int) -> None:
    first = OK + b"Content-Length: 2\r\n\r\nhi"
    data = first + behind
    pieces = [data] if cut_at == 0 else [data[: len(first) + cut_at - 1], data[len(first) + cut_at - 1 :]]
    told, parser, refused = _read(pieces)
    assert (told.body, told.ended, parser.surplus, refused) == (b"hi", True, True, False)


def test_a_fault_of_ours_is_logged_and_ends_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(Told):
        def body_came(self, data: bytes) -> None:
            raise KeyError("x")

    parser = ResponseParser()
    parser.expect(Faulty())
    with pytest.raises(ProtocolError):
        parser.feed(OK + b"Content-Length: 2\r\n\r\nhi")
    assert "KeyError" in caplog.text


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """An answer, well framed or not."""
    status = draw(
        mostly(
            ["200 OK", "404 Not", "429 X"], ["204 N", "100 C", "101 S", "304 N", "050 X", "700 X", "2x0 X", "200", ""]
        )
    )
    version = draw(mostly(["HTTP/1.1"], ["HTTP/1.0", "HTTP/2.0", "http/1.1", ""]))
    body = draw(st.text("ab\r\n0", max_size=10))
    frame = draw(mostly([*GOOD_FRAMES, "X: y"], BAD_FRAMES)).replace("{length}", str(len(body)))
    extra = draw(
        st.sampled_from(["", "", "X: y\r\n", "Connection: close\r\n", "Connection: upgrade\r\nUpgrade: x\r\n"])
    )
    if "chunked" in frame.lower() and draw(st.integers(0, 6)):
        half = len(body) // 2
        parts = [data for data in (body[:half], body[half:]) if data]
        body = "".join(draw(mostly(GOOD_CHUNKS, BAD_CHUNKS)).format(size=len(data), data=data) for data in parts)
        body += draw(mostly(GOOD_LASTS, BAD_LASTS))
    return f"{version} {status}\r\n{extra}{frame}\r\n\r\n{body}".encode("latin-1")


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """Answers behind each other, with bytes changed."""
    data = bytearray(b"".join(draw(st.lists(answers(), min_size=1, max_size=2))))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        place = draw(st.integers(0, len(data)))
        data[place : place + draw(st.integers(0, 2))] = draw(st.sampled_from(INSERTED))
    return bytes(data)


# What llhttp takes and h11 does not: any letters in a reason, which nobody reads, and empty lines before an answer.
_REASON = re.compile(rb"(?m)^(HTTP/1\.[01] \d{3} )[^\r\n]*")


_EMPTY = re.compile(rb"\A((?:HTTP/1\.[01] 1\d\d[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n)*)[\r\n]+")


def _reference(data: bytes) -> tuple[int, bytes] | None:
    """The first final answer as h11 reads it, where it is complete without the end of the connection."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "a"), ("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    while (forgiven := _EMPTY.sub(rb"\1", data)) != data:
        data = forgiven
    connection.receive_data(_REASON.sub(rb"\1X", data))
    status, body = 0, b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return status, body
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        return None


PLACES = st.lists(st.integers(0, 500), max_size=8)


@fuzz(60)
@given(st.one_of(spoilt(), st.binary(max_size=80)), PLACES, st.booleans())
@example(OK + b"Content-Length: 2\r\n\r\nhi" + b"\x80", [], False)
def test_whatever_comes_only_a_protocol_error_is_raised_and_cuts_change_nothing(
    data: bytes, places: list[int], eof: bool
) -> None:
    whole, _, refused = _read([data], eof)
    pieces, _, also = _read(cut(data, places), eof)
    assert (whole, refused) == (pieces, also)


@fuzz(60)
@given(spoilt())
@example(b"HTTP/1.1 200 \x00OK\r\nContent-Length: 0\r\n\r\n")
def test_an_answer_that_is_taken_is_one_for_an_independent_reader_too(data: bytes) -> None:
    told, _, refused = _read([data])
    if told.ended is not None and not refused:
        assert _reference(data) == (told.status, told.body)
