"""A trace holds what every user of it relies on, or it is none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tierwise.errors import Invalid
from tierwise_sim.traces.arrival import MOST_TOKENS, Arrival, Trace, within
from tierwise_sim.traces.errors import TraceError

ONE = Arrival(1.0, 100, 10)


def trace(*arrivals: Arrival, duration: float = 10.0) -> Trace:
    return Trace("t", arrivals, duration, "somewhere")


def test_a_trace_knows_its_rate() -> None:
    assert trace(ONE, replace(ONE, at=2.0), duration=4.0).rate == 0.5


def test_requests_may_come_at_one_moment() -> None:
    assert len(trace(ONE, ONE).arrivals) == 2


@pytest.mark.parametrize(
    ("arrivals", "duration", "message"),
    [
        ((), 10.0, "an empty trace; expected at least one request"),
        ((ONE,), 0.0, "a trace of 0.0 s; expected a positive"),
        ((ONE,), float("inf"), "a trace of inf s"),
        ((ONE,), float("nan"), "a trace of nan s"),
        ((ONE,), 1.0, r"request 1 of 1: it comes at 1.0 s; expected from 0.0 s .* below 1.0 s"),
        ((ONE, replace(ONE, at=0.5)), 10.0, r"request 2 of 2: it comes at 0.5 s; expected from 1.0 s"),
        ((replace(ONE, at=-1.0),), 10.0, "it comes at -1.0 s"),
        ((replace(ONE, at=float("nan")),), 10.0, "it comes at nan s"),
        ((replace(ONE, prompt_tokens=0),), 10.0, "0 prompt and 10 output tokens; expected 1 to"),
        ((replace(ONE, output_tokens=-1),), 10.0, "100 prompt and -1 output tokens"),
        ((replace(ONE, prompt_tokens=MOST_TOKENS + 1),), 10.0, "20000001 prompt"),
        ((replace(ONE, prefix=(1,)),), 10.0, "blocks of 0 tokens; expected at least 1"),
        ((replace(ONE, prefix=(1, 2, 3), block_tokens=50),), 10.0, "3 blocks for 100 tokens; expected at most 2"),
        ((replace(ONE, label=1.5),), 10.0, "label is 1.5"),
        ((replace(ONE, label=float("nan")),), 10.0, "label is nan"),
    ],
)
def test_what_is_no_trace_is_refused(arrivals: tuple[Arrival, ...], duration: float, message: str) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        trace(*arrivals, duration=duration)
    assert caught.value.message.startswith("somewhere: ")
    assert isinstance(caught.value, Invalid)


def test_a_last_block_may_be_broken_off() -> None:
    assert trace(replace(ONE, prefix=(1, 2), block_tokens=99)).arrivals[0].prefix == (1, 2)


def test_a_time_at_the_end_is_moved_before_it() -> None:
    assert within(5.0, 10.0) == 5.0
    assert 9.999 < within(10.0, 10.0) < 10.0
    assert within(-0.1, 10.0) == 0.0
