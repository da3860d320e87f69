"""Checks the share of the reference tier: what quality asks for, as far as pressure allows it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.share import ReferenceShare

percents = st.floats(0, 100)
anything = st.none() | st.floats()


@pytest.mark.parametrize(
    ("share", "wanted", "applied"),
    [
        (ReferenceShare(40), 40, 40),
        (ReferenceShare(40, quality=55), 55, 55),
        (ReferenceShare(40, quality=20), 20, 20),
        (ReferenceShare(40, pressure=25), 40, 25),
        (ReferenceShare(40, pressure=60), 40, 40),
        (ReferenceShare(40, quality=70, pressure=60), 70, 60),
        (ReferenceShare(40, quality=0, pressure=60), 0, 0),
        (ReferenceShare(120, pressure=-3), 100, 0),
        (ReferenceShare(math.nan), 100, 100),
        (ReferenceShare(40, pressure=math.nan), 40, 40),
    ],
)
def test_quality_asks_and_pressure_allows(share: ReferenceShare, wanted: float, applied: float) -> None:
    assert (share.wanted, share.applied) == (wanted, applied)
    assert share.withheld == pytest.approx(wanted - applied)


@given(st.floats(), anything, anything)
def test_a_share_is_a_percentage_whatever_was_asked_for(
    needed: float, quality: float | None, pressure: float | None
) -> None:
    share = ReferenceShare(needed, quality, pressure)
    assert 0 <= share.applied <= share.wanted <= 100
    assert 0 <= share.withheld <= 100


@given(percents, percents, percents)
def test_pressure_never_raises_it_and_quality_never_lifts_it_over_pressure(
    needed: float, quality: float, pressure: float
) -> None:
    assert ReferenceShare(needed, None, pressure).applied <= ReferenceShare(needed).applied
    assert ReferenceShare(needed, quality, pressure).applied <= pressure
