"""Checks what is written for a tier, when, and what is reported when a write fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.builders.workloads import only
from tests.unit.act.store import Store, merged
from tests.unit.act.worlds import (
    NAMESPACE,
    deployment_ref,
    known,
    kserve,
    look,
    plan,
    pod,
    pod_ref,
    run,
    service_ref,
    snapshot,
    tier,
)
from tierwise import reasons
from tierwise.act.apply import WriteState, act
from tierwise.act.inference_service import autoscaler_class
from tierwise.act.write_state import RefusedWrite, WriteKey
from tierwise.errors import Forbidden, Transient
from tierwise.kube.objects import DELETION_COST
from tierwise.outbox import Outbox
from tierwise.ports import ObjectRef
from tierwise.types import ActionError, Plan, ReplicaSetPlan, Workload, WorkloadKey


async def settled(store: Store, memo: WriteState) -> None:
    """Bring a tier to where replicas may be written."""
    for _ in range(2):
        await run(store, memo, look(store, tier()), plan())
        kserve(store)
    store.writes.clear()


def edit(store: Store, change: dict[str, Any]) -> None:
    store.put(service_ref(), merged(store.seen(service_ref()), change))


async def test_a_child_is_born_without_a_pod_and_handed_over_at_zero() -> None:
    store, memo = Store(), WriteState()
    first = await run(store, memo, look(store, tier()), plan(scale_to=None))
    assert (only(first).applied, only(first).event, first.error) == (True, reasons.CREATED, None)
    assert autoscaler_class(store.seen(service_ref())) == "none"
    kserve(store)
    assert store.seen(deployment_ref())["spec"]["replicas"] == 0

    second = await run(store, memo, look(store, tier()), plan(scale_to=2))
    assert (only(second).applied, only(second).event, only(second).scaled_to) == (True, "", None)
    assert autoscaler_class(store.seen(service_ref())) == "external"

    # the class has not reached the Deployment yet: a pod started now would be of the old template
    early = await run(store, memo, look(store, tier()), plan(scale_to=2))
    assert (only(early).applied, only(early).scaled_to) == (False, None)
    kserve(store)

    third = await run(store, memo, look(store, tier()), plan(scale_to=2))
    assert (only(third).applied, only(third).scaled_to) == (False, 2)
    assert store.seen(deployment_ref())["spec"]["replicas"] == 2

    writes = len(store.writes)
    fourth = await run(store, memo, look(store, tier()), plan(scale_to=2))
    assert (only(fourth).applied, only(fourth).scaled_to, fourth.error) == (False, None, None)
    assert len(store.writes) == writes


async def test_a_settled_tier_costs_neither_a_read_nor_a_write() -> None:
    store, memo = Store(), WriteState()
    await settled(store, memo)
    store.reads.clear()
    await run(store, memo, look(store, tier()), plan(scale_to=0))
    assert (store.reads, store.writes) == ([], [])


async def test_nothing_is_handed_over_before_the_deployment_exists() -> None:
    store, memo = Store(), WriteState()
    await run(store, memo, look(store, tier()), plan())
    store.writes.clear()
    await run(store, memo, look(store, tier()), plan(scale_to=3))
    assert store.writes == []


async def test_the_deployment_of_a_namesake_is_not_taken_for_ours() -> None:
    store, memo = Store(), WriteState()
    await run(store, memo, look(store, tier()), plan())
    stranger = {"ownerReferences": [{"uid": "an-older-one", "controller": True}]}
    store.put(deployment_ref(), {"metadata": stranger, "spec": {"replicas": 1}})
    store.writes.clear()
    await run(store, memo, look(store, tier()), plan(scale_to=3))
    assert store.writes == []
    assert autoscaler_class(store.seen(service_ref())) == "none"


async def test_what_somebody_put_beside_our_fields_is_taken_away() -> None:
    store, memo = Store(), WriteState()
    await settled(store, memo)
    edit(store, {"spec": {"predictor": {"nodeSelector": {"zone": "b"}, "minReplicas": 3}}})
    outcome = await run(store, memo, look(store, known()), plan(scale_to=0))
    assert only(outcome).event == reasons.HEALED
    assert store.writes == [("apply", "chat"), ("prune", "chat")]
    predictor = store.seen(service_ref())["spec"]["predictor"]
    assert "nodeSelector" not in predictor
    assert predictor["minReplicas"] == 0
    edit(store, {"spec": {"predictor": {"tolerations": [{"key": "a"}]}}})
    await run(store, memo, look(store, known()), plan(scale_to=0))
    assert store.writes[2:] == [("prune", "chat")]


async def test_a_child_that_lost_its_label_keeps_its_replicas() -> None:
    store, memo = Store(), WriteState()
    await settled(store, memo)
    edit(store, {"metadata": {"labels": {"tierwise.io/tier": None}}})
    # the informer asks for our label only: neither the service nor, soon, its Deployment is seen
    blind = replace(look(store, known()), workloads=(look(Store(), known()).workloads[0],))
    outcome = await run(store, memo, blind, plan())
    assert only(outcome).event == reasons.HEALED
    assert autoscaler_class(store.seen(service_ref())) == "external"


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"predictor": {"minReplicas": 7}}},
        {"metadata": {"labels": {"tierwise.io/tier": "other"}}},
        {"metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "hpa"}}},
    ],
)
async def test_a_hand_edit_is_healed_in_one_write(change: dict[str, Any]) -> None:
    store, memo = Store(), WriteState()
    await settled(store, memo)
    edit(store, change)
    outcome = await run(store, memo, look(store, known()), plan(scale_to=0))
    assert (only(outcome).applied, only(outcome).event) == (True, reasons.HEALED)
    assert only(outcome).detail.endswith(": changed by hand")
    assert store.writes == [("apply", "chat")]


async def test_a_deleted_child_is_made_again_without_a_pod() -> None:
    store, memo = Store(), WriteState()
    await settled(store, memo)
    store.drop(service_ref())
    store.drop(deployment_ref())
    outcome = await run(store, memo, look(store, known()), plan(scale_to=2))
    assert (only(outcome).event, only(outcome).scaled_to) == (reasons.HEALED, None)
    assert autoscaler_class(store.seen(service_ref())) == "none"


async def test_a_changed_spec_is_an_update_and_not_a_healing() -> None:
    store, memo = Store(), WriteState()
    await settled(store, memo)
    changed = tier(spec={"model": {"name": "small", "uri": "hf://org/other"}, "resources": {"gpus": 1}}, generation=2)
    outcome = await run(store, memo, look(store, replace(changed, status=known().status)), plan(scale_to=0))
    assert (only(outcome).applied, only(outcome).event) == (True, reasons.UPDATED)


async def test_what_the_cluster_changes_back_is_applied_once_and_then_reported() -> None:
    store, memo = Store(), WriteState()
    await settled(store, memo)
    original = store.put

    def put(ref: Any, manifest: Any) -> Any:  # a webhook that sets minReplicas to 7 in every write
        if ref == service_ref():
            manifest = merged(manifest, {"spec": {"predictor": {"minReplicas": 7}}})
        return original(ref, manifest)

    store.put = put  # type: ignore[method-assign]
    store.put(service_ref(), store.seen(service_ref()))
    first = await run(store, memo, look(store, known()), plan(scale_to=0))
    second = await run(store, memo, look(store, known()), plan(scale_to=0))
    third = await run(store, memo, look(store, known()), plan(scale_to=0))
    assert (only(first).applied, only(second).applied, only(third).applied) == (True, False, False)
    assert second.error is not None
    assert second.error.reason == reasons.APPLY_REFUSED
    assert "minReplicas" in second.error.message
    store.put = original  # type: ignore[method-assign]
    edit(store, {"spec": {"predictor": {"minReplicas": 0}}})
    assert (await run(store, memo, look(store, known()), plan(scale_to=0))).error is None
    assert memo.contested == {}


@pytest.mark.parametrize(("left", "made"), [(23, True), (24, False)])
async def test_no_more_services_are_made_than_a_status_can_tell(left: int, made: bool) -> None:
    store, memo = Store(), WriteState()
    view = look(store, tier())
    former = tuple(Workload(f"chat-{number}", pool=f"p{number}", retired=True) for number in range(left))
    outcome = await run(store, memo, replace(view, workloads=(*view.workloads, *former)), plan())
    assert [name for _, name in store.writes] == (["chat"] if made else [])
    assert (outcome.error is None) == made
    if outcome.error is not None:
        assert outcome.error.reason == reasons.TOO_MANY_SERVICES
        assert "24 InferenceServices" in outcome.error.message
        healed = look(store, known())
        outcome = await run(store, memo, replace(healed, workloads=(*healed.workloads, *former)), plan())
        assert outcome.workloads[0].event == reasons.HEALED, "one that the status tells of is made again"


async def test_a_strangers_object_is_left_alone() -> None:
    store, memo = Store(), WriteState()
    store.put(service_ref(), {"metadata": {"ownerReferences": [{"uid": "someone", "controller": True}]}, "spec": {}})
    seen = await run(store, memo, look(store, tier()), plan(scale_to=1))
    # and the same when the informer, which asks for our label only, does not show it
    unseen = await run(
        store, memo, replace(look(store, tier()), workloads=(look(Store(), tier()).workloads[0],)), plan()
    )
    for outcome in (seen, unseen):
        assert outcome.error is not None
        assert outcome.error.reason == reasons.NOT_OURS
    assert store.writes == []


async def test_a_strangers_object_made_in_the_very_moment_is_left_alone() -> None:
    owners = [{"uid": "someone", "controller": True}]

    class Late(Store):
        async def get(self, ref: Any) -> Any:
            found = await super().get(ref)
            if found is None:
                self.put(ref, {"metadata": {"ownerReferences": owners}, "spec": {"predictor": {}}})
            return found

    store, memo = Late(), WriteState()
    blind = look(Store(), tier())
    first = await run(store, memo, blind, plan())
    assert first.error is not None
    assert (first.error.reason, first.error.transient) == (reasons.CONFLICT, True)
    second = await run(store, memo, blind, plan())
    assert second.error is not None
    assert second.error.reason == reasons.NOT_OURS
    assert store.seen(service_ref())["metadata"]["ownerReferences"] == owners
    assert store.writes == []


async def test_an_informer_that_is_behind_causes_no_second_write() -> None:
    store, memo = Store(), WriteState()
    before = look(store, tier())
    await run(store, memo, before, plan())
    outcome = await run(store, memo, before, plan())
    assert (only(outcome).applied, len(store.writes)) == (False, 1)


async def test_a_child_on_its_way_out_is_waited_for() -> None:
    store, memo = Store(), WriteState()
    await settled(store, memo)
    edit(store, {"metadata": {"deletionTimestamp": "2026-11-20T00:00:00Z"}})
    view = look(store, tier())
    assert (await run(store, memo, view, plan(scale_to=3))).error is None
    stale = replace(view, workloads=(look(Store(), tier()).workloads[0],))
    assert (await run(store, memo, stale, plan())).error is None
    assert store.writes == []


@pytest.mark.parametrize("changes", [{"invalid": (reasons.INVALID_SPEC, "no")}, {"serve": False}])
async def test_what_is_invalid_or_external_touches_nothing(changes: dict[str, Any]) -> None:
    store, memo = Store(), WriteState()
    await run(store, memo, look(store, tier()), plan(**changes))
    assert (store.writes, store.reads) == ([], [])


async def test_a_tier_on_its_way_out_is_left_to_the_garbage_collector() -> None:
    store, memo = Store(), WriteState()
    await run(store, memo, look(store, tier(deleting=True)), plan())
    assert store.writes == []


async def test_without_kserve_nothing_is_written() -> None:
    store, memo = Store(), WriteState()
    outcome = await act(snapshot(look(store, tier()), kserve_present=False), Plan((plan(),)), store, memo, Outbox())
    error = outcome.tiers[0].error
    assert error is not None
    assert error.reason == reasons.KSERVE_MISSING
    assert store.writes == []


async def test_a_newer_version_with_the_same_replicas_does_not_undo_the_decision() -> None:
    store, memo = Store(), WriteState()
    await settled(store, memo)
    view = look(store, tier())
    store.put(deployment_ref(), store.seen(deployment_ref()))  # a pod became ready: only the status changed
    outcome = await run(store, memo, view, plan(scale_to=4))
    assert (only(outcome).scaled_to, outcome.error) == (4, None)


@pytest.mark.parametrize("meanwhile", ["scaled", "changed", "made again", "gone"])
async def test_what_somebody_else_changed_meanwhile_is_not_scaled(meanwhile: str) -> None:
    store, memo = Store(), WriteState()
    await settled(store, memo)
    view = look(store, tier())
    body = store.seen(deployment_ref())
    store.drop(deployment_ref())
    if meanwhile == "scaled":
        store.put(deployment_ref(), merged(body, {"spec": {"replicas": 2}}))
    if meanwhile == "changed":  # its pods are of another template now
        store.put(deployment_ref(), merged(body, {"metadata": {"generation": 2}}))
    if meanwhile == "made again":
        store.put(deployment_ref(), merged(body, {"metadata": {"uid": "another"}}))
    outcome = await run(store, memo, view, plan(scale_to=4))
    assert only(outcome).scaled_to is None
    assert outcome.error is not None
    assert outcome.error.reason == (reasons.WAITING_FOR_CHILDREN if meanwhile == "gone" else reasons.CONFLICT)
    assert outcome.error.transient


async def test_the_deletion_costs_come_before_the_scale_down() -> None:
    store, memo = Store(), WriteState()
    await settled(store, memo)
    store.put(deployment_ref(), merged(store.seen(deployment_ref()), {"spec": {"replicas": 3}}))
    pods = (pod(store, "a"), pod(store, "b", cost=5), pod(store, "c"))
    costs = (("a", 2), ("b", 5), ("c", 9), ("unknown", 1))
    outcome = await run(store, memo, look(store, tier(), pods), plan(scale_to=2, costs=costs))
    assert only(outcome).scaled_to == 2
    assert store.writes == [("annotate", "a"), ("annotate", "c"), ("scale to 2", "chat-predictor")]
    assert store.seen(pod_ref("a"))["metadata"]["annotations"] == {DELETION_COST: "2"}


async def test_no_deletion_costs_are_written_on_the_way_up() -> None:
    store, memo = Store(), WriteState()
    await settled(store, memo)
    await run(store, memo, look(store, tier(), (pod(store, "a"),)), plan(scale_to=2, costs=(("a", 2),)))
    assert store.writes == [("scale to 2", "chat-predictor")]


async def test_a_deletion_cost_that_fails_is_told_and_the_scale_down_goes_on() -> None:
    store, memo = Store(), WriteState()
    await settled(store, memo)
    store.put(deployment_ref(), merged(store.seen(deployment_ref()), {"spec": {"replicas": 3}}))
    pods = (pod(store, "gone"), pod(store, "kept"))
    store.drop(pod_ref("gone"))
    store.failing["annotate kept"] = Forbidden("pods is forbidden: User cannot patch", status=403)
    costs = (("gone", 1), ("kept", 2))
    outcome = await run(store, memo, look(store, tier(), pods), plan(scale_to=2, costs=costs))
    assert only(outcome).scaled_to == 2
    assert outcome.error is not None
    assert outcome.error.reason == reasons.FORBIDDEN


async def test_replicas_are_written_even_when_the_child_cannot_be_healed() -> None:
    store, memo = Store(), WriteState()
    await settled(store, memo)
    edit(store, {"spec": {"predictor": {"minReplicas": 7}}})
    store.failing["apply"] = Transient('Internal error occurred: failed calling webhook "x.kserve"')
    outcome = await run(store, memo, look(store, known()), plan(scale_to=1))
    assert only(outcome).scaled_to == 1
    assert outcome.error is not None
    assert outcome.error.reason == reasons.KSERVE_NOT_ANSWERING
    assert outcome.error.transient


@pytest.mark.parametrize("missing", ["service", "deployment", "class", "owner"])
async def test_replicas_wait_until_they_are_ours_to_write(missing: str) -> None:
    store, memo = Store(), WriteState()
    await settled(store, memo)
    if missing == "class":
        edit(store, {"metadata": {"annotations": {"serving.kserve.io/autoscalerClass": "hpa"}}})
    if missing == "owner":
        edit(store, {"metadata": {"ownerReferences": []}})
    view = look(store, tier())
    if missing == "service":
        view = replace(view, workloads=(replace(view.workloads[0], inference_service=None),))
    if missing == "deployment":
        view = replace(view, workloads=(replace(view.workloads[0], deployment=None),))
    outcome = await run(store, memo, view, plan(scale_to=3))
    assert only(outcome).scaled_to is None
    assert store.seen(deployment_ref())["spec"]["replicas"] == 0


async def test_what_is_remembered_goes_with_the_tier() -> None:
    store, memo = Store(), WriteState()
    for each in (tier(), tier("other")):
        key = WorkloadKey(each.key, each.key.name)
        memo.contested[key] = ("a", "b")
        memo.failed_at[key] = 1.0
        memo.refused[key] = RefusedWrite(WriteKey("a", 1, "b"), 1.0, 10.0, ActionError(reasons.APPLY_REFUSED, "no"))
    await act(snapshot(look(store, tier())), Plan((plan(invalid=("x", "y")),)), store, memo, Outbox())
    assert set(memo.contested) == set(memo.failed_at) == set(memo.refused) == {WorkloadKey(tier().key, "chat")}


def _set_ref(name: str) -> ObjectRef:
    return ObjectRef("apps/v1", "replicasets", NAMESPACE, name)


def _former(store: Store, name: str, replicas: int = 1) -> ReplicaSetPlan:
    body = store.put(_set_ref(name), {"spec": {"replicas": replicas}})["metadata"]
    return ReplicaSetPlan("chat", name, body["uid"], body["resourceVersion"], replicas - 1, 1)


async def test_replicas_of_former_specs_are_ended_on_the_version_that_was_decided_on() -> None:
    store, memo = Store(), WriteState()
    await settled(store, memo)
    first, second, elsewhere = (_former(store, name) for name in ("chat-1", "chat-2", "chat-3"))
    store.put(_set_ref("chat-1"), {"spec": {"replicas": 1}, "status": {"readyReplicas": 1}})
    ends = plan(former=(first, second, replace(elsewhere, workload="other")))
    outcome = await run(store, memo, look(store, known()), ends)
    assert store.writes == [("scale to 0", "chat-2")], "one began to answer meanwhile; one is another workload's"
    assert (only(outcome).freed, outcome.error) == ("ReplicaSet chat-2 1 → 0", None)


async def test_all_former_replica_sets_are_told_and_the_tier_is_read_once_for_all_replicas() -> None:
    store, memo = Store(), WriteState()
    await settled(store, memo)
    ends = (_former(store, "chat-1"), _former(store, "chat-2", 3))
    store.reads.clear()
    outcome = await run(store, memo, look(store, known()), plan(scale_to=2, former=ends))
    assert store.writes == [("scale to 0", "chat-1"), ("scale to 2", "chat-2"), ("scale to 2", "chat-predictor")]
    assert store.reads.count("modeltiers/chat") == 1
    assert only(outcome).freed == "ReplicaSet chat-1 1 → 0; ReplicaSet chat-2 3 → 2"


async def test_a_right_that_is_missing_to_end_replicas_is_told() -> None:
    store, memo = Store(), WriteState()
    await settled(store, memo)
    store.failing["scale chat-1"] = Forbidden('User "op" cannot patch resource "replicasets/scale"', status=403)
    outcome = await run(store, memo, look(store, known()), plan(former=(_former(store, "chat-1"),)))
    assert outcome.error is not None
    assert (outcome.error.reason, only(outcome).freed) == (reasons.FORBIDDEN, "")
