"""Tells whether the engine is drafting, and if not, whether that is intended.

The engine itself changes how many tokens it drafts, by the batch size and the rendered schedule, and reports it
nowhere. So the state is read from measurements: the rate of drafted tokens over the last minute, and the running
requests. At rate 0 the running requests distinguish a pause (the schedule has 0 tokens for this batch) from silence.
The two are not measured at the same moment, so a pause lasts until something is drafted again or nothing runs.
"""

from __future__ import annotations

from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import SpeculationStatus
from tierwise.engines.speculation import IGNORES_SCHEDULE, batch_schedule
from tierwise.report.report_context import ReportContext
from tierwise.types import PodSample

_MOST = 1e9
DRAFTING, PAUSED, SILENT, IDLE, UNKNOWN = "Drafting", "Paused", "Silent", "Idle", "Unknown"


def speculation(case: ReportContext) -> SpeculationStatus | None:
    """What speculation does in a tier that we serve; None when it is off. Kept as it was for a spec that is not
    accepted."""
    spec = case.spec
    if case.rejected is not None or spec is None:
        return case.old.speculation
    if spec.external is not None or spec.speculation.mode == "Disabled" or spec.speculation.method is None:
        return None
    rate = case.view.signals.draft_tokens_per_second
    ready = [pod for pod in case.view.signals.pods if pod.pod in case.view.ready_endpoints]
    drafted = round(min(rate.value, _MOST)) if rate.has_value and ready else None
    return SpeculationStatus.model_validate({"state": _state(case, spec, ready), "drafted_per_second": drafted})


def _state(case: ReportContext, spec: ModelTierSpec, ready: list[PodSample]) -> str:
    rate = case.view.signals.draft_tokens_per_second
    if not ready or not rate.has_value or not all(pod.running.has_value for pod in ready):
        return UNKNOWN
    if rate.value > 0:
        return DRAFTING
    running = [pod.running.value for pod in ready]
    if sum(running) == 0:
        return IDLE
    pause = pauses_from(spec)
    if pause is None:
        return SILENT
    before = case.old.speculation
    if max(running) >= pause or (before is not None and before.state == PAUSED):
        return PAUSED
    return SILENT


def pauses_from(spec: ModelTierSpec) -> int | None:
    """The smallest batch at which the schedule drafts nothing; None when it always drafts."""
    if spec.speculation.method in IGNORES_SCHEDULE:
        return None
    steps = batch_schedule(spec.speculation, spec.batching.max_sequences)
    return min((first for first, _, tokens in steps if tokens == 0), default=None)
