"""Checks what the simulated Prometheus says of latencies against what the engine counted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tierwise.api.service_targets import ServiceTargets
from tierwise.observe.signals import tier_signals
from tierwise_sim.engine import Engine
from tierwise_sim.replay.prometheus import Prometheus
from tierwise_sim.replay.scenario import NAMESPACE, Timing
from tierwise_sim.stats import EngineStats

TARGETS = ServiceTargets.model_validate(
    {"ttft": {"percentile": 99, "milliseconds": 2500}, "interToken": {"percentile": 90, "milliseconds": 100}}
)


def engine(stats: EngineStats) -> Engine:
    """An engine of which only what is counted matters."""
    return cast("Engine", SimpleNamespace(stats=stats, running=[], waiting=[], kv_usage=0.0))


def read(stats: EngineStats, *, targets: ServiceTargets | None = TARGETS) -> Any:
    """The signals after two scrapes, between which requests were late, on the bound and early."""
    prometheus = Prometheus(Timing(), 0.0)
    prometheus.found("a", "chat", 1000)
    stats.time_to_first_token.observe(9.0)  # before the window
    prometheus.read("a", engine(stats), 100.0, ())
    for seconds in (0.2, 2.5, 2.6, 7.0):
        stats.time_to_first_token.observe(seconds)
    for seconds in (0.0, 0.1, 0.11):
        stats.time_per_output_token.observe(seconds)
    prometheus.read("a", engine(stats), 110.0, ())
    return tier_signals(prometheus.samples(111.0), NAMESPACE, "chat", ["a"], frozenset({"a"}), 111.0, targets)


def test_the_late_ones_of_the_last_minute_are_counted() -> None:
    found = read(EngineStats(4096))
    assert found.begun_lately.value == 4
    assert found.first_token_seconds.value == pytest.approx(0.2 + 2.5 + 2.6 + 7.0)
    assert (found.late_first_tokens.value, found.spoken_lately.value, found.late_answers.value) == (2, 3, 1)


def test_nothing_is_late_where_nothing_is_promised() -> None:
    assert not read(EngineStats(4096), targets=None).late_first_tokens.has_value


def test_a_target_that_is_no_bound_of_the_engine_is_not_known() -> None:
    found = read(EngineStats(4096, {"time_to_first_token": (0.1, 1.0)}))
    assert not found.late_first_tokens.has_value
    assert found.late_answers.has_value
