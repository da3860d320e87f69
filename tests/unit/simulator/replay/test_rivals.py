"""Checks that another project's autoscaler is shown what its original would see, and gets what it asks for."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from tests.unit.simulator.replay.make import drawn, even, ran, result, route, scenario, tier
from tierwise.errors import Invalid
from tierwise_sim.policies.observation import TierObservation
from tierwise_sim.policies.registry import POLICIES
from tierwise_sim.replay.autoscalers import make
from tierwise_sim.replay.rivals import PolicyScaler, facts, observe
from tierwise_sim.replay.run import Simulation
from tierwise_sim.replay.scaler import Order, World
from tierwise_sim.replay.scenario import Fault, FaultKind, Scenario


class Watching:
    """Keeps what it is shown, and changes nothing."""

    period_seconds, instant, wakes_at_once = 15.0, False, False

    def __init__(self) -> None:
        self.seen: list[TierObservation] = []

    def orders(self, world: World, now: float) -> list[Order]:
        self.seen.append(observe(world, "small", now))
        return []


def shown(of: Scenario) -> list[TierObservation]:
    watching = Watching()
    ran(of, watching)
    return watching.seen


def test_what_is_seen_is_what_was_scraped_and_what_the_router_has() -> None:
    seen = shown(scenario(even(6.0, 200.0), tier(replicas=2)))
    last = seen[-1]
    assert last.ready == 2
    assert last.desired == 2
    assert all(0.4 < last.at - (pod.sampled_at or 0.0) < 12.0 for pod in last.pods)
    running = sum(pod.running or 0.0 for pod in last.pods)
    assert running == pytest.approx(last.in_flight or 0.0, abs=25)
    assert running > 10
    assert (last.input_tokens, last.output_tokens) == (400.0, 100.0)
    assert last.ttft_p90 is not None
    assert last.inter_token_p90 is not None
    assert sum(each.arrivals for each in seen) == pytest.approx(6.0 * seen[-1].at, abs=1)
    assert last.last_success_at is not None
    assert last.cost_per_replica_hour == 0.8


def test_a_queue_in_the_router_is_seen_there_and_in_tokens() -> None:
    seen = shown(scenario(even(30.0, 60.0), tier(replicas=1), route("small", queue={"maxRequests": 5000})))
    last = seen[-1]
    assert last.router_queue is not None
    assert last.router_queue > 500
    assert last.queued_tokens is not None
    assert last.queued_tokens >= 400 * last.router_queue
    (only,) = last.pods
    assert last.router_queue <= (only.waiting or 0.0) <= last.router_queue + 5, "it waits in front of it"
    assert (only.waiting_max_1m or 0.0) >= (only.waiting or 0.0)


@pytest.mark.parametrize(
    "kind", [FaultKind.POD_SILENT, FaultKind.NAN, FaultKind.PROMETHEUS_AWAY, FaultKind.FROZEN_SERIES]
)
def test_what_goes_wrong_is_seen_as_the_originals_would_see_it(kind: FaultKind) -> None:
    of = scenario(even(2.0, 200.0), tier(replicas=2), faults=[Fault(60.0, kind, 300.0)], startup=20.0)
    last = shown(of)[-1]
    if kind is FaultKind.PROMETHEUS_AWAY:
        assert not last.prometheus_up
        return
    (odd,) = [pod for pod in last.pods if pod.name == "small-00001"]
    if kind is FaultKind.POD_SILENT:
        assert odd.ready
        assert odd.running is None
    elif kind is FaultKind.NAN:
        assert odd.running is not None
        assert math.isnan(odd.running)
    else:
        assert not odd.exists
        assert odd.running is not None
        assert last.at - (odd.sampled_at or 0.0) < 1.0, "it looks as if it were new"


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_every_autoscaler_of_the_registry_runs_within_its_bounds(name: str) -> None:
    of = scenario(drawn(4.0, 250.0), tier(maxReplicas=3), startup=20.0)
    found = result(of, make(name, of))
    assert {point.desired for point in found.tiers[0].timeline} <= {1, 2, 3}
    assert found.total.requests.answered > 500


def test_an_oracle_has_its_replicas_at_once_and_knows_what_comes() -> None:
    of = scenario(even(9.0, 200.0), tier(), startup=3600.0)
    found = result(of, make("oracle", of))
    assert found.tiers[0].replicas_peak > 1
    assert found.tiers[0].gpu_seconds.starting == 0


def test_users_of_token_aware_scaling_measure_what_the_engine_model_says() -> None:
    of = scenario(even(1.0, 100.0), tier())
    known = facts(of, of.served["small"])
    assert known.prefill_tokens_per_second is not None
    assert 1_000 < known.prefill_tokens_per_second < 20_000
    assert known.requests_per_second is not None
    assert 1 < known.requests_per_second < 20
    assert known.rate is not None
    assert known.rate(10.0) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("rule", ["first-come", "wva-greedy", "wva-rescale", "coordinator", "kueue-floors"])
def test_tiers_that_know_nothing_of_each_other_share_by_a_rule(rule: str) -> None:
    of = scenario(
        even(10.0, 240.0, output=200), tier(), tier("large"), route("small", "large"), budget={"": 3}, startup=20.0
    )
    scaler = make("keda-epp", of, rule)
    assert isinstance(scaler, PolicyScaler)
    simulation = Simulation(of, scaler)
    held = []
    for _ in simulation.run():
        held.append(simulation.stock.used)
    assert max(held) <= 3
    assert min(held) >= 2


def test_a_preempted_replica_is_deleted_while_it_serves() -> None:
    class Preempts:
        period_seconds, instant, wakes_at_once = 60.0, False, False

        def orders(self, world: World, now: float) -> list[Order]:
            return [Order("small", 1, preempted=1)] if now < 100 else []

    simulation = ran(scenario(even(4.0, 150.0), tier(minReplicas=2)), Preempts())
    points = simulation.fleets["small"].timeline
    drains = [after.at - before.at for before, after in pairwise(points) if before.draining]
    assert sum(drains) <= 16.0
    assert simulation.account.all().refused.get("broken", 0) > 0


def test_a_name_that_nobody_has_is_said_with_those_that_there_are() -> None:
    of = scenario(even(1.0, 10.0), tier())
    with pytest.raises(Invalid, match="there are tierwise, static"):
        make("nobody", of)
    with pytest.raises(Invalid, match="has its own rule for a budget"):
        make("tierwise", of, "kueue-floors")
    assert make("tierwise", of) is None
