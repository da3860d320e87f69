"""Evaluates Ready, and chooses the one word of the column STATUS.

Ready means that requests are answered: at least one replica is behind the Service. Fewer than desired is Degraded and
still Ready, since a tier that loads its second replica serves all the while; `status.ready` shows the ratio.
"""

from __future__ import annotations

from collections.abc import Mapping

from tierwise import reasons
from tierwise.report.conditions import ConditionUpdate, Truth, condition_update
from tierwise.report.report_context import ReportContext

_NODES = frozenset({reasons.INSUFFICIENT_GPU, reasons.UNSCHEDULABLE})


def ready(case: ReportContext) -> ConditionUpdate:
    """Whether requests are answered now."""
    if case.external:
        return _ready("True", reasons.EXTERNAL_READY)
    if case.ready == 0:
        return _none_ready(case)
    count = f"{case.ready} of {case.desired} replicas answer"
    if case.rejected is not None:
        return _ready("True", reasons.NOT_ACCEPTED, f"{count}, as they were before the spec that is not accepted")
    if case.ready < case.desired:
        return _ready("True", reasons.DEGRADED, count)
    return _ready("True", reasons.SERVING, count)


def state(verdicts: Mapping[str, ConditionUpdate], *, waits_for_nodes: bool = False) -> tuple[str, str]:
    """The word for the whole tier and the reason behind it, from the verdicts by their type. `waits_for_nodes`: whether
    what is missing is a node, and not for long."""
    accepted, provisioned = verdicts[reasons.ACCEPTED], verdicts[reasons.PROVISIONED]
    serving = verdicts[reasons.READY]
    awaited = waits_for_nodes and provisioned.reason in _NODES
    stuck = provisioned.status == "False" and provisioned.reason != reasons.CREATING and not awaited
    if provisioned.reason == reasons.DELETING:
        return "Deleting", provisioned.reason
    if accepted.status == "False":
        return "Rejected", accepted.reason
    if serving.reason == reasons.EXTERNAL_READY:
        return "External", serving.reason
    if stuck:
        return ("Degraded" if serving.status == "True" else "Failed"), provisioned.reason
    if serving.reason == reasons.SCALED_TO_ZERO:
        return "Stopped", serving.reason
    if serving.reason == reasons.IDLE:
        return "Idle", serving.reason
    if serving.status == "False":
        return "Starting", provisioned.reason if provisioned.status == "False" else serving.reason
    if serving.reason == reasons.DEGRADED:
        return "Scaling", serving.reason
    if verdicts[reasons.METRICS_AVAILABLE].status == "False":
        return "Unmeasured", verdicts[reasons.METRICS_AVAILABLE].reason
    return "Ready", serving.reason


def _none_ready(case: ReportContext) -> ConditionUpdate:
    if case.rejected is not None:
        return _ready("False", reasons.NOT_ACCEPTED, "No replica answers, and the spec is not accepted")
    if case.desired == 0 and case.spec is not None and case.spec.replicas == 0:
        return _ready("False", reasons.SCALED_TO_ZERO)
    if case.desired == 0 and case.spec is not None and case.spec.scaling.min_replicas == 0:
        return _ready("False", reasons.IDLE)
    return _ready("False", reasons.STARTING)


def _ready(status: Truth, reason: str, detail: str = "") -> ConditionUpdate:
    return condition_update(reasons.READY, status, reason, detail)
