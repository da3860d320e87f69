"""Checks which tiers are changed at all, and who writes their replicas."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders.workloads import deletion_costs, scale_to
from tests.unit.decide.make import HEALTHY, KEY, NOW, SETTLED, plan, pod, sample, spec, spread, view
from tierwise import reasons
from tierwise.api.conditions import Condition
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import DecisionStatus, ModelTierStatus, RenderedStatus, RolloutStatus, ScalingStatus
from tierwise.decide import decide
from tierwise.decide.plan import runs_as_accepted
from tierwise.decide.spec_hash import canonical_spec, fingerprint
from tierwise.times import rfc3339
from tierwise.types import Snapshot, TierKey, TierState, TierView


def named(seen: TierView, namespace: str, name: str) -> TierView:
    return replace(seen, tier=replace(seen.tier, key=TierKey(namespace, name)))


def test_a_tier_is_served_and_scaled() -> None:
    found = plan(view(spec(), spread(50, 1)))
    assert (found.serve, scale_to(found), found.invalid) == (True, 3, None)


def test_what_is_as_it_should_be_is_not_written() -> None:
    assert scale_to(plan(view(spec(), spread(5, 1)))) is None


def test_a_spec_that_does_not_parse_is_left_alone() -> None:
    seen = view(None, spread(50, 1))
    found = plan(replace(seen, tier=replace(seen.tier, invalid="spec.model: wrong")))
    assert found.invalid == (reasons.INVALID_SPEC, "spec.model: wrong")
    assert (found.decision, found.serve, scale_to(found)) == (None, False, None)
    assert found.state == replace(SETTLED, accepted=(1, False))


def test_names_that_kserve_cannot_serve_are_refused() -> None:
    fits, long = named(view(spec()), "n" * 20, "t" * 32), named(view(spec()), "n" * 20, "t" * 33)
    assert plan(fits).invalid is None
    found = plan(long)
    assert found.invalid is not None
    assert found.invalid[0] == reasons.NAME_TOO_LONG
    assert "53" in found.invalid[1]
    assert (found.decision, found.serve) == (None, False)


@pytest.mark.parametrize(
    ("changes", "reason", "word"),
    [
        ({"extraArgs": ["--trust-remote-code"]}, reasons.ARGUMENT_NOT_ALLOWED, "trust-remote-code"),
        ({"speculation": {"mode": "Enabled", "method": "medusa"}}, reasons.UNSUPPORTED, "medusa"),
    ],
)
def test_what_the_engine_would_refuse_is_refused(changes: dict[str, object], reason: str, word: str) -> None:
    raw = spec().model_dump(by_alias=True, exclude_none=True) | changes
    found = plan(view(ModelTierSpec.model_validate(raw), spread(50, 1)))
    assert found.invalid is not None
    assert found.invalid[0] == reason
    assert word in found.invalid[1]
    assert (found.decision, found.serve, scale_to(found)) == (None, False, None)


def test_a_release_that_nobody_knows_is_refused() -> None:
    unknown = spec().model_copy(update={"engine": spec().engine.model_copy(update={"version": "0.99.0"})})
    found = plan(view(unknown))
    assert found.invalid is not None
    assert found.invalid[0] == reasons.UNSUPPORTED


def test_an_external_tier_has_nothing_to_decide() -> None:
    external = ModelTierSpec.model_validate(
        {
            "external": {
                "baseURL": "https://api.example.com/v1",
                "model": "big",
                "apiKeySecretRef": {"name": "key"},
                "prices": {"input": "1", "output": "2"},
            }
        }
    )
    long = named(view(external), "n" * 30, "t" * 40)
    found = plan(long)
    assert (found.decision, found.serve, scale_to(found), found.invalid) == (None, False, None, None)


def test_a_tier_that_is_being_deleted_is_left_alone() -> None:
    seen = view(spec(), spread(50, 1))
    found = plan(replace(seen, tier=replace(seen.tier, deleting=True)))
    assert (found.decision, found.serve, scale_to(found), found.invalid) == (None, False, None, None)


def test_advisory_is_written_out_of_zero_and_never_again() -> None:
    advisory = spec(mode="Advisory", minReplicas=2)
    assert scale_to(plan(view(advisory, (), current=0))) == 2
    assert scale_to(plan(view(advisory, (), current=1))) is None
    assert scale_to(plan(view(advisory, spread(130, 2), current=2))) is None
    pinned = spec(mode="Advisory", replicas=4)
    assert scale_to(plan(view(pinned, (), current=2))) is None


def started(seen: TierView, at: float) -> TierView:
    """The tier as it is after its Deployment, made now, was first scaled out of zero at this time."""
    first = DecisionStatus.model_validate({"time": rfc3339(at), "from": 0, "to": 1, "reason": reasons.MIN_REPLICAS})
    scaling = ScalingStatus(decisions=[first])
    status = seen.tier.status.model_copy(update={"scaling": scaling})
    deployment = seen.workloads[0].deployment
    assert deployment is not None
    workload = replace(seen.workloads[0], deployment=replace(deployment, created_at=NOW))
    return replace(seen, tier=replace(seen.tier, status=status), workloads=(workload,))


HPA = ("HorizontalPodAutoscaler/x",)
KEDA = ("HorizontalPodAutoscaler/keda-hpa-x", "ScaledObject/x")


@pytest.mark.parametrize("others", [(), HPA])
def test_what_a_person_scaled_to_zero_is_not_started_again(others: tuple[str, ...]) -> None:
    seen = view(spec(mode="Advisory"), (), current=0, foreign_scalers=others)
    assert scale_to(plan(started(seen, NOW))) is None
    assert scale_to(plan(started(seen, NOW - 60))) == 1, "a Deployment that was made anew starts as the first one did"


def test_a_horizontal_pod_autoscaler_does_nothing_at_zero_and_everything_from_one_on() -> None:
    assert scale_to(plan(view(spec(minReplicas=2), (), current=0, foreign_scalers=HPA))) == 2
    assert scale_to(plan(view(spec(replicas=0), (), current=0, foreign_scalers=HPA))) is None
    assert scale_to(plan(view(spec(), spread(130, 1), current=1, foreign_scalers=HPA))) is None


@pytest.mark.parametrize("current", [0, 1])
def test_nothing_is_written_while_another_scaler_owns_the_deployment(current: int) -> None:
    found = plan(view(spec(), spread(130, 1), current=current, foreign_scalers=KEDA))
    assert (found.serve, scale_to(found)) == (True, None)


def test_nothing_is_written_without_a_deployment_of_ours() -> None:
    seen = view(spec(), spread(130, 1))
    service = seen.workloads[0].inference_service
    assert service is not None
    assert scale_to(plan(view(spec(), (), current=None))) is None
    for other in (None, replace(service, owned=False), replace(service, deleting=True)):
        assert scale_to(plan(replace(seen, workloads=(replace(seen.workloads[0], inference_service=other),)))) is None


def test_nothing_is_written_without_kserve() -> None:
    seen = view(spec(), spread(130, 1))
    found = decide(Snapshot(NOW, (seen,), HEALTHY, kserve_present=False), {KEY: SETTLED}).tiers[0]
    assert (found.serve, scale_to(found)) == (True, None)
    assert found.decision is not None
    assert found.decision.target == 7


def test_plans_are_sorted_and_a_tier_without_a_memory_has_lost_it() -> None:
    seen = view(spec(), spread(5, 5), current=5)
    tiers = tuple(named(seen, "n", name) for name in ("c", "a", "b"))
    found = decide(Snapshot(NOW, tiers, HEALTHY), {TierKey("n", "a"): TierState(recommended=1)})
    assert [each.key.name for each in found.tiers] == ["a", "b", "c"]
    assert [scale_to(each) for each in found.tiers] == [1, None, None]


def test_the_idlest_replica_ends_first_and_those_that_do_not_answer_before_all() -> None:
    samples = (sample("busy", 7.6), sample("idle", 0), sample("some", 2))
    pods = (
        *(pod(each.pod) for each in samples),
        pod("starting", ready=False),
        pod("unknown"),
        pod("z", terminating=True),
    )
    seen = view(spec(replicas=1), samples, current=5, ready=("busy", "idle", "some", "unknown"), pods=pods)
    found = plan(seen)
    assert scale_to(found) == 1
    assert deletion_costs(found) == (("busy", 8), ("idle", 0), ("some", 2), ("starting", -1), ("unknown", 9))


def test_costs_are_written_before_a_scale_down_only() -> None:
    assert deletion_costs(plan(view(spec(), spread(50, 1)))) == ()
    assert deletion_costs(plan(view(spec(), spread(5, 1)))) == ()
    assert deletion_costs(plan(view(spec(mode="Advisory"), spread(0, 4), current=4))) == ()


def _refused() -> ModelTierSpec:
    raw = spec().model_dump(by_alias=True, exclude_none=True) | {"extraArgs": ["--trust-remote-code", "--port=1"]}
    return ModelTierSpec.model_validate(raw)


def _external() -> ModelTierSpec:
    api = {"baseURL": "https://api.example.com/v1", "model": "m", "apiKeySecretRef": {"name": "key"}}
    return ModelTierSpec.model_validate({"external": {**api, "prices": {"input": "1", "output": "2"}}})


def test_what_is_not_served_keeps_its_key_and_what_is_remembered_of_it() -> None:
    ending = view(spec())
    untouched = (
        replace(ending, tier=replace(ending.tier, deleting=True)),
        view(None),
        view(_refused()),
        named(view(spec()), "n" * 20, "t" * 33),
    )
    for seen in untouched:
        found = plan(seen)
        assert (found.key, found.decision, scale_to(found)) == (seen.tier.key, None, None)
        assert replace(found.state, accepted=None) == SETTLED
    bought = plan(view(_external()))
    assert (bought.key, bought.decision, bought.state) == (KEY, None, TierState())


def test_everything_that_is_refused_is_said_in_one_sentence() -> None:
    found = plan(view(_refused()))
    assert found.invalid is not None
    assert found.invalid[1] == (
        "extraArgs: --trust-remote-code is not allowed: use model.trustRemoteCode; "
        "extraArgs: --port is not allowed: the port is fixed: Service, probes and metrics use it"
    )


@pytest.mark.parametrize(("current", "runs"), [(None, False), (0, False), (1, True), (2, True)])
def test_a_deployment_that_shall_have_a_replica_runs_before_there_is_a_pod(current: int | None, runs: bool) -> None:
    seen = view(spec(), (), current=current)
    assert runs_as_accepted(seen, TierState(accepted=(1, True))) is runs


def test_replicas_that_are_not_there_yet_and_pods_that_still_are_must_be_of_this_spec() -> None:
    """Nothing is known of this generation yet: what was rendered tells, as long as anything of it runs or shall."""
    for seen in (view(spec(), (), current=2), view(spec(), spread(5, 1), current=0)):
        assert not runs_as_accepted(seen, TierState())
        text = canonical_spec(spec())
        rendered = RenderedStatus(hash=fingerprint(text), template="t")
        assert runs_as_accepted(seen, TierState(rollout=RolloutStatus(rendered=rendered)))


def test_only_the_state_is_remembered_whatever_the_status_says() -> None:
    """A simulator has states and no API server: what decide knows of the past is what it returned."""
    seen = view(spec(), spread(50, 1))
    condition = Condition(
        type=reasons.ACCEPTED, status="False", reason="X", last_transition_time="", observed_generation=1
    )
    status = ModelTierStatus(observed_generation=1, conditions=[condition], desired_replicas=9)
    other = replace(seen, tier=replace(seen.tier, status=status))
    plans = [decide(Snapshot(NOW, (each,), HEALTHY), {KEY: SETTLED}) for each in (seen, other)]
    assert plans[0] == plans[1]
