"""Checks the arithmetic of the bill: what is saved against which row, where bars are missed, where nothing pays."""

from __future__ import annotations

from dataclasses import asdict, replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.bill import break_even, sizing
from tools.bill.break_even import Api, Kind
from tools.bill.rows import Row, kept, missed, row_of, saved
from tools.bill.run import Counted, TierCount

ROW = Row(
    key="static", title="static", fleet="8 x 70B", scaler="static", dollars=200.0, dollars_per_hour=400.0,
    gpu_hours=16.0, attainment=99.5, met_ttft=99.8, met_inter_token=99.6, quality=100.0, share=100.0, spilled=0.0,
    replicas={"large": 8.0}, steps="kernels",
)  # fmt: skip
KEDA = replace(ROW, key="keda", dollars=120.0)
OURS = replace(ROW, key="ours", dollars=45.0, attainment=98.9)


def counted(**tiers: TierCount) -> Counted:
    judged, met = (sum(getattr(tier, name) for tier in tiers.values()) for name in ("judged", "met"))
    return Counted(1800.0, judged, judged, met, judged, met, tiers, 70.0, 80.0, dict.fromkeys(tiers, "kernels"))


def test_what_is_saved_is_counted_against_the_other_rows_dollars() -> None:
    assert saved(OURS, ROW) == 77.5
    assert saved(OURS, KEDA) == 62.5
    assert saved(ROW, KEDA) == -66.67, "what costs more is not hidden"
    assert kept(OURS, ROW) == 99.4


@given(st.lists(st.floats(1, 1e6), min_size=3, max_size=3))
def test_savings_multiply_along_the_rows(dollars: list[float]) -> None:
    first, second, third = (replace(ROW, dollars=each) for each in dollars)
    left = (1 - saved(second, first) / 100) * (1 - saved(third, second) / 100)
    assert left == pytest.approx(
        third.dollars / first.dollars,
        rel=1e-3,
        abs=1e-4 * (1 + second.dollars / first.dollars + third.dollars / second.dollars),
    )


def test_a_row_is_what_its_run_has_counted() -> None:
    large = TierCount(Decimal("30.001"), 7200.0, 2.0, 40, 42, 40)
    small = TierCount(Decimal("1.5"), 3600.0, 2.0, 60, 60, 59)
    hosted = TierCount(Decimal("0.25"), 0.0, 0.0, 5, 5, 5)
    row = Row.of("k", "title", "fleet", "tierwise", counted(large=large, small=small, hosted=hosted))
    assert (row.dollars, row.dollars_per_hour, row.gpu_hours) == (31.75, 63.5, 3.0)
    assert row.attainment == round(100 * 104 / 107, 2)
    assert row.quality == 87.5
    assert row.share == round(100 * 45 / 105, 2), "the API counts as the large tier"
    assert row.spilled == round(100 * 5 / 105, 2)
    assert row.replicas == {"large": 2.0, "small": 2.0}
    assert row_of(asdict(row)) == row


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        (OURS, []),
        (
            replace(OURS, dollars=50.0),
            [
                "75.0 % below the static reference, wanted: more than 75 %",
                "58.3 % below the autoscaled reference, wanted: more than 60 %",
            ],
        ),
        (replace(OURS, dollars=48.0), ["60.0 % below the autoscaled reference, wanted: more than 60 %"]),
        (
            replace(OURS, attainment=98.0),
            [
                f"98.5 % of the {name} reference's attainment, wanted: at least 99 %"
                for name in ("static", "autoscaled")
            ],
        ),
    ],
)
def test_a_bar_is_missed_at_its_own_figure(ours: Row, said: list[str]) -> None:
    assert missed([ROW, KEDA, ours], "ours", "static", "keda") == said


LARGE, SMALL = Kind(dollars=14.0, requests=100.0), Kind(dollars=2.0, requests=100.0)


def test_routing_pays_from_where_it_saves_a_large_replica() -> None:
    found = break_even.routing_pays_from(LARGE, SMALL, 0.5)
    assert found is not None
    first, for_good = found
    assert first == 101, "until then one large replica serves everything"
    assert for_good >= first
    assert break_even.routing_pays_from(LARGE, replace_cost(SMALL, 14.0), 1.0) is None


def replace_cost(kind: Kind, dollars: float) -> Kind:
    return Kind(dollars, kind.requests)


@settings(max_examples=20)
@given(st.integers(1, 60), st.floats(0.05, 0.9))
def test_from_where_routing_always_pays_it_does(hundreds: int, share: float) -> None:
    found = break_even.routing_pays_from(LARGE, SMALL, share)
    if found is not None:
        requests = found[1] + 100 * hundreds
        if requests < 100 * LARGE.requests:
            both = LARGE.cost(requests * share) + SMALL.cost(requests * (1 - share))
            assert both < LARGE.cost(requests) + LARGE.dollars  # whole replicas: steps between the points looked at


def test_above_its_share_the_small_tier_costs_more_than_it_saves() -> None:
    requests = 1000.0
    percent = break_even.share_where_routing_ends(LARGE, SMALL, requests)
    assert percent == 90.0, "at 90 % one large replica of ten is saved, for 2 of its 14 dollars; at 91 % none"
    assert break_even.share_where_routing_ends(LARGE, SMALL, 50.0) == 0.0, "one replica is always there"


def test_an_api_is_dearer_from_where_its_requests_cost_a_replica() -> None:
    api = Api("api", "1.00", "4.00")
    each = api.usd(1000, 250)
    assert each == pytest.approx(0.002)
    first, always = break_even.api_pays_below(Kind(10.0, 20000.0), api, 1000, 250)
    assert first == 5000
    assert always is not None
    assert always >= first
    assert break_even.api_pays_below(Kind(10.0, 4000.0), api, 1000, 250) == (None, None)
    assert break_even.blended_price(10.0, 8000, 1000, 250) == pytest.approx(1.0)


@given(st.integers(1, 40), st.integers(1, 40))
def test_the_least_static_fleet_is_found_from_any_guess(needed: int, guess: int) -> None:
    def run(replicas: int) -> Counted:
        met = 100 if replicas >= needed else 90
        return counted(large=TierCount(Decimal(1), 1.0, 1.0, 100, 100, met))

    assert sizing.least_replicas(run, guess) == needed


@given(st.integers(0, 10))
def test_halving_finds_the_last_that_is_good(good: int) -> None:
    values = list(range(10))
    expected = None if good == 0 else values[good - 1]
    assert sizing.highest(values, lambda value: value < good) == expected


def test_what_is_saved_has_no_float_noise() -> None:
    assert saved(replace(ROW, dollars=float(Fraction(1, 3))), replace(ROW, dollars=1.0)) == 66.67
