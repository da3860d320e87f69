"""Records the workloads of a tier in its status: what each is called, where it runs, and how far a change is there.

Names are decided once, so an entry stays while its InferenceService may be there. One that is retired goes with it.
"""

from __future__ import annotations

from tierwise import reasons
from tierwise.api.modeltier_status import InferenceServiceRef, RenderedStatus, RolloutStatus
from tierwise.report.report_context import ReportContext
from tierwise.types import Workload


def inference_services(case: ReportContext) -> list[InferenceServiceRef]:
    """The children that exist, that were just written, and that did exist."""
    old = {each.name: each for each in case.old.inference_services}
    created = {done.name for done in case.outcome.workloads if done.event == reasons.CREATED}
    found = []
    for workload in case.workloads:
        there = workload.inference_service
        made = workload.name in created or (there is not None and there.owned)
        if made or (workload.name in old and not workload.retired):
            rollout = _in_pool(case, workload)
            found.append(InferenceServiceRef(name=workload.name, pool=workload.pool, rollout=rollout))
    return found


def rollout_status(case: ReportContext) -> RolloutStatus:
    """The progress of a change in the workload without a pool. Nothing, when somebody else serves the tier."""
    if case.external:
        return RolloutStatus()
    free = next((each for each in case.workloads if not each.pool and not each.retired), None)
    return RolloutStatus() if free is None else _rollout(case, free, case.old.rollout)


def _in_pool(case: ReportContext, workload: Workload) -> RolloutStatus | None:
    if not workload.pool:
        return None
    old = next((each.rollout for each in case.old.inference_services if each.name == workload.name), None)
    return _rollout(case, workload, old or RolloutStatus())


def _rollout(case: ReportContext, workload: Workload, old: RolloutStatus) -> RolloutStatus:
    """What a restarted operator must know of a change."""
    rollout = case.plan.rollout_of(workload)
    if rollout is None:
        return old
    done = next((each for each in case.outcome.workloads if each.name == workload.name), None)
    template = done.template if done is not None else ""
    rendered = RenderedStatus(hash=rollout.fingerprint, template=template) if template else old.rendered
    return RolloutStatus(rendered=rendered, last_good=rollout.good, failed=rollout.failed)
