"""Checks that it is the operator's own code that decides in a simulation, and that its plans are carried out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import pytest

from tests.unit.simulator.replay.make import drawn, even, ran, result, route, scenario, tier
from tierwise import reasons
from tierwise.decide import decide
from tierwise.types import Plan, Snapshot, TierKey, TierState, WorkloadPlan
from tierwise_sim.replay import run
from tierwise_sim.replay.fleet import TierFleet
from tierwise_sim.replay.live import Phase, SimReplica
from tierwise_sim.replay.operator import OperatorScaler
from tierwise_sim.replay.scaler import Order, World


def test_another_decision_makes_other_replicas() -> None:
    """`decide` is what runs: what it says is what happens, whatever the load."""
    of = scenario(even(0.2, 200.0), tier())

    def three(snapshot: Snapshot, states: Mapping[TierKey, TierState]) -> Plan:
        plan = decide(snapshot, states)
        (each,) = plan.tiers
        current = snapshot.tiers[0].replicas
        writes = () if current == 3 else (WorkloadPlan("small", current, 3),)
        return Plan((replace(each, workloads=writes),))

    as_it_is = result(of)
    mutated = result(of, OperatorScaler(of, three))
    assert {point.desired for point in as_it_is.tiers[0].timeline} == {1}
    assert mutated.tiers[0].timeline[-1].desired == 3


def test_decisions_are_made_from_what_was_scraped_and_not_from_what_is() -> None:
    """Two samples of a replica are ten seconds apart, and a decision sees the one before: never a value of its own
    moment."""
    ages: list[float] = []

    def watched(snapshot: Snapshot, states: Mapping[TierKey, TierState]) -> Plan:
        ages.extend(
            snapshot.at - pod.running.at
            for view in snapshot.tiers
            for pod in view.signals.pods
            if pod.running.at is not None
        )
        return decide(snapshot, states)

    of = scenario(even(1.0, 300.0), tier())
    ran(of, OperatorScaler(of, watched))
    assert len(ages) > 20
    assert all(0.4 <= age <= 11.0 for age in ages)


def test_the_operator_grows_where_its_rules_say_and_says_why() -> None:
    found = result(scenario(even(6.0, 600.0), tier(maxReplicas=2)))
    small = found.tiers[0]
    assert small.timeline[-1].desired == 2
    assert small.limited_seconds.get(reasons.MAX_REPLICAS, 0.0) > 100
    assert small.seconds_at_maximum > 400


class Restless:
    """One replica, three, one, three..."""

    period_seconds, instant, wakes_at_once = 30.0, False, False

    def orders(self, world: World, now: float) -> list[Order]:
        return [Order("small", 1 if int(now / 30) % 2 else 3)]


class Watched(TierFleet):
    """A fleet that notes what replicas still have when they are gone."""

    left: ClassVar[list[int]] = []

    def enter(self, replica: SimReplica, phase: Phase, now: float) -> None:
        if phase is Phase.GONE and replica.phase is Phase.DRAINING:
            self.left.append(replica.engine.unfinished)
        super().enter(replica, phase, now)


def test_a_replica_ends_only_when_it_has_answered_all_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas end all the time here, and no answer is broken for it."""
    monkeypatch.setattr(run, "TierFleet", Watched)
    simulation = ran(scenario(drawn(1.5, 600.0), tier(), startup=20.0), Restless())
    assert len(Watched.left) > 5
    assert set(Watched.left) == {0}
    assert simulation.account.all().refused == {}


def test_at_zero_nobody_is_paid_and_a_request_brings_it_back() -> None:
    late = even(1.0, 20.0)
    moved = tuple(replace(each, at=each.at + 500.0) for each in late.arrivals)
    of = replace(late, arrivals=moved, duration=700.0)
    documents = (tier(minReplicas=0, idleSeconds=60), route("small", queue={"startupTimeoutSeconds": 200}))
    found = result(scenario(of, *documents, startup=30.0))
    small = found.tiers[0]
    assert 0 in {point.desired for point in small.timeline}
    assert small.gpu_seconds.total < 450
    assert found.total.requests.answered == 20, "they waited for the start"
    assert found.total.ttft is not None
    assert found.total.ttft.p50 > 20
