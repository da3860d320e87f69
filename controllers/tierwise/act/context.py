"""Holds what the writes of one cycle share, and what becomes of one of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from tierwise.act.write_state import WriteState
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import RenderedStatus
from tierwise.ports import Cluster, ScaleJournal
from tierwise.types import ActionError, TierObject, TierPlan, TierView, Workload, WorkloadKey, WorkloadPlan


@dataclass(frozen=True, slots=True)
class Target:
    """One workload that is to be as planned. `spec` is the one that its replicas are made from, which after a way back
    is not the tier's present one; None: it stays as it is made."""

    view: TierView
    workload: Workload
    spec: ModelTierSpec | None
    plan: TierPlan
    replicas: WorkloadPlan | None  # None: they are not to be written

    @property
    def tier(self) -> TierObject:
        """The tier as it was decided about."""
        return self.view.tier

    @property
    def rendered(self) -> RenderedStatus | None:
        """What the InferenceService was rendered from, as the status says."""
        recorded = {each.name: each.rollout for each in self.tier.status.inference_services}
        rollout = recorded.get(self.workload.name) if self.workload.pool else self.tier.status.rollout
        return rollout.rendered if rollout is not None else None

    @property
    def key(self) -> WorkloadKey:
        """Which workload this is."""
        return WorkloadKey(self.view.tier.key, self.workload.name)


@dataclass(slots=True)
class ApplyContext:
    """The writes of one cycle: when it is (seconds since the epoch), with what they are made, and what the first of
    them learned for the others."""

    at: float
    kserve_present: bool
    cluster: Cluster
    write_state: WriteState
    journal: ScaleJournal
    unresponsive: ActionError | None = None  # a webhook that does not answer: asking again would only take its time
    # Whose InferenceService was read and is being written, and since when (time of the event loop).
    writing: dict[WorkloadKey, float] = field(default_factory=dict)
    templates: dict[WorkloadKey, str] = field(default_factory=dict)  # fingerprints of the pod templates written


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What became of one write: of the InferenceService or of the replicas, what to tell a person (and why it was
    written), what went wrong."""

    applied: bool = False
    event: str = ""
    detail: str = ""
    error: ActionError | None = None
    scaled_to: int | None = None
    freed: str = ""  # which ReplicaSets of former specs were scaled
