"""Checks when a spec counts as served or as failed, and from which spec replicas are then made, case by case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.decide.make import NOW, view
from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import SPEC_LENGTH, FailedSpec, LastGood, RenderedStatus, RolloutStatus
from tierwise.decide.rollout import STEADY_SECONDS, choose_rollout, choose_rollouts, remembered
from tierwise.decide.spec_hash import canonical_spec, fingerprint
from tierwise.types import DeploymentFacts, PodFacts, Rollout, TierState


def spec(repository: str = "new", **changes: Any) -> ModelTierSpec:
    """A tier with `rollout: Replace`."""
    body = {"model": {"name": "m", "uri": f"hf://org/{repository}"}, "rollout": "Replace", **changes}
    return ModelTierSpec.model_validate(body)


OLD, NEW = spec("old", replicas=7), spec("new", replicas=2)
WAS, IS = fingerprint(canonical_spec(OLD)), fingerprint(canonical_spec(NEW))
GOOD = LastGood(generation=3, hash=WAS, replica_set="set-old", spec=canonical_spec(OLD))
MARK = FailedSpec(generation=6, hash=IS, reason=reasons.ENGINE_CRASHED, message="it ended")


def pod(name: str, replica_set: str = "set-new", **changes: Any) -> PodFacts:
    """A pod that answers for long enough."""
    plain = PodFacts(
        *(name, f"uid-{name}", "Running"),
        ready=True,
        terminating=False,
        scheduled=True,
        created_at=NOW - 500,
        scheduled_at=NOW - 500,
        ready_at=NOW - STEADY_SECONDS,
        replica_set=replica_set,
    )
    return replace(plain, **changes)


def broken(name: str, replica_set: str = "set-new", **changes: Any) -> PodFacts:
    """A pod whose engine has ended again and again."""
    return pod(name, replica_set, ready=False, ready_at=None, restarts=5, last_exit_code=1, **changes)


def rolled(
    present: ModelTierSpec,
    *pods: PodFacts,
    good: LastGood | None = GOOD,
    failed: FailedSpec | None = None,
    rendered: str = IS,
    template: str = "t",
    answering: tuple[str, ...] | None = None,
    **deployment: Any,
) -> Rollout:
    """What is made from this tier, whose Deployment has the template of the spec with the fingerprint `rendered`."""
    count = len(pods)
    facts = DeploymentFacts("chat-predictor", "d", "7", 2, 2, count, count, count, count, template="t")
    names = [each.name for each in pods if each.ready] if answering is None else answering
    seen = view(present, pods=pods, deployment=replace(facts, **deployment), ready_endpoints=frozenset(names))
    status = RolloutStatus(rendered=RenderedStatus(hash=rendered, template=template), last_good=good, failed=failed)
    return choose_rollout(replace(seen, tier=replace(seen.tier, generation=6)), present, status, NOW)


def test_a_spec_whose_replica_answers_for_long_enough_is_the_last_good_one() -> None:
    assert rolled(NEW, pod("a")) == Rollout(
        NEW, IS, good=LastGood(generation=6, hash=IS, replica_set="set-new", spec=canonical_spec(NEW))
    )


def test_the_same_spec_in_another_replica_set_keeps_its_generation() -> None:
    before = LastGood(generation=4, hash=IS, replica_set="set-first", spec=canonical_spec(NEW))
    assert rolled(NEW, pod("a"), good=before).good == before.model_copy(update={"replica_set": "set-new"})


@pytest.mark.parametrize(
    "unserved",
    [
        {"ready_at": NOW - STEADY_SECONDS + 1},
        {"ready_at": None},
        {"terminating": True},
    ],
)
def test_a_replica_that_does_not_answer_for_long_enough_serves_nothing(unserved: dict[str, Any]) -> None:
    assert rolled(NEW, pod("a", **unserved)).good == GOOD


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"answering": ()},
        {"rendered": WAS},
        {"template": "another"},
        {"observed_generation": 1},
        {"ready_replicas": 0},
        {"replicas": 0},
        {"updated_replicas": 0},
    ],
)
def test_what_is_not_known_to_be_of_this_spec_does_not_make_it_the_last_good_one(elsewhere: dict[str, Any]) -> None:
    assert rolled(NEW, pod("a"), **elsewhere).good == GOOD


def test_pods_of_two_replica_sets_serve_no_spec() -> None:
    assert rolled(NEW, pod("a"), pod("b", "set-old")).good == GOOD
    ending = pod("b", "set-old", terminating=True)
    served = rolled(NEW, pod("a"), ending).good
    assert served is not None
    assert served.replica_set == "set-new", "one that ends already does not count"


def test_a_spec_too_long_to_be_kept_is_known_by_its_hash_alone() -> None:
    room = SPEC_LENGTH - len(canonical_spec(spec(contextLength=1024)))
    arguments = ["--reasoning-parser=" + "a" * 400] * (room // 422)
    exact = spec(contextLength=1024).model_copy(update={"extra_args": arguments})
    fill = SPEC_LENGTH - len(canonical_spec(exact))
    exact = exact.model_copy(update={"extra_args": [arguments[0] + "b" * fill, *arguments[1:]]})
    assert len(canonical_spec(exact)) == SPEC_LENGTH
    longer = exact.model_copy(update={"extra_args": [arguments[0] + "b" * (fill + 1), *arguments[1:]]})
    for present, text in ((exact, canonical_spec(exact)), (longer, "")):
        found = rolled(present, pod("a"), rendered=fingerprint(canonical_spec(present))).good
        assert found is not None
        assert (found.spec, found.hash) == (text, fingerprint(canonical_spec(present)))


def test_a_spec_that_cannot_start_is_given_up() -> None:
    found = rolled(NEW, broken("a"))
    assert (found.spec, found.back, found.good) == (NEW, False, GOOD)
    assert found.failed is not None
    assert (found.failed.generation, found.failed.hash, found.failed.reason) == (6, IS, reasons.ENGINE_CRASHED)
    assert "exit code 1" in found.failed.message


def test_a_workload_of_which_nothing_is_known_hides_no_other_that_cannot_start() -> None:
    facts = DeploymentFacts("chat-l4-predictor", "d", "7", 2, 2, 1, 1, 0, 1, template="t")
    seen = view(NEW, pods=(broken("a"),), deployment=facts)
    (crashed,) = seen.workloads
    seen = replace(seen, workloads=(replace(crashed, name="first", deployment=None, pods=()), crashed))
    status = RolloutStatus(rendered=RenderedStatus(hash=IS, template="t"), last_good=GOOD)
    found = choose_rollout(seen, NEW, status, NOW).failed
    assert found is not None
    assert found.reason == reasons.ENGINE_CRASHED


@pytest.mark.parametrize(
    "unknown",
    [
        {"updated_replicas": 0},
        {"rendered": WAS},
        {"template": "another"},
        {"good": None},
        {"good": GOOD.model_copy(update={"spec": ""})},
        {"good": GOOD.model_copy(update={"spec": "{"})},
        {"good": GOOD.model_copy(update={"spec": '{"engine":{"version":"0.33.0"}}'})},
        {"good": GOOD.model_copy(update={"spec": canonical_spec(spec(extraArgs=["--port=1"]))})},
    ],
)
def test_without_knowing_that_it_is_this_spec_or_anything_to_go_back_to_nothing_is_given_up(
    unknown: dict[str, Any],
) -> None:
    found = rolled(NEW, broken("a"), **unknown)
    assert (found.back, found.failed, found.spec) == (False, None, NEW)


def test_with_surge_nothing_is_given_up() -> None:
    surge = spec("new", rollout="Surge")
    found = rolled(surge, broken("a"), rendered=fingerprint(canonical_spec(surge)))
    assert (found.back, found.failed) == (False, None)


def test_only_the_youngest_replica_set_besides_the_good_one_is_judged() -> None:
    young = pod("b", "set-new", ready=False, ready_at=None, created_at=NOW - 10, scheduled_at=NOW - 10)
    between = broken("a", "set-between", created_at=NOW - 400)
    assert rolled(NEW, between, young).failed is None, "the youngest may still start"
    crashed = broken("b", "set-new", created_at=NOW - 10)
    starting = pod("a", "set-between", ready=False, ready_at=None, created_at=NOW - 400)
    assert rolled(NEW, crashed, starting).failed is not None
    assert rolled(NEW, starting, crashed).failed is not None
    assert rolled(NEW, broken("a", "set-old")).failed is None, "the good one's own pods say nothing about this spec"


def test_a_spec_that_was_given_up_is_followed_by_the_last_good_one_scaled_as_the_present_one_says() -> None:
    found = rolled(NEW, broken("a"), failed=MARK)
    assert found == Rollout(OLD.model_copy(update={"replicas": 2}), WAS, back=True, good=GOOD, failed=MARK)


def test_back_again_the_last_good_one_follows_its_replica_set() -> None:
    found = rolled(NEW, pod("a", "set-again"), failed=MARK, rendered=WAS)
    assert found.back
    assert found.good == GOOD.model_copy(update={"replica_set": "set-again"})


def test_a_mark_on_another_spec_is_forgotten() -> None:
    found = rolled(NEW, pod("a", ready=False), failed=MARK.model_copy(update={"hash": "other"}))
    assert (found.back, found.failed, found.spec) == (False, None, NEW)


def test_a_spec_is_served_when_every_workload_serves_it() -> None:
    facts = DeploymentFacts("chat-predictor", "d", "7", 2, 2, 1, 1, 1, 1, template="t")
    seen = view(NEW, pods=(pod("a"),), deployment=facts, ready_endpoints=frozenset({"a"}))
    (serves,) = seen.workloads
    status = RolloutStatus(rendered=RenderedStatus(hash=IS, template="t"))
    assert choose_rollout(seen, NEW, status, NOW).good is not None
    starting = replace(serves, name="chat-l4", pods=(), ready_endpoints=frozenset[str]())
    both = replace(seen, workloads=(serves, starting))
    assert choose_rollout(both, NEW, status, NOW).good is None


def test_in_each_pool_a_change_succeeds_or_fails_by_itself() -> None:
    facts = DeploymentFacts("chat-predictor", "d", "7", 2, 2, 1, 1, 1, 1, template="t")
    seen = view(NEW, pods=(pod("a"),), deployment=facts, ready_endpoints=frozenset({"a"}))
    (here,) = seen.workloads
    serves = replace(here, pool="l4", spec=NEW)
    crashes = replace(here, name="chat-h100", pool="h100", spec=NEW, pods=(broken("b"),), ready_endpoints=frozenset())
    unknown = replace(here, name="chat-t4", pool="t4", spec=None)
    retired = replace(here, name="chat-a10", pool="a10", spec=NEW, retired=True)
    seen = replace(seen, workloads=(serves, crashes, unknown, retired))
    status = RolloutStatus(rendered=RenderedStatus(hash=IS, template="t"), last_good=GOOD)
    before = TierState(rollouts=tuple((each.name, status) for each in seen.workloads), rollout=status)

    found = choose_rollouts(seen, NEW, before, NOW)
    assert [name for name, _ in found] == ["chat", "chat-h100"], "the others stay as they are made"
    (_, good), (_, failed) = found
    assert good.good is not None
    assert (good.good.hash, good.failed) == (IS, None)
    assert failed.good == GOOD
    assert failed.failed is not None
    assert failed.failed.reason == reasons.ENGINE_CRASHED

    after = remembered(seen, found, before)
    assert after.rollout == RolloutStatus(), "no workload of the tier is without a pool"
    assert after.rollout_of(serves).last_good == good.good
    assert after.rollout_of(crashes).failed == failed.failed
    assert (after.rollout_of(unknown), after.rollout_of(retired)) == (status, status)
    again = choose_rollouts(seen, NEW, after, NOW)
    assert [(name, rollout.back) for name, rollout in again] == [("chat", False), ("chat-h100", True)]


def test_a_workload_that_is_new_in_a_pool_has_no_past() -> None:
    status = RolloutStatus(rendered=RenderedStatus(hash=IS, template="t"), last_good=GOOD)
    seen = view(NEW)
    here = replace(seen.workloads[0], pool="l4", spec=NEW)
    assert TierState(rollout=status).rollout_of(here) == RolloutStatus()
    ((_, found),) = choose_rollouts(replace(seen, workloads=(here,)), NEW, TierState(rollout=status), NOW)
    assert found == Rollout(NEW, IS)


def test_without_pools_what_is_remembered_is_the_tiers() -> None:
    status = RolloutStatus(rendered=RenderedStatus(hash=IS, template="t"), last_good=GOOD)
    seen = view(NEW)
    state = remembered(seen, choose_rollouts(seen, NEW, TierState(rollout=status), NOW), TierState(rollout=status))
    assert (state.rollout, state.rollouts) == (status, ())
