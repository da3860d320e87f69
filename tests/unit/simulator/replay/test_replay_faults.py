"""Checks what goes wrong in a simulation as it does in a cluster, and that doubt takes no replica away."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from tests.unit.simulator.replay.make import drawn, even, ran, result, scenario, tier, trace
from tierwise import reasons
from tierwise.errors import Invalid
from tierwise_sim.replay.autoscalers import make
from tierwise_sim.replay.fault_text import fault_of
from tierwise_sim.replay.prometheus import Prometheus
from tierwise_sim.replay.result import SimulationResult
from tierwise_sim.replay.run import Simulation
from tierwise_sim.replay.scenario import Fault, FaultKind, Scenario, Timing
from tierwise_sim.replay.summary import summary
from tierwise_sim.traces.arrival import Trace

BEGIN, LASTS = 600.0, 600.0
BUSY_SECONDS = 560.0


def busy_then_idle() -> Trace:
    """A load for three replicas that ends just before the fault begins: whoever believes what he does not see goes
    down during the fault."""
    busy = even(5.0, BUSY_SECONDS).arrivals
    calm = tuple(replace(each, at=each.at + BUSY_SECONDS) for each in even(0.5, 900.0).arrivals)
    return trace((*busy, *calm), BUSY_SECONDS + 900.0)


def faulty(kind: FaultKind, seconds: float = LASTS) -> Scenario:
    return scenario(busy_then_idle(), tier(), faults=[Fault(BEGIN, kind, seconds)], startup=30.0)


def downs(found: SimulationResult, begin: float, end: float) -> int:
    """Scale-downs within a time."""
    points = found.tiers[0].timeline
    pairs = itertools.pairwise(points)
    return sum(1 for before, after in pairs if begin <= after.at < end and after.desired < before.desired)


@pytest.mark.parametrize("kind", [FaultKind.PROMETHEUS_AWAY, FaultKind.POD_SILENT, FaultKind.NAN])
def test_while_something_is_not_measured_nothing_is_taken_away(kind: FaultKind) -> None:
    found = result(faulty(kind))
    assert max(point.desired for point in found.tiers[0].timeline) >= 2
    assert downs(found, BEGIN, BEGIN + LASTS) == 0
    assert found.tiers[0].limited_seconds[reasons.NO_METRICS] > 100


def test_without_the_fault_it_would_have_gone_down() -> None:
    found = result(scenario(busy_then_idle(), tier(), startup=30.0))
    assert downs(found, BEGIN, BEGIN + LASTS) > 0


def test_where_another_autoscaler_reads_no_number_as_no_load_the_operator_keeps_what_it_has() -> None:
    """KEDA's Prometheus scaler makes 0 of an empty or NaN result, and its HPA believes it."""
    of = scenario(even(5.0, 1200.0), tier(), faults=[Fault(BEGIN, FaultKind.NAN, 500.0)], startup=30.0)
    theirs = Simulation(of, make("keda-waiting-running:running=4", of))
    for _ in theirs.run():
        pass
    assert downs(summary(theirs, "keda"), BEGIN, BEGIN + 500.0) > 0
    assert downs(result(of), BEGIN, BEGIN + 500.0) == 0


def test_a_lost_node_takes_its_requests_and_is_replaced_when_its_pods_are_evicted() -> None:
    of = scenario(even(2.0, 900.0), tier(minReplicas=2), faults=[Fault(100.0, FaultKind.NODE_LOST)], startup=30.0)
    found = result(of)
    small = found.tiers[0]
    after = [point for point in small.timeline if 101 <= point.at < 399]
    assert {point.ready for point in after[:3]} == {1}
    assert small.timeline[-1].ready >= 2
    lost = found.total.requests.refused_total
    assert 0 < lost + found.total.requests.retried < 40, "what had begun is broken, the rest was sent again"
    assert found.total.requests.answered > 1700


def test_frozen_series_of_a_dead_replica_are_no_load_for_the_operator() -> None:
    of = scenario(
        even(2.0, 1500.0), tier(minReplicas=1), faults=[Fault(300.0, FaultKind.FROZEN_SERIES, 900.0)], startup=30.0
    )
    calm = scenario(even(2.0, 1500.0), tier(minReplicas=1), startup=30.0)
    with_ghost, without = result(of), result(calm)
    extra = with_ghost.tiers[0].replicas_mean - without.tiers[0].replicas_mean
    assert abs(extra) < 0.6


def test_prometheus_answers_with_what_it_read_until_it_is_old() -> None:
    prometheus = Prometheus(Timing(), epoch=1000.0)
    prometheus.found("pod", "small", 5000)
    assert prometheus.samples(10.0).answered_at == 1010.0
    prometheus.away = True
    later = prometheus.samples(100.0)
    assert later.answered_at == 1010.0
    assert later.problem


def test_what_goes_wrong_is_said_in_a_few_words() -> None:
    fault = fault_of("small:pod-silent@60+120", ["small"])
    assert fault == Fault(60.0, FaultKind.POD_SILENT, 120.0, "small")
    assert str(fault) == "small:pod-silent@60+120"
    assert fault_of("node-lost@1", ["small"]).until == 1.0


@pytest.mark.parametrize("text", ["nan", "nan@", "fire@3", "nan@-1", "other:nan@3", "NAN@3"])
def test_a_fault_that_is_not_understood_says_what_was_expected(text: str) -> None:
    with pytest.raises(Invalid, match=r"there are small|expected"):
        fault_of(text, ["small"])


def test_a_simulation_with_all_faults_ends() -> None:
    faults = [Fault(50.0 + each, kind, 100.0) for each, kind in enumerate(FaultKind)]
    found = ran(scenario(drawn(2.0, 400.0), tier(minReplicas=2), faults=faults))
    assert found.account.all().answered > 500
