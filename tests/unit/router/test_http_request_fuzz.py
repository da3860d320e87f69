"""Random and spoilt requests, cut anywhere: nothing is raised but a refusal, and what the router takes for a request an
independent reader takes for the same one, with the same body.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.router.fuzzing import cut, fuzz
from tests.unit.router.http_reference import read_all
from tests.unit.router.http_texts import HIDDEN, spoilt
from tierwise_router.http_request import Request, RequestParser
from tierwise_router.openai_error import ClientError

MOST_BODY = 1_000


class Sink:
    """What the parser has told."""

    def __init__(self) -> None:
        self.heads: list[Request] = []
        self.requests: list[Request] = []

    def head_came(self, request: Request) -> None:
        self.heads.append(request)

    def request_came(self, request: Request) -> None:
        assert self.heads[-1] is request
        self.requests.append(request)


def parse(pieces: Sequence[bytes], most_body: int = MOST_BODY) -> tuple[list[Request], ClientError | None]:
    """All complete requests, and the refusal if there was one."""
    sink = Sink()
    parser = RequestParser(sink, most_body)
    refusals: list[ClientError] = []
    for piece in pieces:
        try:
            parser.feed(piece)
        except ClientError as error:
            refusals.append(error)
    refused = refusals[0] if refusals else None
    assert len(refusals) <= 1, "refused twice"
    assert refused is None or refused.close
    assert len(sink.heads) - len(sink.requests) <= 1
    assert all(request.complete for request in sink.requests)
    return sink.requests, refused


def _agrees(data: bytes, places: Sequence[int]) -> None:
    requests, _ = parse(cut(data, places))
    reference = read_all(data)
    assert len(requests) <= len(reference), "a request that nobody else sees"
    for ours, theirs in zip(requests, reference, strict=False):
        query = f"?{ours.query}" if "?" in theirs.target else ""
        assert (ours.method, ours.path + query) == (theirs.method, theirs.target)
        assert bytes(ours.body) == theirs.body
        assert [(name, _lower_coding(name, value)) for name, value in ours.headers] == theirs.headers


def _lower_coding(name: bytes, value: bytes) -> bytes:
    return value.lower() if name == b"transfer-encoding" else value  # h11 writes it so


@fuzz(60)
@given(spoilt(), st.lists(st.integers(0, 2_000), max_size=12))
@example(
    b"POST / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\nhello"
    + HIDDEN.encode(),
    [],
)
@example((b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n") * 2, [70])
@example(b"POST   /   RTSP/1.0\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", [])
def test_what_is_taken_for_a_request_is_one_for_an_independent_reader_too(data: bytes, places: list[int]) -> None:
    _agrees(data, places)


@fuzz(60)
@given(spoilt(), st.lists(st.integers(0, 2_000), max_size=12))
def test_the_same_requests_are_read_however_the_bytes_are_cut(data: bytes, places: list[int]) -> None:
    whole, refused = parse([data])
    pieces, also = parse(cut(data, places))
    assert [(one.method, one.path, one.headers, bytes(one.body)) for one in pieces] == [
        (one.method, one.path, one.headers, bytes(one.body)) for one in whole
    ]
    assert (refused is None) == (also is None)


@fuzz(60)
@given(st.lists(st.binary(max_size=60), max_size=8))
def test_noise_is_refused_or_waited_for_and_nothing_else_is_raised(pieces: list[bytes]) -> None:
    requests, _ = parse(pieces)
    assert len(requests) <= len(read_all(b"".join(pieces)))


def test_every_cut_of_a_request_with_a_body_for_an_upgrade_is_the_same_request() -> None:
    for frame, body in (
        ("Content-Length: 33", HIDDEN),
        ("Transfer-Encoding: chunked", f"21\r\n{HIDDEN}\r\n0\r\nX: y\r\n\r\n"),
    ):
        head = f"POST / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n{frame}\r\n\r\n"
        data = (head + body + HIDDEN).encode()
        for place in range(len(data)):
            requests, refused = parse([data[:place], data[place:]])
            assert [bytes(request.body) for request in requests] == [HIDDEN.encode()]
            assert not requests[0].keep_alive
            assert refused is None
        assert [bytes(request.body) for request in parse([data[i : i + 1] for i in range(len(data))])[0]] == [
            HIDDEN.encode()
        ]
