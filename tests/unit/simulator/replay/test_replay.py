"""Checks what holds for every simulation: nothing is lost, nothing is counted twice, and nothing is left to chance."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.simulator.replay.make import drawn, even, hosted, ran, result, route, scenario, tier, trace
from tierwise_sim.capacity import Workload, at_running, running_at_rate
from tierwise_sim.replay.result import SimulationResult, TierResult
from tierwise_sim.replay.result_json import as_json
from tierwise_sim.replay.scenario import Fault, FaultKind

FAULTS = tuple(Fault(60.0 + 20 * place, kind, 90.0) for place, kind in enumerate(FaultKind))


def integral(found: TierResult, end: float) -> float:
    """GPU-seconds of a timeline."""
    points = found.timeline
    ends = [point.at for point in points[1:]] + [end]
    return sum(point.replicas * (until - point.at) for point, until in zip(points, ends, strict=True)) * (
        found.gpus_per_replica
    )


def assert_conserved(found: SimulationResult, arrivals: int) -> None:
    for requests in (found.total.requests, *(each.requests for each in found.tiers)):
        assert requests.arrived == requests.answered + requests.refused_total + requests.open
        assert requests.met <= min(requests.met_ttft, requests.met_inter_token) <= requests.answered
        assert requests.answered <= requests.judged <= requests.arrived
    assert found.total.requests.arrived == arrivals
    assert sum(each.requests.arrived for each in found.tiers) == arrivals
    for each in found.tiers:
        assert integral(each, found.setup.seconds) == pytest.approx(each.gpu_seconds.total, abs=0.01)
        assert each.ttft is None or each.ttft.count == each.requests.answered


@settings(max_examples=8, deadline=None)
@given(
    rate=st.sampled_from([0.3, 2.0, 5.0]),
    seed=st.integers(0, 50),
    faulty=st.booleans(),
    routers=st.integers(1, 3),
    queue=st.sampled_from([0, 5, 100]),
)
def test_every_request_ends_once_and_every_gpu_second_is_in_the_timeline(
    rate: float, seed: int, faulty: bool, routers: int, queue: int
) -> None:
    of = drawn(rate, 200.0, seed)
    documents = (
        tier(),
        tier("large", maxReplicas=2),
        route("small", "large", replicas=routers, queue={"maxRequests": queue}),
    )
    found = result(scenario(of, *documents, faults=FAULTS if faulty else (), seed=seed))
    assert_conserved(found, len(of.arrivals))


def test_the_same_input_gives_the_same_bytes_and_another_seed_others() -> None:
    of = drawn(3.0, 400.0)
    documents = (tier(), hosted(), route("small", {"name": "hosted", "use": "Overflow"}, replicas=2))
    first, again, other = (as_json(result(scenario(of, *documents, faults=FAULTS, seed=seed))) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_one_replica_under_a_steady_load_is_as_fast_as_the_closed_form_says() -> None:
    rate, prompt, output = 0.8, 400, 100
    of = even(rate, 900.0, prompt=prompt, output=output)
    found = ran(scenario(of, tier(replicas=1)))
    served = found.scenario.served["small"]
    workload = Workload(prompt, output)
    running = running_at_rate(served.settings, workload, rate, served.steps.step_time)
    assert running is not None
    expected = at_running(served.settings, workload, running, served.steps.step_time)
    account = found.account.tiers["small"]
    measured = sum(account.inter_token) / len(account.inter_token)
    assert measured == pytest.approx(expected.token_seconds, rel=0.1)
    busy = account.busy_seconds / 900.0
    assert busy == pytest.approx(rate * expected.request_seconds, rel=0.1), "Little's law"


@settings(max_examples=4, deadline=None)
@given(rate=st.sampled_from([1.0, 2.5, 5.0]), seed=st.integers(0, 20))
def test_more_replicas_never_answer_less_and_are_never_worse(rate: float, seed: int) -> None:
    of = drawn(rate, 200.0, seed)
    met = []
    for replicas in (1, 2, 4):
        found = result(scenario(of, tier(replicas=replicas), seed=seed))
        met.append(found.total.requests.met)
        assert found.tiers[0].gpu_seconds.total == pytest.approx(200.0 * replicas)
        assert float(found.total.dollars) == pytest.approx(0.8 * replicas * 200 / 3600, abs=1e-6)
    for fewer, more in pairwise(met):
        assert fewer <= more + 2, "two requests: batches differ where replicas do"


def test_the_load_is_followed_up_and_down() -> None:
    calm, storm = even(0.3, 300.0), even(9.0, 300.0)
    moved = list(calm.arrivals) + [
        type(each)(each.at + 300.0, each.prompt_tokens, each.output_tokens) for each in storm.arrivals
    ]
    found = result(scenario(trace(moved, 2000.0), tier(), startup=30.0))
    (small,) = found.tiers
    desired = [point.desired for point in small.timeline]
    assert desired[0] == 1
    assert max(desired) >= 2
    assert desired[-1] == 1, "the window is over long before the end"
    assert small.changes.ups
    assert small.changes.downs
    assert small.gpu_seconds.starting == pytest.approx(30.0 * (max(desired) - 1), abs=31.0)
    assert small.gpu_seconds.draining > 0
    assert small.replicas_peak <= 4


def test_who_is_late_is_not_met_and_who_waits_at_the_end_counts_only_when_it_is_late() -> None:
    found = result(scenario(even(20.0, 30.0), tier(replicas=1), route("small", queue={"maxRequests": 1000})))
    requests = found.total.requests
    assert requests.open > 100
    assert requests.met_ttft < requests.answered + requests.open
    assert requests.answered < requests.judged < requests.arrived
