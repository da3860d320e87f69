"""Checks that the demo's figures are what was seen."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.demo.account import Answer, TierSample, account, integral, percentile


def _sample(at: float, replicas: int, cost: float = 0.0) -> TierSample:
    return TierSample(at=at, replicas=replicas, ready=replicas, desired=replicas, cost=cost)


def test_replica_seconds_are_the_area_under_the_replicas() -> None:
    samples = [_sample(0, 1), _sample(10, 3), _sample(15, 1), _sample(20, 1)]
    assert integral(samples, "replicas") == 10 * 1 + 5 * 3 + 5 * 1


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(1, 100))
def test_a_percentile_is_one_of_the_values_with_enough_of_them_below(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= percent / 100 * len(values) - 1e-9


def test_a_percentile_of_nothing_is_no_number() -> None:
    assert math.isnan(percentile([], 95))


def test_the_account_of_a_tier_leaves_the_others_out() -> None:
    answers = [
        Answer("small", True, 100, 20, 0.1, 1.0),
        Answer("small", True, 100, 20, 0.3, 1.0),
        Answer("small", False, 0, 0, math.nan, 1.0),
        Answer("large", True, 900, 90, 2.0, 5.0),
    ]
    result = account("small", answers, [_sample(0, 2, 3.6), _sample(1000, 0)], (198.0, 40.0))
    assert (result.requests, result.failed, result.tokens, result.engine_tokens) == (3, 1, 240, 238)
    assert result.gap == pytest.approx(-2 / 240)
    assert (result.ttft_p50, result.ttft_p95) == (0.1, 0.3)
    assert (result.replica_seconds, result.most_replicas) == (2000, 2)
    assert result.cost == pytest.approx(1.0)
    assert result.cost_of_most == pytest.approx(1.0)
    assert (result.share, result.spilled, result.external) == (0.75, 0, False)


def test_a_bought_tier_costs_its_tokens_and_counts_who_spilled_to_it() -> None:
    answers = [
        Answer("small", True, 100, 20, 0.1, 1.0, why="Default"),
        Answer("bought", True, 1_000_000, 100_000, 0.1, 1.0, why="Spill"),
        Answer("bought", True, 200_000, 0, 0.3, 1.0, why="Fallback"),
        Answer("bought", True, 0, 0, 0.3, 1.0, why="Direct"),
    ]
    result = account("bought", answers, [_sample(0, 0), _sample(1000, 0)], (0.0, 0.0), (2.5, 10.0))
    assert (result.requests, result.share, result.spilled, result.external) == (3, 0.75, 2, True)
    assert result.cost == result.cost_of_most == pytest.approx(2.5 + 1.0 + 0.5)
    assert account("small", [], [], (0.0, 0.0)).share == 0.0
