"""Evaluates Accepted and Provisioned: whether the spec is valid and its children exist as rendered.

The first finding wins. They are ordered from those that make all others meaningless (the spec, KServe) to single pods.
"""

from __future__ import annotations

from tierwise import reasons
from tierwise.pod_diagnosis import HELD, diagnose
from tierwise.report.conditions import ConditionUpdate, condition_update
from tierwise.report.report_context import ReportContext
from tierwise.text_sanitize import sanitize
from tierwise.types import DeploymentFacts, Workload

_STORAGE_WORDS = ("storage", "pvc", "persistentvolumeclaim")
# Containers that KServe adds, in 0.19 without a security context of their own, and what helps
# where the namespace enforces the restricted Pod Security level.
_NOT_RESTRICTED = {
    '"storage-initializer"': "KServe's storage initializer does not meet it. Use hf:// or pvc://, or give KServe's "
    "ClusterStorageContainer a restricted securityContext",
    '"modelcar': "KServe's model car (oci://) does not meet it. Use hf:// or pvc://",
}
_SCALING_ONLY = frozenset({reasons.CONFLICT, reasons.WAITING_FOR_CHILDREN})


def accepted(case: ReportContext) -> ConditionUpdate:
    """Whether the spec can be served; what does not pay stands in `status.advice`."""
    if case.rejected is not None:
        return condition_update(reasons.ACCEPTED, "False", *case.rejected)
    return condition_update(reasons.ACCEPTED, "True", reasons.VALID)


def provisioned(case: ReportContext) -> ConditionUpdate:
    """Whether all children exist as rendered and none is stuck."""
    if case.view.tier.deleting:
        return _no(reasons.DELETING)
    if case.rejected is not None:
        return condition_update(reasons.PROVISIONED, "Unknown", reasons.NOT_ACCEPTED)
    if case.external:
        return condition_update(reasons.PROVISIONED, "True", reasons.EXTERNAL)
    return (
        _children(case)
        or _rolled_back(case)
        or _pods(case)
        or condition_update(reasons.PROVISIONED, "True", reasons.PROVISIONED_OK)
    )


def _children(case: ReportContext) -> ConditionUpdate | None:
    """What is wrong with the InferenceService and its Deployment."""
    if not case.kserve_present:
        return _no(reasons.KSERVE_MISSING)
    error = case.outcome.error
    if error is not None and error.reason not in _SCALING_ONLY:
        return _no(error.reason, error.message)
    return next((found for found in map(_child, case.view.staying) if found is not None), None)


def _child(workload: Workload) -> ConditionUpdate | None:
    """What is wrong with one InferenceService and its Deployment."""
    service = workload.inference_service
    if service is None:
        return _no(reasons.CREATING)
    if not service.owned:
        return _no(reasons.NOT_OURS, f"InferenceService {service.name} belongs to somebody else")
    if service.deleting:
        return _no(reasons.CREATING, f"InferenceService {service.name} is being deleted and will be made again")
    if service.problem:
        about_storage = any(word in service.problem.lower() for word in _STORAGE_WORDS)
        return _no(reasons.STORAGE_PROBLEM if about_storage else reasons.KSERVE_REFUSED, service.problem)
    if workload.deployment is None:
        return _no(reasons.CREATING, "KServe has not made the Deployment yet; if that lasts, look at its controller")
    return None


def _rolled_back(case: ReportContext) -> ConditionUpdate | None:
    """That the last good spec is served, why, and what is wrong with it in turn."""
    for workload in case.view.staying:
        rollout = case.plan.rollout_of(workload)
        if rollout is None or rollout.good is None or rollout.failed is None or not rollout.back:
            continue
        good, failed = rollout.good, rollout.failed
        said = f"Generation {failed.generation} cannot start ({failed.reason}: {failed.message.rstrip('.')})"
        again = diagnose(workload, rollout.spec, case.at)
        but = "" if again is None else f", which does not start either ({again.reason}: {again.detail.rstrip('.')})"
        where = f"In pool {workload.pool}: " if workload.pool else ""
        return _no(reasons.ROLLED_BACK, f"{where}{said}; served again is generation {good.generation}{but}")
    return None


def _pods(case: ReportContext) -> ConditionUpdate | None:
    """What is wrong with the pods, or with making them."""
    for deployment in case.view.deployments:
        if deployment.failed_create:
            text = sanitize(deployment.failed_create)
            silent = "failed calling webhook" in text and "kserve" in text
            advised = _advised(text, case, deployment)
            return _no(reasons.KSERVE_NOT_ANSWERING if silent else reasons.POD_REFUSED, advised)
    found = next((issue for issue in map(case.diagnosed, case.workloads) if issue is not None), None)
    return None if found is None else _no(found.reason, found.detail)


def _advised(text: str, case: ReportContext, deployment: DeploymentFacts) -> str:
    """Why a pod was refused, and what to do when the container that was refused is none of ours, or a change asks for
    more than a quota has while the replica before it runs."""
    changes = deployment.updated_replicas < deployment.replicas
    if "exceeded quota" in text and changes and case.serving is not None and case.serving.rollout == "Surge":
        return f"{text}; {HELD}"
    if "violates PodSecurity" not in text:
        return text
    return next((f"{text}: {said}" for container, said in _NOT_RESTRICTED.items() if container in text), text)


def _no(reason: str, detail: str = "") -> ConditionUpdate:
    return condition_update(reasons.PROVISIONED, "False", reason, detail)
