"""Checks what is asked of Prometheus about verdicts, and how the answer is read."""

from __future__ import annotations

import math

from tierwise.observe.queries import ROUTE_LABEL, SERIES
from tierwise.observe.route_queries import ROUTE_QUERIES, route_queries
from tierwise.observe.route_readings import RouterKey
from tierwise.observe.verdict_queries import VERDICTS, verdicts_of
from tierwise.ports import Series
from tierwise.types import VerdictCounts


def series(kind: str, value: float, pod: str = "a", **labels: str) -> Series:
    return Series({SERIES: kind, "namespace": "team", ROUTE_LABEL: "chat", "pod": pod, **labels}, value)


def test_one_query_asks_for_the_counters_of_every_router() -> None:
    (query,) = [each for each in route_queries() if each.name == VERDICTS]
    assert VERDICTS in ROUTE_QUERIES
    assert "tierwise_router_verdicts_total" in query.promql
    assert "tierwise_router_sampled_total" in query.promql
    assert "rate(" not in query.promql


def test_the_counters_are_read_router_by_router() -> None:
    found = verdicts_of(
        [
            series("sampled", 12, routed="cheaper"),
            series("sampled", 8, routed="reference"),
            series("judged", 9, routed="cheaper", verdict="good"),
            series("judged", 1, routed="cheaper", verdict="bad"),
            series("judged", 2, routed="cheaper", verdict="unknown"),
            series("judged", 3, routed="again", verdict="good"),
            series("judged", math.nan, routed="margin", verdict="good"),
            series("sampled", 5, pod="b", routed="cheaper"),
            series("judged", 7, pod="c", routed="cheaper", verdict="good"),
        ]
    )
    assert found == {
        RouterKey("team", "chat", "a"): VerdictCounts(12, 8, cheaper_good=9, cheaper_bad=1, again_good=3),
        RouterKey("team", "chat", "b"): VerdictCounts(sampled_cheaper=5),
    }
