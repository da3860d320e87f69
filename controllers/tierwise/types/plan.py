"""Holds what is decided: how many replicas and why, from which spec, and what is written for it."""

from __future__ import annotations

from dataclasses import dataclass

from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import FailedSpec, LastGood
from tierwise.types.snapshot import Signal, TierKey, Workload
from tierwise.types.state import TierState


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a decision. `reason` is a constant of tierwise.reasons, or empty when nothing changed."""

    name: str
    replicas: int
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class NamedSignal:
    """A signal that a decision was made from, with the name under which it is shown."""

    name: str
    signal: Signal


@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas, and why: the same value becomes the Event, the condition, the metric and `explain`."""

    current: int
    target: int
    reason: str
    message: str
    limited_by: str = ""
    steps: tuple[Step, ...] = ()
    signals: tuple[NamedSignal, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Advice:
    """What is served and may not pay, or would not be started today: a constant of tierwise.reasons, and a sentence
    that holds nothing that changes by itself."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """Which spec the replicas are made from, and what is to be remembered of it.

    `spec` is the present one, or (`back`) the last good one with the scaling of the present one. `fingerprint` is that
    of its fields that make a replica. `good` and `failed` go into the status."""

    spec: ModelTierSpec
    fingerprint: str
    back: bool = False
    good: LastGood | None = None
    failed: FailedSpec | None = None


@dataclass(frozen=True, slots=True)
class WorkloadPlan:
    """How many replicas are to be written for one workload.

    `current` is what the decision was made on. `deletion_costs` are written before a scale-down."""

    name: str
    current: int
    scale_to: int
    deletion_costs: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ReplicaSetPlan:
    """Replicas of a former pod template that shall end: `replica_set` of this workload keeps `replicas`.

    `uid` and `resource_version` are those that this was decided on. `ended` counts pods, `refused` replicas that the
    cluster has not let it make."""

    workload: str
    replica_set: str
    uid: str
    resource_version: str
    replicas: int
    ended: int
    refused: int = 0


@dataclass(frozen=True, slots=True)
class TierPlan:
    """What shall be done for one tier.

    `asked`: the decision as it was before pools and budgets that all tiers share changed it; None: they did not.
    `invalid` (a reason and a message) means: touch nothing. `failure` says that deciding met a defect: the tier keeps
    what it has, nothing of it is freed, and its state is the one before."""

    key: TierKey
    decision: Decision | None
    state: TierState
    serve: bool = False  # children shall exist
    workloads: tuple[WorkloadPlan, ...] = ()  # where replicas are to be written, in the order of the view
    failure: str = ""
    invalid: tuple[str, str] | None = None
    advice: tuple[Advice, ...] = ()  # sorted, one of each reason
    rollout: Rollout | None = None  # of the first workload; None: the present spec, and nothing new to remember
    rollouts: tuple[tuple[str, Rollout], ...] = ()  # of the workloads in pools, by name, in the order of the view
    former: tuple[ReplicaSetPlan, ...] = ()  # what is left of former specs and serves nobody
    asked: Decision | None = None
    granted: tuple[tuple[str, int], ...] = ()  # replicas of each workload in a pool, by name, in the order of the view

    def rollout_of(self, workload: Workload) -> Rollout | None:
        """What one of the workloads is made from. None: what it is made from stays, or is the tier's present spec."""
        return dict(self.rollouts).get(workload.name) if workload.pool else self.rollout


@dataclass(frozen=True, slots=True)
class Plan:
    """What shall be done, for all tiers, sorted by key."""

    tiers: tuple[TierPlan, ...]
