"""Writes the InferenceService of a tier when it differs, and creates it without a stray GPU pod.

    no InferenceService              apply it with autoscaler class none and minReplicas 0: KServe makes a Deployment of
                                     0 replicas. Any other class starts with one pod, which would be a stray GPU pod.
    class none, Deployment is there  apply class external: from now on KServe leaves the replicas alone. At 0 replicas
                                     the change of class restarts nothing.

An object is read again, with quorum, right before it is written: the informer may be behind, and what it does not know
yet (our own last write, somebody else's object of the same name) must not be overwritten. An object that is as rendered
is never written. What the cluster keeps changing back is written once, and then only reported.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tierwise import reasons
from tierwise.act.context import ApplyContext, Target, WriteResult
from tierwise.act.error_mapping import to_action_error
from tierwise.act.guarded_client import GuardedClient
from tierwise.act.managed_fields import describe_edit
from tierwise.act.render import Scaler, differences, render
from tierwise.act.write_state import WriteKey
from tierwise.api.modeltier_status import MOST_SERVICES
from tierwise.errors import TierwiseError
from tierwise.kube.objects import APPS_API, AUTOSCALER_CLASS, DEPLOYMENTS, FIELD_MANAGER, INFERENCE_SERVICES, KSERVE_API
from tierwise.pod_template_hash import fingerprint
from tierwise.ports import Cluster, ObjectRef
from tierwise.types import ActionError, Workload

_PREDICTOR = "spec.predictor."


def service(target: Target) -> ObjectRef:
    """The InferenceService of a workload."""
    return ObjectRef(KSERVE_API, INFERENCE_SERVICES, target.tier.key.namespace, target.workload.name)


def autoscaler_class(manifest: Mapping[str, Any]) -> str:
    """Who scales, as the manifest says it; empty when it does not."""
    return str((manifest["metadata"].get("annotations") or {}).get(AUTOSCALER_CLASS) or "")


async def reconcile_inference_service(target: Target, context: ApplyContext) -> WriteResult:
    """Make or heal the InferenceService of a workload. Raises nothing that is a TierwiseError."""
    facts, key, state = target.workload.inference_service, target.key, context.write_state
    if target.tier.status.observed_generation != target.tier.generation:
        state.changed[key] = target.tier.generation
    if not context.kserve_present:
        state.refused.pop(key, None)
        return WriteResult(error=ActionError(reasons.KSERVE_MISSING, "the cluster has no kind InferenceService"))
    if facts is not None and not facts.owned:
        return WriteResult(error=_not_ours(facts.name))
    if target.spec is None or (facts is not None and facts.deleting):
        return WriteResult()  # not known what it shall be; or made again when it is gone
    wanted = _wanted(target, facts.manifest if facts is not None else None)
    if facts is not None and not differences(wanted, facts.manifest):
        context.templates[key] = fingerprint(wanted["spec"]["predictor"])
        state.contested.pop(key, None)
        state.went_well(key)
        return WriteResult()
    if facts is None and not _recorded(target, target.workload.name) and len(target.view.workloads) > MOST_SERVICES:
        return WriteResult(error=_too_many(target))
    mark = WriteKey(target.tier.uid, target.tier.generation, _digest(wanted))
    refusal = state.refused.get(key)
    if refusal is not None and refusal.stands(mark, context.at):
        return WriteResult(error=refusal.error)
    if context.unresponsive is not None:
        return WriteResult(error=context.unresponsive)
    try:
        written = await _write(target, context)
    except TierwiseError as error:
        failed = to_action_error(error)
        state.went_wrong(key, mark, failed, context.at)
        if failed.reason == reasons.KSERVE_NOT_ANSWERING:
            context.unresponsive = failed
        return WriteResult(error=failed)
    state.went_well(key)
    return written


async def _write(target: Target, context: ApplyContext) -> WriteResult:
    key, state = target.key, context.write_state
    cluster = GuardedClient(target.tier, context.cluster)
    ref = service(target)
    found = await cluster.get(ref)
    wanted = _wanted(target, found)
    if found is not None:
        if not _controlled(found, target.tier.uid):
            return WriteResult(error=_not_ours(ref.name))
        different = differences(wanted, found)
        if not different or found["metadata"].get("deletionTimestamp"):
            return WriteResult()  # the informer is about to say so
        if state.contested.get(key) == (_digest(wanted), _digest(found)):
            context.templates[key] = fingerprint(wanted["spec"]["predictor"])  # it was written
            return WriteResult(error=_contested(ref.name, different))
        if _hands_over(found, wanted) and not await _deployment_made(target, found, cluster):
            return WriteResult()
    context.writing[key] = asyncio.get_running_loop().time()
    made = await _bring_about(ref, wanted, found, cluster)
    if differences(wanted, made):
        state.contested[key] = (_digest(wanted), _digest(made))
    context.templates[key] = fingerprint(wanted["spec"]["predictor"])
    event = _event(target, found, wanted, changed=state.changed.get(key) == target.tier.generation)
    return WriteResult(applied=True, event=event, detail=_detail(event, found, wanted))


async def _bring_about(
    ref: ObjectRef, wanted: Mapping[str, Any], found: Mapping[str, Any] | None, cluster: Cluster
) -> Mapping[str, Any]:
    """Apply, and take away what somebody has put beside our fields where nothing may be."""
    if found is None:
        # Not created by POST, which would make us two managers of the same fields. Not forced: what appeared since we
        # looked is a stranger's (Conflict, and the next look tells whose), or what our own manager has just made.
        return await cluster.apply(ref, wanted, force=False)
    made = found
    if set(differences(wanted, found)) - set(_strays(wanted, found)):
        made = await cluster.apply(ref, _conditional(wanted, found))
    strays = _strays(wanted, made)
    if strays:
        made = await cluster.prune(ref, strays, resource_version=str(made["metadata"]["resourceVersion"]))
    return made


def _strays(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[str, ...]:
    """Fields of the predictor that we do not render and that must not be there: only their owner, or a patch, can
    take them away."""
    rendered = {f"{_PREDICTOR}{name}" for name in wanted["spec"]["predictor"]}
    return tuple(
        path
        for path in differences(wanted, found)
        if path.startswith(_PREDICTOR) and path not in rendered and path.removeprefix(_PREDICTOR).isidentifier()
    )


def _wanted(target: Target, found: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the InferenceService shall be, given what it is."""
    scaler = _scaler(target.workload, found)
    told = target.view.facts.engine_rules
    return render(target.tier, scaler=scaler, spec=target.spec, name=target.workload.name, engine_rules=told)


