"""Which values pass between the rooms?

All of them are frozen: a room can keep one, compare two, replay an old one, and nobody changes it behind its back.
`observe` makes a Snapshot, `decide` turns it into a Plan, `act` answers with an Outcome, `report` reads all three.
Times are seconds since the epoch as floats (from a passed-in clock); ages are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tierwise.api.status import FailedSpec, LastGood, ModelTierStatus
from tierwise.api.v1alpha1 import ModelTierSpec
from tierwise.facts import UNKNOWN, Facts


@dataclass(frozen=True, slots=True, order=True)
class TierKey:
    """Namespace and name of a ModelTier."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class State(StrEnum):
    """How far a measurement may be trusted. Only VALUE may lower a target."""

    VALUE = "Value"
    MISSING = "Missing"  # no series at all
    STALE = "Stale"  # a series, but older than three scrapes
    INVALID = "Invalid"  # NaN, infinite or negative


@dataclass(frozen=True, slots=True)
class Signal:
    """One measurement. `value` means something only in state VALUE; `at` is when the engine was scraped."""

    state: State
    value: float = 0.0
    at: float | None = None

    @property
    def known(self) -> bool:
        """Whether `value` may be used."""
        return self.state is State.VALUE


MISSING = Signal(State.MISSING)


@dataclass(frozen=True, slots=True)
class PodSample:
    """What Prometheus says of one replica: requests, KV-cache use as a fraction 0..1, KV capacity in tokens."""

    pod: str
    running: Signal = MISSING
    waiting: Signal = MISSING
    kv_usage: Signal = MISSING
    kv_capacity_tokens: Signal = MISSING


@dataclass(frozen=True, slots=True)
class TierSignals:
    """What Prometheus says of one tier. `pods` is sorted by name and holds only pods the cluster knows too."""

    pods: tuple[PodSample, ...] = ()
    tokens_per_request: Signal = MISSING  # prompt + generated, mean over 5 minutes
    tokens_per_second: Signal = MISSING  # prompt + generated
    prefix_hit_ratio: Signal = MISSING  # 0..1
    accepted_ratio: Signal = MISSING  # 0..1, drafted tokens accepted
    draft_tokens_per_second: Signal = MISSING
    finished_requests: Signal = MISSING  # in 5 minutes
    drafted_tokens: Signal = MISSING  # in 5 minutes
    targets_up: int = 0  # scrape targets of the tier that answer
    targets_down: int = 0  # scrape targets of the tier that do not


@dataclass(frozen=True, slots=True)
class MetricsHealth:
    """Whether Prometheus answers. `problem` is fit for a condition; `at` is when it last answered in full;
    `interval_seconds` how often a value can be new (the longer of scrape interval and tick)."""

    ok: bool
    problem: str = ""
    at: float | None = None
    interval_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class TierObject:
    """One ModelTier as the API server has it. `spec` is None when it does not parse; `invalid` then says why."""

    key: TierKey
    uid: str
    generation: int
    resource_version: str
    spec: ModelTierSpec | None
    status: ModelTierStatus
    invalid: str = ""
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One pod of a tier: what its status says, without judgement."""

    name: str
    uid: str
    phase: str
    ready: bool
    terminating: bool
    scheduled: bool
    node: str = ""
    created_at: float = 0.0
    scheduled_at: float | None = None  # last transition of PodScheduled to True
    ready_at: float | None = None  # last transition of Ready to True; None while not ready
    waiting_reason: str = ""  # of the first container that waits, e.g. ImagePullBackOff
    waiting_message: str = ""
    unschedulable_message: str = ""
    prepared_at: float | None = None  # when the last init container that ended well did so; None: none has
    last_exit_container: str = ""  # whose end the next five tell; KServe's storage-initializer is one
    restarts: int = 0
    running_again: bool = False
    last_exit_code: int | None = None
    last_exit_reason: str = ""  # e.g. OOMKilled, Error
    last_exit_message: str = ""  # the engine's last lines (FallbackToLogsOnError)
    deletion_cost: int | None = None
    replica_set: str = ""  # that made it: one for each pod template of the Deployment
    node_lost: bool = False  # its kubelet last said that it is ready, and Kubernetes has taken that back


@dataclass(frozen=True, slots=True)
class DeploymentFacts:
    """The predictor's Deployment, made by KServe."""

    name: str
    uid: str
    resource_version: str
    generation: int
    observed_generation: int
    spec_replicas: int
    replicas: int
    ready_replicas: int
    updated_replicas: int
    failed_create: str = ""  # message of a ReplicaFailure condition
    autoscaler_class: str = ""  # KServe's class as it has reached the Deployment; replicas are ours under "external"
    created_at: float = 0.0
    template: str = ""  # fingerprint of its pod template (tierwise.template)


