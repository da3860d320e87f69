"""Checks that facts of nodes and hub count before anything runs, and never stop what runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.builders.workloads import scale_to
from tests.unit.decide.make import HEALTHY, NOW, plan, pod, sample, view
from tierwise import reasons
from tierwise.api.conditions import Condition
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import ModelTierStatus, RenderedStatus, RolloutStatus
from tierwise.decide import decide, resume
from tierwise.decide.spec_hash import canonical_spec, fingerprint
from tierwise.types import Snapshot, TierPlan, TierState, TierView, Workload
from tierwise.types.capabilities import GPU, UNKNOWN, Facts, ModelShape

T4, L4 = GPU("Tesla-T4", (7, 5), 15360, 580), GPU("NVIDIA-L4", (8, 9), 23034, 580)
EIGHT = ModelShape(
    parameters=8_030_261_248,
    weight_bytes=16_060_522_496,
    layers=32,
    hidden_size=4096,
    attention_heads=32,
    kv_heads=8,
    head_dim=128,
    vocabulary=128256,
    context_length=131072,
    dtype="bfloat16",
    attention_layers=32,
    window_layers=0,
)


def spec(**changes: Any) -> ModelTierSpec:
    plain = {"model": {"name": "m", "uri": "hf://org/m"}, "quantization": {"kvCacheDtype": "fp8"}}
    return ModelTierSpec.model_validate({**plain, **changes})


def accepted(generation: int = 1, status: str = "True") -> ModelTierStatus:
    condition = Condition.model_validate(
        {
            "type": "Accepted",
            "status": status,
            "reason": "Valid",
            "last_transition_time": "2026-11-20T10:00:00Z",
            "observed_generation": generation,
        }
    )
    return ModelTierStatus(observed_generation=generation, conditions=[condition])


def new(facts: Facts, wanted: ModelTierSpec | None = None, **changes: Any) -> TierView:
    """A tier of which nothing was made yet."""
    seen = view(wanted or spec(), (), current=None)
    return replace(seen, workloads=(Workload("chat"),), facts=facts, **changes)


def running(facts: Facts, status: ModelTierStatus, wanted: ModelTierSpec | None = None, **changes: Any) -> TierView:
    """A tier with one replica that serves."""
    seen = view(wanted or spec(), (sample("a", 4),))
    return replace(seen, tier=replace(seen.tier, status=status), facts=facts, **changes)


def refused(made: TierPlan) -> str:
    assert made.invalid is not None
    assert (made.serve, scale_to(made), made.decision) == (False, None, None)
    return made.invalid[0]


def test_a_gpu_that_cannot_do_it_refuses_a_new_tier() -> None:
    made = plan(new(Facts((T4,))))
    assert refused(made) == reasons.WRONG_GPU
    assert made.invalid is not None
    assert "Tesla-T4" in made.invalid[1]


def test_one_kind_that_can_is_enough_and_the_other_is_advice() -> None:
    made = plan(new(Facts((L4, T4))))
    assert made.serve
    assert reasons.WRONG_GPU in [each.reason for each in made.advice]


def test_what_is_unknown_refuses_nothing() -> None:
    for facts in (UNKNOWN, Facts((GPU(),)), Facts((GPU(), T4))):
        assert plan(new(facts)).serve
    assert refused(plan(new(Facts((T4,))))) == reasons.WRONG_GPU


def test_a_model_whose_context_does_not_fit_refuses_a_new_tier() -> None:
    wanted = spec(quantization={})
    assert refused(plan(new(Facts((L4,), EIGHT), wanted))) == reasons.CONTEXT_DOES_NOT_FIT
    assert plan(new(Facts((L4,), EIGHT), spec(quantization={}, contextLength=8192))).serve
    assert plan(new(Facts((), EIGHT), wanted)).serve, "on GPUs that are not known it may fit"


def test_what_runs_gets_advice_where_a_new_tier_would_be_refused() -> None:
    made = plan(running(Facts((T4,)), accepted()))
    assert (made.serve, made.invalid) == (True, None)
    assert made.decision is not None
    advice = {each.reason: each.message for each in made.advice}
    assert advice[reasons.WRONG_GPU].startswith("It runs, and would be refused today:")


def test_nodes_that_come_and_go_never_change_what_is_done_with_a_tier_that_runs() -> None:
    plans = [plan(running(facts, accepted())) for facts in (Facts((L4,)), Facts((T4,)), UNKNOWN, Facts((L4, T4)))]
    assert len({(each.serve, scale_to(each), each.invalid, repr(each.decision)) for each in plans}) == 1


def test_a_changed_spec_is_judged_anew_and_what_ran_before_is_left_alone() -> None:
    for status in (accepted(generation=0), accepted(status="False"), ModelTierStatus()):
        assert refused(plan(running(Facts((T4,)), status))) == reasons.WRONG_GPU


def test_a_change_of_scaling_alone_is_not_judged_by_facts_anew() -> None:
    made_from = RenderedStatus(hash=fingerprint(canonical_spec(spec())), template="t")
    status = accepted(generation=0).model_copy(update={"rollout": RolloutStatus(rendered=made_from)})
    wider = spec(scaling={"minReplicas": 2, "maxReplicas": 4}, replicas=3)
    made = plan(running(Facts((T4,)), status, wider))
    assert (made.serve, scale_to(made)) == (True, 3)
    assert len(tiers(running(UNKNOWN, status, wider, metadata_pending=True))) == 1, "and nobody waits for the hub"
    assert refused(plan(running(Facts((T4,)), status, spec(contextLength=2048)))) == reasons.WRONG_GPU


def test_what_was_accepted_and_has_nothing_running_is_judged_anew() -> None:
    idle = view(spec(), (), current=0)
    idle = replace(idle, tier=replace(idle.tier, status=accepted()), facts=Facts((T4,)))
    assert refused(plan(idle)) == reasons.WRONG_GPU
    starting = replace(idle, workloads=(replace(idle.workloads[0], pods=(pod("a", ready=False),)),))
    assert plan(starting).serve


def test_what_the_spec_alone_forbids_is_refused_also_when_it_runs() -> None:
    wrong = spec(speculation={"mode": "Enabled", "method": "medusa", "draftModel": "o/d"})
    assert refused(plan(running(UNKNOWN, accepted(), wrong))) == reasons.UNSUPPORTED


def tiers(*views: TierView) -> list[TierPlan]:
    return list(
        decide(
            Snapshot(NOW, views, HEALTHY),
            {view.tier.key: resume(TierState(recommended=1), view.tier.status, NOW) for view in views},
        ).tiers
    )


def test_a_new_tier_waits_for_the_first_answer_about_its_model() -> None:
    assert tiers(new(UNKNOWN, metadata_pending=True)) == []
    assert tiers(running(UNKNOWN, accepted(generation=0), metadata_pending=True)) == [], "so does a changed one"
    assert len(tiers(running(UNKNOWN, accepted(), metadata_pending=True))) == 1
    gone = new(UNKNOWN, metadata_pending=True)
    assert len(tiers(replace(gone, tier=replace(gone.tier, deleting=True)))) == 1


SHAPES = st.sampled_from([None, ModelShape(), EIGHT, replace(EIGHT, weight_bytes=None), replace(EIGHT, kv_heads=1)])
GPUS = st.lists(st.sampled_from([T4, L4, GPU(), GPU("x"), GPU("y", (9, 0))]), max_size=3, unique=True)


@given(gpus=GPUS, model=SHAPES, draft=SHAPES)
def test_no_fact_takes_a_running_tier_down_or_changes_its_decision(
    gpus: list[GPU], model: ModelShape | None, draft: ModelShape | None
) -> None:
    wanted = spec(speculation={"mode": "Enabled", "method": "draft_model", "draftModel": "o/d"})
    plain = plan(running(UNKNOWN, accepted(), wanted))
    facts = Facts(tuple(sorted(gpus, key=repr)), model, draft)
    made = plan(running(facts, accepted(), wanted))
    assert (made.serve, made.invalid, scale_to(made), made.decision) == (
        True,
        None,
        scale_to(plain),
        plain.decision,
    )


@given(gpus=GPUS, model=SHAPES)
def test_one_more_kind_of_gpu_never_turns_an_accepted_tier_into_a_refused_one(
    gpus: list[GPU], model: ModelShape | None
) -> None:
    if plan(new(Facts(tuple(gpus), model))).serve and gpus:
        assert plan(new(Facts((*gpus, GPU("NVIDIA-H200", (9, 0), 143771, 580)), model))).serve
