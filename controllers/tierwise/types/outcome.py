"""Holds what became of a plan: what was written, what failed, and what is still in doubt."""

from __future__ import annotations

from dataclasses import dataclass

from tierwise.types.plan import Decision
from tierwise.types.snapshot import TierKey


@dataclass(frozen=True, slots=True)
class ActionError:
    """A write that did not succeed: a reason of tierwise.reasons and a message fit for a condition."""

    reason: str
    message: str
    transient: bool = False


@dataclass(frozen=True, slots=True)
class PendingScale:
    """A change of replicas that was asked for, and may have been made without us hearing of it.

    Of the workload's Deployment with this UID, at this generation, from `current` to `to` replicas. `decision` is the
    tier's. `at`: seconds since the epoch. `moving`: the tier moves from pool to pool, which changes no number."""

    workload: str
    uid: str
    generation: int
    current: int
    to: int
    decision: Decision
    at: float
    moving: bool = False

    @property
    def tier_replicas(self) -> int:
        """Replicas of the whole tier after this change."""
        return self.decision.current + self.to - self.current


@dataclass(frozen=True, slots=True)
class WorkloadOutcome:
    """What was done for one workload."""

    name: str
    applied: bool = False  # the InferenceService was written
    event: str = ""  # what a person should hear of that write: Created, Healed or Updated
    detail: str = ""  # why the InferenceService was healed
    scaled_from: int = 0
    scaled_to: int | None = None
    template: str = ""  # fingerprint of the pod template that the InferenceService says; empty when that is not known
    freed: str = ""  # which ReplicaSets of former specs were scaled, from what to what
    error: ActionError | None = None


@dataclass(frozen=True, slots=True)
class TierOutcome:
    """What was done for one tier."""

    key: TierKey
    workloads: tuple[WorkloadOutcome, ...] = ()

    @property
    def error(self) -> ActionError | None:
        """What failed first."""
        return next((each.error for each in self.workloads if each.error is not None), None)

    @property
    def scaled_by(self) -> int | None:
        """By how many replicas the tier was changed; None when none was written."""
        changes = [each.scaled_to - each.scaled_from for each in self.workloads if each.scaled_to is not None]
        return sum(changes) if changes else None

    @property
    def template(self) -> str:
        """Fingerprint of the first workload's pod template; empty when that is not known."""
        return self.workloads[0].template if self.workloads else ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done, for all tiers, sorted by key."""

    tiers: tuple[TierOutcome, ...]
