"""Traces as Hypothesis draws them."""

from __future__ import annotations

from hypothesis import strategies as st

from tierwise_sim.traces.arrival import Arrival, Trace

NAMES = st.sampled_from(["", "a", "sales/eu", '"\n\\', "日本", "\u2028", "\0"])
HASHES = st.integers(0, 2**64 - 1)


@st.composite
def arrivals(draw: st.DrawFn, *, at: st.SearchStrategy[float], block_tokens: int | None = None) -> Arrival:
    """One request; blocks of this size, or of any."""
    prompt, output = draw(st.integers(1, 40_000)), draw(st.integers(1, 4_000))
    size = block_tokens or draw(st.integers(1, 2_000))
    prefix = tuple(draw(st.lists(HASHES, max_size=min(4, -(-prompt // size)))))
    label = draw(st.none() | st.floats(0, 1))
    return Arrival(draw(at), prompt, output, prefix, size if prefix else 0, draw(NAMES), draw(NAMES), label)


@st.composite
def traces(draw: st.DrawFn, *, step: float = 0.0, block_tokens: int | None = None) -> Trace:
    """A trace of a few requests in an hour, the first at 0; times are multiples of `step` seconds, or any."""
    moments = st.integers(0, int(3599 / step)).map(lambda number: number * step) if step else st.floats(0, 3599)
    found = draw(st.lists(arrivals(at=moments, block_tokens=block_tokens), max_size=5))
    first = draw(arrivals(at=st.just(0.0), block_tokens=block_tokens))
    ordered = sorted([first, *found], key=lambda arrival: arrival.at)
    return Trace("drawn", tuple(ordered), 3600.0, "a test", tuple(draw(st.lists(NAMES, max_size=2))))
