"""Properties of the way back: whatever users, engines and restarts do, only the wanted or what served is rendered."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.decide.make import NOW, view
from tests.unit.reconcile.rollouts import Town
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import FailedSpec, LastGood, RenderedStatus, RolloutStatus
from tierwise.decide.rollout import choose_rollout
from tierwise.decide.spec_hash import FOLLOWING, canonical_spec, fingerprint
from tierwise.errors import Conflict
from tierwise.types import DeploymentFacts, PodFacts, TierView

SPECS = [
    ModelTierSpec.model_validate(
        {
            "model": {"name": "m", "uri": f"hf://org/{name}"},
            "rollout": rollout,
            "scaling": {"maxReplicas": most},
            "replicas": most - 1,
        }
    )
    for name in ("a", "b", "c")
    for rollout in ("Replace", "Surge")
    for most in (1, 3)
]
TEMPLATES = ["template-1", "template-2"]
SETS = ["set-1", "set-2", "set-3"]


@st.composite
def situations(draw: st.DrawFn) -> tuple[TierView, ModelTierSpec]:
    """Any status beside any workload, also those that no history leads to."""
    present, good, failed, rendered = (draw(st.sampled_from(SPECS)) for _ in range(4))
    status = RolloutStatus(
        rendered=draw(
            st.none()
            | st.builds(
                RenderedStatus, hash=st.just(fingerprint(canonical_spec(rendered))), template=st.sampled_from(TEMPLATES)
            )
        ),
        last_good=draw(
            st.none()
            | st.builds(
                LastGood,
                generation=st.integers(0, 5),
                hash=st.just(fingerprint(canonical_spec(good))),
                replica_set=st.sampled_from(SETS),
                spec=st.sampled_from([canonical_spec(good), "", "{", '{"model": 3}']),
            )
        ),
        failed=draw(
            st.none()
            | st.builds(
                FailedSpec,
                generation=st.integers(0, 5),
                hash=st.just(fingerprint(canonical_spec(failed))),
                reason=st.just("EngineCrashed"),
            )
        ),
    )
    pods = tuple(draw(pod(f"pod-{number}")) for number in range(draw(st.integers(0, 3))))
    counts = st.integers(0, 3)
    deployment = DeploymentFacts(
        *("chat-predictor", "d", "7", 2, draw(st.integers(1, 2))),
        *(draw(counts), draw(counts), draw(counts), draw(counts)),
        template=draw(st.sampled_from(TEMPLATES)),
    )
    answering = frozenset(each.name for each in pods if each.ready)
    seen = view(present, pods=pods, deployment=deployment, ready_endpoints=answering)
    tier = seen.tier.__class__(
        seen.tier.key, "uid", 6, "3", present, seen.tier.status.model_copy(update={"rollout": status})
    )
    return TierView(tier, seen.workloads, seen.signals), present


def pod(name: str) -> st.SearchStrategy[PodFacts]:
    return st.builds(
        PodFacts,
        name=st.just(name),
        uid=st.just(name),
        phase=st.just("Running"),
        ready=st.booleans(),
        terminating=st.booleans(),
        scheduled=st.just(True),
        created_at=st.sampled_from([NOW - 5000, NOW - 100, NOW - 10]),
        scheduled_at=st.sampled_from([NOW - 5000, NOW - 100, NOW - 10]),
        ready_at=st.sampled_from([None, NOW - 100, NOW - 1]),
        waiting_reason=st.sampled_from(["", "ImagePullBackOff", "CrashLoopBackOff"]),
        restarts=st.integers(0, 3),
        last_exit_code=st.sampled_from([None, 1, 137]),
        replica_set=st.sampled_from(SETS),
        node_lost=st.booleans(),
    )


@given(situations())
def test_only_the_present_spec_or_the_last_good_one_is_rendered(situation: tuple[TierView, ModelTierSpec]) -> None:
    seen, present = situation
    before, rollout = seen.tier.status.rollout, choose_rollout(seen, present, seen.tier.status.rollout, NOW)
    assert rollout == choose_rollout(seen, present, seen.tier.status.rollout, NOW)
    assert fingerprint(canonical_spec(rollout.spec)) == rollout.fingerprint
    assert [getattr(rollout.spec, name) for name in FOLLOWING] == [getattr(present, name) for name in FOLLOWING]
    if not rollout.back:
        assert rollout.spec == present
        return
    assert present.rollout == "Replace"
    assert before.last_good is not None
    assert rollout.fingerprint == before.last_good.hash != fingerprint(canonical_spec(present))
    assert before.failed is not None
    assert rollout.failed == before.failed, "what is acted upon was remembered before"


@given(situations())
def test_a_mark_is_about_the_present_spec_and_never_about_the_last_good_one(
    situation: tuple[TierView, ModelTierSpec],
) -> None:
    seen, present = situation
    rollout = choose_rollout(seen, present, seen.tier.status.rollout, NOW)
    if rollout.failed is not None:
        assert rollout.failed.hash == fingerprint(canonical_spec(present))
    if rollout.failed is not None and rollout.failed != seen.tier.status.rollout.failed:
        assert present.rollout == "Replace"
        assert rollout.good is not None
        assert rollout.good.hash != rollout.failed.hash
        assert not any(pod.ready for pod in seen.workloads[0].pods if pod.replica_set == _youngest(seen))
    elif rollout.good != seen.tier.status.rollout.last_good:
        assert rollout.good is not None
        assert seen.workloads[0].ready_endpoints


def _youngest(seen: TierView) -> str:
    good = seen.tier.status.rollout.last_good
    assert good is not None
    others = [pod for pod in seen.workloads[0].pods if pod.replica_set != good.replica_set]
    return max(others, key=lambda pod: (pod.created_at, pod.name)).replica_set


APPLY = st.fixed_dictionaries(
    {
        "image": st.sampled_from(["good-1", "good-2", "unpullable", "crashes", "too-large"]),
        "replicas": st.integers(1, 3),
    }
)
DEEDS = st.lists(st.tuples(st.one_of(APPLY, st.sampled_from(["restart", "deaf"])), st.integers(1, 20)), max_size=5)


async def _history(deeds: list[tuple[Any, int]]) -> None:
    here, wanted, turns = Town(), {"image": "good-1", "replicas": 1}, 0
    here.apply("good-1", replicas=1)
    for deed, cycles in [*deeds, ("hear", 40)]:
        here.store.failing.pop("status", None)
        if isinstance(deed, dict):
            turns, wanted = (0 if deed["image"] != wanted["image"] else turns), deed
            here.apply(deed["image"], replicas=deed["replicas"])
        elif deed == "restart":
            here.restart()
        elif deed == "deaf":
            here.store.failing["status"] = Conflict("modified", status=409)
        for _ in range(cycles):
            before = here.rendered[-1:]
            await here.cycle()
            good = here.status.rollout.last_good
            back = [] if good is None else [good.spec]
            assert here.rendered[-1] == wanted["image"] or any(here.rendered[-1] in spec for spec in back)
            assert not back or "engine:good" in back[0], "only what has served is good"
            turns += before == [wanted["image"]] and here.rendered[-1] != wanted["image"]
            assert turns <= 1, "one way back for one spec"
    if str(wanted["image"]).startswith("good") or here.status.rollout.last_good is not None:
        assert len(here.serving) == wanted["replicas"], "what served once, or is right, serves in full in the end"


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(DEEDS)
def test_whatever_happens_there_is_one_way_back_and_the_tier_serves_in_the_end(deeds: list[tuple[Any, int]]) -> None:
    asyncio.run(_history(deeds))