@dataclass(frozen=True, slots=True)
class InferenceServiceFacts:
    """The InferenceService: its manifest as read (for comparison), whether it is ours, and what KServe says of it."""

    name: str
    uid: str
    resource_version: str
    manifest: Mapping[str, Any]
    owned: bool  # its controller reference names our tier's UID
    deleting: bool = False
    problem: str = ""  # KServe's own complaint, e.g. an unsupported storage URI


@dataclass(frozen=True, slots=True)
class Workload:
    """Everything that runs for one tier."""

    inference_service: InferenceServiceFacts | None = None
    deployment: DeploymentFacts | None = None
    pods: tuple[PodFacts, ...] = ()  # sorted by name, terminating ones included
    ready_endpoints: frozenset[str] = frozenset()  # names of the pods that the Service sends requests to
    foreign_scalers: tuple[str, ...] = ()  # e.g. ("HorizontalPodAutoscaler/chat",)


@dataclass(frozen=True, slots=True)
class TierView:
    """One tier with all that is known of it. `unread` says why its model's facts are not known (empty: they are, or
    nobody asks for them); `asking`: the first answer about its model is on its way."""

    tier: TierObject
    workload: Workload = field(default_factory=Workload)
    signals: TierSignals = field(default_factory=TierSignals)
    facts: Facts = UNKNOWN
    unread: str = ""
    asking: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The world at one moment; the input of every decision. `tiers` is sorted by key."""

    at: float
    tiers: tuple[TierView, ...]
    metrics: MetricsHealth
    kserve_present: bool = True


@dataclass(frozen=True, slots=True)
class Peak:
    """A recommendation and when it was last made."""

    replicas: int
    at: float


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision leaves for the next: `tierwise.api.status.ScalingMemory` is how it survives a restart.

    `recommended` is None while nothing is remembered: the target must then not fall for one window. What stands below
    `learned_for` is not kept across a restart; losing it never lowers a target."""

    recommended: int | None = None
    peaks: tuple[Peak, ...] = ()
    requests_per_replica: float | None = None
    learned_for: str = ""
    resumed: bool = False  # right after a restart: what the old process saw last is not known
    queued: tuple[tuple[str, float], ...] = ()  # replicas with a queue in the last sample, and what they ran
    measured: tuple[tuple[str, float], ...] | None = None  # replicas, and when each was first sampled; None: not known
    sampled_at: float | None = None  # when the newest sample of the last decision was taken
    observed_at: float | None = None  # when the last decision from complete metrics was made
    forgotten_until: float | None = None  # until when replicas are held because nothing was remembered
    doubts: tuple[tuple[str, float], ...] = ()  # reasons of advice not given yet, and since when they hold


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
class TierPlan:
    """What shall be done for one tier.

    `invalid` (a reason and a message) means: touch nothing. `scale_to` is None when replicas must not be written
    (advisory mode, a foreign scaler, no Deployment yet). `deletion_costs` are written before a scale-down."""

    key: TierKey
    decision: Decision | None
    memory: Memory
    serve: bool = False  # children shall exist
    scale_to: int | None = None
    deletion_costs: tuple[tuple[str, int], ...] = ()
    invalid: tuple[str, str] | None = None
    advice: tuple[Advice, ...] = ()  # sorted, one of each reason
    rollout: Rollout | None = None  # None: the present spec, and nothing new to remember


@dataclass(frozen=True, slots=True)
class Plan:
    """What shall be done, for all tiers, sorted by key."""

    tiers: tuple[TierPlan, ...]


@dataclass(frozen=True, slots=True)
class ActionError:
    """A write that did not succeed: a reason of tierwise.reasons and a message fit for a condition."""

    reason: str
    message: str
    transient: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
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
