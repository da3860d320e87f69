"""Events that repeat the one before are known by their bytes: nothing of what is read of a stream may depend on it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.router.fuzzing import cut, fuzz
from tests.unit.router.running_router import chat, post, route, running, tier
from tests.unit.router.scripted_upstream import DONE, FINISH, ROLE, USAGE, stream, upstream, word
from tierwise_router.answer import BOM, StreamReader
from tierwise_router.http_response import ResponseParser


class Careful(StreamReader):
    """Parses every event."""

    def _repeated(self, event: bytes) -> bool:
        return False


class Counting(StreamReader):
    """Counts the events that it has parsed."""

    parsed = 0

    def _kind(self, event: bytes):  # type: ignore[no-untyped-def]
        self.parsed += 1
        return super()._kind(event)


def _said(reader: StreamReader, stream: bytes, places: Sequence[int]) -> list[object]:
    out = [reader.feed(piece) for piece in cut(stream, places)]
    return [
        *(out, reader.end(), reader.committed, reader.error, reader.usage, reader.finished, reader.well_ended),
        *(reader.done, reader.told_events, reader.output_events, reader.response_id, reader.torn),
    ]


WITH_USAGE = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"x"}}],"usage":{"prompt_tokens":7}}\n\n'
EVENTS = [
    *(ROLE, FINISH, USAGE, DONE, word("Hel"), word("lo"), word(""), word("\\n"), word('\\"'), word("ä"), word("\n")),
    WITH_USAGE,
    b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"y"}}],"usage":{"prompt_tokens":7}}\n\n',
    b'data: {"id":"c","choices":[{"index":1,"delta":{"content":"x"}}]}\n\n',
    b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n',
    b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"a","reasoning":"b"}}]}\n\n',
    b'data: {"id":"c","choices":[{"index":0,"delta":{"reasoning":"b"}}]}\n\n',
    b'data: {"choices":[{"index":0,"text":"a"}]}\n\n',
    b'data: {"choices":[{"index":0,"text":"b"}]}\n\n',
    b'data: {"choices":[{"index":0,"text":""}]}\n\n',
    b'data: {"content":"no","choices":[{"index":0,"delta":{}}]}\n\n',
    b'data: {"error":{"message":"x","content":"y"}}\n\n',
    b'data: {"type":"response.output_text.delta","delta":"x","content":"y"}\n\n',
    b'data: {"choices":[{"delta":{"a\\"content":"x"}}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"x" junk}}]}\n\n',
    b'id: 1\ndata: {"choices":[{"delta":{"content":"x"}}]}\n\n',
    word("x") * 3,
    word("a").replace(b"\n", b"\r\n"),
    word("a").replace(b"\n", b"\r"),
    BOM + word("a"),
    *(b": ping\n\n", b"\n", b"\r", b"data: x\n\n", word("a")[:-1], word("a")[:-20], word("Hel")[20:]),
]


@fuzz(150)
@given(st.lists(st.sampled_from(EVENTS), max_size=12), st.lists(st.integers(0, 600), max_size=6))
@example([word("Hel"), word("lo"), BOM + word("x")], [])
@example([BOM + word("Hel"), BOM + word("lo")], [])
@example([word("Hel"), word("\r\r"), word("lo")], [])
@example([word("Hel"), word("\n\n"), word("lo")], [])
@example([WITH_USAGE, USAGE, WITH_USAGE], [])
def test_what_is_read_of_a_stream_is_the_same_with_every_event_parsed(events: list[bytes], places: list[int]) -> None:
    stream = b"".join(events)
    assert _said(StreamReader(drop_usage=True), stream, places) == _said(Careful(drop_usage=True), stream, places)


@pytest.mark.parametrize("apart", [True, False])
def test_of_events_that_differ_in_their_text_only_the_first_is_parsed(apart: bool) -> None:
    reader = Counting(drop_usage=True)
    words = [word(f" word{number}") for number in range(100)]
    pieces = [ROLE, *words, FINISH, DONE] if apart else [ROLE, b"".join(words), FINISH, DONE]
    for piece in pieces:
        assert reader.feed(piece) == piece
    assert (reader.parsed, reader.output_events, reader.well_ended) == (4, 100, True)


class Pieces:
    """Keeps what was told of a body, piece by piece."""

    def __init__(self) -> None:
        self.told: list[bytes] = []
        self.ended = False

    def head_came(self, status: int, headers: dict[str, str]) -> None:
        """The head."""

    def body_came(self, data: bytes) -> None:
        """Some of the body."""
        assert not self.ended
        self.told.append(data)

    def answer_ended(self, reusable: bool) -> None:
        """The end."""
        self.ended = True


def test_what_one_read_brings_of_a_body_is_told_at_once() -> None:
    steps = stream(ROLE, word("a"), word("b"), FINISH, DONE)
    parser, pieces = ResponseParser(), Pieces()
    parser.expect(pieces)
    parser.feed(b"".join(steps[:4]))
    parser.feed(b"".join(steps[4:]))
    assert pieces.told == [ROLE + word("a") + word("b"), FINISH + DONE]
    assert pieces.ended


async def test_an_error_behind_content_ends_the_stream_and_one_before_it_is_tried_elsewhere() -> None:
    error = b'data: {"error":{"message":"no"}}\n\n'
    for events, tiers_that_answered in (
        ((ROLE, word("Hel"), error, DONE), "a"),
        ((ROLE, error, word("Hel"), DONE), "b"),
    ):
        together = b"".join(stream(*events))
        async with (
            upstream([together]) as up,
            upstream(default=stream(ROLE, word("lo"), FINISH, DONE)) as other,
            running(route(tier("a", up), tier("b", other))) as router,
        ):
            got = await asyncio.wait_for(router.ask(post(chat(True))), 5)
            assert got.headers["x-tierwise-tier"] == tiers_that_answered
            assert (error in got.body) == (tiers_that_answered == "a")
