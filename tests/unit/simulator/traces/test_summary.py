"""The summary counts what is there."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.simulator.traces.strategies import traces
from tierwise_sim.traces.arrival import Arrival, Trace
from tierwise_sim.traces.summary import by_minute, cacheable, spread_of, summarise

TRACE = Trace(
    "name",
    (
        Arrival(0.0, 100, 10, (1, 2), 32, "a", "m"),
        Arrival(10.0, 96, 20, (1, 2, 3), 32, "a", "m", 0.5),
        Arrival(70.0, 64, 30, (1, 2), 32, "b", ""),
        Arrival(100.0, 40, 40, (7,), 32, "", ""),
    ),
    150.0,
    "where",
    ("one assumption",),
)


def test_a_summary() -> None:
    found = summarise(TRACE)
    assert (found.requests, found.seconds, found.rate) == (4, 150.0, 4 / 150)
    assert (found.prompt_tokens, found.output_tokens) == (300, 100)
    assert (found.prompt.mean, found.prompt.p50, found.prompt.p99, found.prompt.largest) == (75, 64, 100, 100)
    assert found.cacheable == pytest.approx((64 + 63) / 300)  # the last token of a prompt is always computed
    assert found.models == {"": 2, "m": 2}
    assert found.tenants == {"a": 2, "": 1, "b": 1}
    assert found.labelled == 0.25


def test_minutes_have_their_own_length() -> None:
    assert by_minute(TRACE) == [2 / 60, 2 / 60, 0.0]
    assert by_minute(Trace("t", (Arrival(1.0, 1, 1),), 2.0, "s")) == [0.5]
    assert by_minute(Trace("t", (Arrival(60.1, 1, 1),), 60.2, "s")) == [1 / 60]


def test_a_table_for_people() -> None:
    lines = summarise(TRACE).table().splitlines()
    assert lines[0] == "trace          name"
    assert "requests       4 in 2.5 min" in lines
    assert "prompt tokens  300; each 75 mean, p50 64, p90 100, p99 100, largest 100" in lines
    assert "prefix cache   42.3% of prompt tokens" in lines
    assert "models         (not named) 2, m 2" in lines
    assert "labelled       25.0% of requests" in lines
    assert lines[-1] == "note           one assumption"


def test_many_tenants_are_counted() -> None:
    trace = Trace("t", tuple(Arrival(0.0, 1, 1, tenant=f"t{n}") for n in range(8)), 1.0, "s")
    assert "t0 1, t1 1, t2 1, t3 1, t4 1, 3 more" in summarise(trace).table()


def test_blocks_of_another_size_are_other_blocks() -> None:
    assert cacheable([Arrival(0.0, 64, 1, (1,), 32), Arrival(1.0, 64, 1, (1,), 64)]) == 0
    assert cacheable([Arrival(0.0, 64, 1)]) is None


@given(trace=traces())
def test_every_trace_has_a_summary_that_json_holds(trace: Trace) -> None:
    found = summarise(trace)
    assert json.loads(json.dumps(found.json())) == found.json()
    assert found.table().endswith("\n")
    assert found.cacheable is None or 0 <= found.cacheable < 1
    assert found.minutes.p50 <= found.minutes.p90 <= found.minutes.p99 <= found.minutes.largest
    assert sum(rate * 60 for rate in by_minute(trace)) == pytest.approx(found.requests)


@given(values=st.lists(st.integers(0, 10**6), min_size=1, max_size=200))
def test_percentiles_are_values_that_so_many_do_not_exceed(values: list[int]) -> None:
    found = spread_of(values)
    for share, value in ((0.5, found.p50), (0.9, found.p90), (0.99, found.p99), (1.0, found.largest)):
        assert value in values
        assert sum(each <= value for each in values) >= share * len(values)
        assert sum(each < value for each in values) <= share * len(values)
