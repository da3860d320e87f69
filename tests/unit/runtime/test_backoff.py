"""Checks that the waiting time grows, stays bounded, differs, and never ends."""

from __future__ import annotations

from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from tierwise.runtime.backoff import LONGEST_SECONDS, InfiniteBackoff, delays


@given(st.floats(0, 1, exclude_max=True))
def test_delays_grow_to_a_limit(chance: float) -> None:
    found = list(islice(delays(lambda: chance), 30))
    assert found == sorted(found)
    assert found[0] <= 0.5
    assert LONGEST_SECONDS / 2 <= found[-1] <= LONGEST_SECONDS


def test_everybody_waits_differently() -> None:
    assert list(islice(delays(), 20)) != list(islice(delays(), 20))


def test_for_kopf_it_starts_anew_and_has_no_length() -> None:
    endless = InfiniteBackoff()
    first = next(iter(endless))
    assert first <= 0.5
    assert next(iter(endless)) <= 0.5
    assert not hasattr(endless, "__len__")