def _scaler(workload: Workload, found: Mapping[str, Any] | None) -> Scaler:
    """`none` until KServe has made the Deployment, and never again: it would take all replicas away."""
    if found is None:
        return "none"
    return "none" if autoscaler_class(found) == "none" and workload.deployment is None else "external"


def _hands_over(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return autoscaler_class(found) == "none" and autoscaler_class(wanted) == "external"


async def _deployment_made(target: Target, found: Mapping[str, Any], cluster: Cluster) -> bool:
    """Whether the Deployment belongs to this very InferenceService, not to a namesake that is being deleted."""
    seen = target.workload.deployment
    name = seen.name if seen is not None else ""
    fresh = await cluster.get(ObjectRef(APPS_API, DEPLOYMENTS, target.tier.key.namespace, name))
    return fresh is not None and _controlled(fresh, str(found["metadata"]["uid"]))


def _event(target: Target, found: Mapping[str, Any] | None, wanted: Mapping[str, Any], *, changed: bool) -> str:
    """What a person should hear of this write. `changed`: the tier's spec has, since the last write."""
    if found is None:
        return reasons.HEALED if _recorded(target, wanted["metadata"]["name"]) else reasons.CREATED
    if _hands_over(found, wanted):
        return ""  # a step of the creation that was told already
    rendered = target.rendered
    ours = rendered is not None and rendered.template != fingerprint(wanted["spec"]["predictor"])
    return reasons.UPDATED if ours or changed else reasons.HEALED


def _detail(event: str, found: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> str:
    """What had to be healed, and whose work that was if it is known."""
    if event != reasons.HEALED:
        return ""
    return "it had been deleted" if found is None else describe_edit(found, differences(wanted, found), FIELD_MANAGER)


def _controlled(found: Mapping[str, Any], uid: str) -> bool:
    owners = found["metadata"].get("ownerReferences") or ()
    return any(owner.get("controller") and owner.get("uid") == uid for owner in owners)


def _recorded(target: Target, name: str) -> bool:
    return any(child.name == name for child in target.tier.status.inference_services)


def _too_many(target: Target) -> ActionError:
    """Of what is made a status has to tell, and has room for so many."""
    left = sum(1 for each in target.view.workloads if each.retired)
    return ActionError(
        reasons.TOO_MANY_SERVICES,
        f"{left} InferenceServices of pools that the tier does not name any more have not ended, so none is made in "
        f"the pool {target.workload.pool}",
    )


def _not_ours(name: str) -> ActionError:
    return ActionError(
        reasons.NOT_OURS, f"InferenceService {name} belongs to somebody else: rename the tier or pool, or delete it"
    )


def _contested(name: str, paths: tuple[str, ...]) -> ActionError:
    where = ", ".join(paths[:3])
    return ActionError(
        reasons.APPLY_REFUSED,
        f"something changes InferenceService {name} back right after it was applied ({where}): "
        "look at its managedFields and at the admission webhooks",
    )


def _conditional(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Only the version that was looked at may be overwritten."""
    version = found["metadata"]["resourceVersion"]
    return {**wanted, "metadata": {**wanted["metadata"], "resourceVersion": version}}


def _digest(manifest: Mapping[str, Any]) -> str:
    """What a person or a webhook may change, and nothing that changes by itself."""
    metadata = manifest["metadata"]
    kept = [metadata.get(name) for name in ("labels", "annotations", "ownerReferences")]
    text = json.dumps([kept, manifest.get("spec")], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
