"""Lets go of the InferenceService of a pool that a tier does not name any more.

It stays as it is made, whatever the tier says now, until nobody needs it: no replica is asked for and no pod is left.
Then it goes as all children do. The operator may not delete, so it is given to an owner that does not exist, and the
garbage collector deletes it. A tier that names the pool again before that keeps it.
"""

from __future__ import annotations

from typing import Any

from tierwise import reasons
from tierwise.act.context import ApplyContext, Target, WriteResult
from tierwise.act.error_mapping import to_action_error
from tierwise.act.former_bindings import NOBODY
from tierwise.act.guarded_client import GuardedClient
from tierwise.act.inference_service import service
from tierwise.act.write_state import WriteKey
from tierwise.api.base import API_VERSION
from tierwise.errors import TierwiseError
from tierwise.kube.objects import KSERVE_API
from tierwise.pod_diagnosis import FINISHED

_OURS = ("labels", "annotations")
_DELETED = "its pool is not among the tier's, and it has no replica any more"


async def retire_inference_service(target: Target, context: ApplyContext) -> WriteResult:
    """Have the garbage collector delete it once it is of no use. Raises nothing that is a TierwiseError."""
    workload, state = target.workload, context.write_state
    facts = workload.inference_service
    busy = workload.replicas > 0 or any(pod.phase not in FINISHED for pod in workload.pods)
    if facts is None or not facts.owned or facts.deleting or busy or not context.kserve_present:
        return WriteResult()
    mark = WriteKey(target.tier.uid, target.tier.generation, f"retired {facts.uid}")
    refusal = state.refused.get(target.key)
    if refusal is not None and refusal.stands(mark, context.at):
        return WriteResult(error=refusal.error)
    try:
        await _let_go(target, facts.uid, context)
    except TierwiseError as error:
        failed = to_action_error(error)
        state.went_wrong(target.key, mark, failed, context.at)
        return WriteResult(error=failed)
    state.went_well(target.key)
    return WriteResult(applied=True, event=reasons.RETIRED, detail=_DELETED)


async def _let_go(target: Target, uid: str, context: ApplyContext) -> None:
    cluster, ref = GuardedClient(target.tier, context.cluster), service(target)
    found = await cluster.get(ref)
    if found is None or found["metadata"].get("deletionTimestamp") or found["metadata"]["uid"] != uid:
        return
    metadata: dict[str, Any] = {
        **{name: found["metadata"][name] for name in _OURS if name in found["metadata"]},
        "name": ref.name,
        "namespace": ref.namespace,
        "ownerReferences": [
            {"apiVersion": API_VERSION, "kind": "ModelTier", "name": target.tier.key.name, "uid": NOBODY}
        ],
        "resourceVersion": found["metadata"]["resourceVersion"],
    }
    wanted = {"apiVersion": KSERVE_API, "kind": "InferenceService", "metadata": metadata, "spec": found["spec"]}
    await cluster.apply(ref, wanted)
