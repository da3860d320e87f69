"""Streams of events, cut anywhere and with every end of line: what comes out is what went in, and is read the same.

Numbers in names are those of the forty cases that a router of this kind has to survive.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.router.fuzzing import cut, fuzz
from tests.unit.router.scripted_upstream import DONE, FINISH, ROLE, USAGE, word
from tierwise.routing.cost import Usage
from tierwise_router import sse
from tierwise_router.answer import StreamReader
from tierwise_router.sse import EventSplitter, data_of

BLANK = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n))")
CONTENT_USAGE = (
    b'data: {"choices":[{"index":0,"delta":{"content":"x"}}],"usage":{"prompt_tokens":7,"completion_tokens":1}}\n\n'
)


def _reference(stream: bytes) -> list[bytes]:
    """The data of every whole event, by the words of the specification: line by line."""
    found: list[bytes] = []
    data: list[bytes] = []
    lines = re.split(rb"\r\n|\n|\r", stream)
    for line in lines[:-1]:  # what follows the last end of a line is no line
        if not line:
            if data:
                found.append(b"\n".join(data))
            data = []
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
    return found


def _split(stream: bytes, places: Sequence[int]) -> tuple[list[bytes], bytes]:
    splitter = EventSplitter()
    events = [event for piece in cut(stream, places) for event in splitter.feed(piece)]
    return events, splitter.rest()


def _read(stream: bytes, places: Sequence[int] = (), drop: bool = True) -> tuple[bytes, StreamReader]:
    reader = StreamReader(drop)
    out = b"".join(reader.feed(piece) for piece in cut(stream, places))
    return out + reader.end(), reader


LINES = st.sampled_from(
    [
        b"data: a",
        b"data:b",
        b"data:  c",
        b"data",
        b": comment",
        b"event: x",
        b"id: 1",
        b"",
        b"",
        b"data: {",
        b"da",
        b"\xef\xbb\xbf",
        b"data: \xc3\xa9",
    ]
)
ENDS = st.sampled_from([b"\n", b"\n", b"\r\n", b"\r\n", b"\r"])
STREAMS = st.lists(st.tuples(LINES, ENDS), max_size=14).map(lambda lines: b"".join(map(b"".join, lines)))
PLACES = st.lists(st.integers(0, 400), max_size=20)


@fuzz(60)
@given(st.one_of(STREAMS, st.text("\r\n\r\nad: ", max_size=30).map(str.encode)), PLACES)
@example(b"data: a\r\ndata: b\r\n\r\n", [])
@example(b"data: a\r\ndata: b\r\n\r\ndata: c\r\r", [8, 9, 10, 17, 18, 19])
def test_case_11_any_stream_cut_anywhere_comes_out_byte_for_byte(stream: bytes, places: list[int]) -> None:
    events, rest = _split(stream, places)
    assert b"".join(events) + rest == stream
    assert all(BLANK.search(event[-4:]) and event[-1:] in b"\r\n" for event in events)
    # A CR at the very end was waited for.
    read = [data for event in [*events, rest] if (data := data_of(event)) is not None]
    expected = _reference(stream)
    assert read[: len(expected)] == expected
    assert len(read) <= len(expected) + 1


def _with_ends(stream: bytes, end: bytes) -> bytes:
    return stream.replace(b"\n", end)


TALK = (
    b": first\n\n"
    + ROLE
    + word("Hel")
    + b": ping\n\n"
    + word("l\xc3\xa9".encode("latin-1").decode())
    + FINISH
    + USAGE
    + DONE
)
SAME = Usage(input=10, output=2)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_case_11_a_stream_cut_at_every_byte_is_the_same_stream_with_the_same_usage(end: bytes) -> None:
    talk = _with_ends(TALK, end)
    without = _with_ends(TALK.replace(USAGE, b""), end)
    for place in range(len(talk) + 1):
        for places in ([place], [place, place + 1]):
            out, reader = _read(talk, places)
            assert out == without
            assert reader.usage == SAME
            assert (reader.output_events, reader.done, reader.well_ended) == (2, True, True)
    out, reader = _read(talk, range(len(talk)))
    assert (out, reader.usage, reader.well_ended) == (without, SAME, True)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_case_12_comments_and_data_of_several_lines_stay_intact(end: bytes) -> None:
    several = _with_ends(b'event: m\nid: 1\ndata: {"choices":[{"index":0,\ndata:"delta":{"content":"x"}}]}\n\n', end)
    glued = _with_ends(b": ping\ndata: [DONE]\n\n", end)
    out, reader = _read(several + glued, range(200))
    assert out == several + glued
    assert (reader.output_events, reader.done, reader.committed) == (1, True, True)
    assert data_of(several) == b'{"choices":[{"index":0,\n"delta":{"content":"x"}}]}'


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_case_12_a_comment_glued_to_the_event_with_usage_goes_with_it(end: bytes) -> None:
    talk = _with_ends(word("x") + b": ping\n" + USAGE + DONE, end)
    out, reader = _read(talk, [3, 50, 90])
    assert out == _with_ends(word("x") + DONE, end)
    assert reader.usage == SAME


def test_case_13_who_has_not_asked_for_usage_gets_the_same_bytes_without_its_event() -> None:
    out, _ = _read(TALK, drop=True)
    assert out == TALK.replace(USAGE, b"")


def test_case_14_who_has_asked_for_usage_gets_its_event_once() -> None:
    out, _ = _read(TALK, drop=False)
    assert out == TALK
    assert out.count(USAGE) == 1


def test_case_15_usage_on_an_event_with_content_is_read_and_the_event_kept() -> None:
    talk = ROLE + CONTENT_USAGE + FINISH + DONE
    out, reader = _read(talk)
    assert out == talk
    assert reader.usage == Usage(input=7, output=1)
    inside = FINISH.replace(b'"delta":{}', b'"delta":{},"usage":{"prompt_tokens":9,"completion_tokens":3}')
    out, reader = _read(word("x") + inside + DONE)
    assert out == word("x") + inside + DONE
    assert reader.usage == Usage(input=9, output=3)


def test_case_15_usage_that_comes_twice_counts_once() -> None:
    assert _read(CONTENT_USAGE + USAGE + DONE)[1].usage == SAME


def test_case_16_without_usage_the_events_with_content_are_counted() -> None:
    reader = _read(ROLE + word("a") * 5 + FINISH + DONE)[1]
    assert reader.usage is None
    assert reader.output_events == 5


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_an_event_beyond_the_bound_is_passed_on_in_pieces_and_what_surrounds_it_is_read(
    end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "MOST_EVENT_BYTES", 300)
    huge = _with_ends(b'data: {"error":{"message":"' + b"x" * 400 + b'\ndata: [DONE]\ndata: {"error":1}"}}\n\n', end)
    before, after = _with_ends(word("a"), end), _with_ends(word("b") + FINISH + USAGE + DONE, end)
    talk = before + huge + after
    expected = talk.replace(_with_ends(USAGE, end), b"")
    for places in ([], [100], [500], [len(before) + 350], range(0, len(talk), 7), range(len(talk))):
        out, reader = _read(talk, places)
        assert out == expected
        assert reader.usage == SAME
        assert reader.error is None
        assert reader.well_ended
        assert reader.output_events in (3, 4)  # whole where it came at once


def test_a_stream_that_lacks_its_last_blank_line_has_ended_well() -> None:
    for last in (b"data: [DONE]", b"data: [DONE]\n", FINISH[:-1], FINISH[:-2]):
        out, reader = _read(word("x") + last)
        assert out == word("x") + last
        assert reader.well_ended
    out, reader = _read(word("x") + FINISH + USAGE[:-1])
    assert (out, reader.usage) == (word("x") + FINISH, SAME)


def test_half_an_event_at_the_end_is_no_event() -> None:
    _, reader = _read(word("x") + word("y")[:-9])
    assert reader.output_events == 1
    assert not reader.well_ended


def test_a_long_event_in_small_pieces_costs_no_more_than_its_length() -> None:
    line = b"data: " + b"x" * 900_000
    for end in (b"\n\n", b"\r\n\r\n"):
        splitter = EventSplitter()
        began = time.process_time()
        events = [event for piece in cut(line + end, range(0, 900_000, 1_400)) for event in splitter.feed(piece)]
        assert [len(event) for event in events] == [len(line + end)]
        assert time.process_time() - began < 1.0
