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
    """A change of replicas that was asked for, and may have been made without us hearing of it: of the Deployment with
    this UID, at this generation, from `decision.current` to `to`. `at`: seconds since the epoch."""

    uid: str
    generation: int
    decision: Decision
    to: int
    at: float


@dataclass(frozen=True, slots=True)
class TierOutcome:
    """What was done for one tier."""

    key: TierKey
    applied: bool = False  # the InferenceService was written
    event: str = ""  # what a person should hear of that write: Created, Healed or Updated
    scaled_to: int | None = None
    error: ActionError | None = None
    detail: str = ""  # why the InferenceService was healed
    template: str = ""  # fingerprint of the pod template that the InferenceService says; empty when that is not known


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done, for all tiers, sorted by key."""

    tiers: tuple[TierOutcome, ...]
