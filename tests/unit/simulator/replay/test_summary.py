"""Checks the figures that are made of what was counted: percentiles, changes, money, and how a person is told."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.unit.simulator.replay.make import even, hosted, result, route, scenario, tier
from tierwise_sim.replay.account import distribution
from tierwise_sim.replay.result import Changes, Requests, SimulationResult
from tierwise_sim.replay.result_json import as_json, plain
from tierwise_sim.replay.summary import changes
from tierwise_sim.simulate_text import as_text, compared


def shown(found: SimulationResult, width: int = 80) -> str:
    console = Console(width=width, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(as_text(found))
    return captured.get()


def test_percentiles_are_values_that_there_were() -> None:
    found = distribution([float(each) for each in range(1, 101)])
    assert found is not None
    assert (found.p50, found.p90, found.p95, found.p99, found.largest) == (50, 90, 95, 99, 100)
    assert found.mean == 50.5
    assert distribution([]) is None


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=200))
def test_percentiles_rise_and_are_within_the_values(values: list[float]) -> None:
    found = distribution(values)
    assert found is not None
    ordered = [found.p50, found.p90, found.p95, found.p99, found.largest]
    assert ordered == sorted(ordered)
    assert round(min(values), 6) <= found.p50
    assert found.largest == round(max(values), 6)
    assert found.count == len(values)


def test_a_change_back_within_a_quarter_of_an_hour_is_a_reversal() -> None:
    made = [(100.0, 1, 3), (500.0, 3, 2), (600.0, 2, 1), (2000.0, 1, 2), (2100.0, 2, 4)]
    assert changes(made, 3600.0) == Changes(ups=3, downs=2, reversals=1, per_hour=5.0, reversals_per_hour=1.0)
    assert changes([], 3600.0) == Changes()


def test_who_got_no_answer_has_missed_and_who_is_open_may_still_meet() -> None:
    requests = Requests(arrived=10, answered=6, open=2, met=5, judged=9, refused={"queue_full": 2})
    assert requests.refused_total == 2
    assert requests.attainment == pytest.approx(5 / 9)
    assert Requests().attainment is None


def test_dollars_are_what_is_paid_for_and_shares_are_of_what_was_answered() -> None:
    documents = (tier(replicas=2), hosted(), route("small", "hosted"))
    found = result(scenario(even(1.0, 360.0), *documents))
    assert found.tiers[0].dollars == Decimal("0.160000")  # two GPUs, a tenth of an hour, 0.80 $
    assert found.total.dollars == found.tiers[0].dollars + found.tiers[1].dollars
    assert found.total.dollars_per_hour == Decimal("1.600000")
    assert sum(found.total.share.values()) == pytest.approx(1.0)
    assert found.savings is not None
    assert found.savings.reference == "hosted"
    assert found.savings.saved_percent is not None
    below = 1 - found.total.dollars / found.savings.baseline
    assert found.savings.paid_percent == pytest.approx(100 * below, abs=Decimal("0.01"))
    parts = sum(found.savings.parts.values(), Decimal(0))
    assert parts == pytest.approx(found.savings.baseline - found.savings.actual, abs=Decimal("0.00001"))


def test_a_tier_without_a_price_costs_nothing_that_is_known_and_savings_say_so() -> None:
    body = tier()
    del body["spec"]["price"]
    found = result(scenario(even(1.0, 60.0), body))
    assert found.savings is None
    assert "price.gpuHour" in found.no_savings
    assert "?" in shown(found)


def test_json_has_every_field_and_no_number_that_is_none() -> None:
    found = result(scenario(even(1.0, 60.0), tier()))
    read = json.loads(as_json(found))
    assert set(read) == {"setup", "tiers", "total", "savings", "no_savings", "notes", "format"}
    assert read["tiers"][0]["timeline"][-1]["at"] == 60.0
    assert plain({"a": (Decimal("1.50"), None)}) == {"a": ["1.50", None]}


@pytest.mark.parametrize("width", [80, 120])
def test_a_person_reads_it_on_a_terminal_of_eighty_columns(width: int) -> None:
    found = result(scenario(even(3.0, 120.0), tier(), hosted(), route("small", "hosted")))
    text = shown(found, width)
    assert max(map(len, text.splitlines())) <= width
    for word in ("small", "hosted", "TTFT p95", "GPU-hours", "met both targets", "savings:"):
        assert word in text
    console = Console(width=width)
    with console.capture() as captured:
        console.print(compared([found, found]))
    assert captured.get().count("as it is") == 2
