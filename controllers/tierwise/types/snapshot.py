"""Holds what is observed: the snapshot of the cluster and of Prometheus that every decision is made from.

Frozen values, so that a decision can be repeated from its snapshot and no room changes what another one reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.types.capabilities import GPU, UNKNOWN, Facts
from tierwise.types.installations import ALONE, Installations
from tierwise.types.pool import NO_POOLS, Pools

if TYPE_CHECKING:
    from tierwise.types.route import RouteView


class TierKey(NamedTuple):
    """Namespace and name of a ModelTier; a tuple, because it is hashed many times per tier and cycle."""

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
    def has_value(self) -> bool:
        """Whether `value` may be used."""
        return self.state is State.VALUE


MISSING = Signal(State.MISSING)


@dataclass(frozen=True, slots=True)
class PodSample:
    """What Prometheus says of one replica: requests, KV-cache use as a fraction 0..1, and more."""

    pod: str
    running: Signal = MISSING
    waiting: Signal = MISSING
    kv_usage: Signal = MISSING
    kv_capacity_tokens: Signal = MISSING
    tokens_per_second: Signal = MISSING  # prompt + generated


@dataclass(frozen=True, slots=True)
class TierSignals:
    """What Prometheus says of one tier. `pods` is sorted by name and holds only pods the cluster knows too."""

    pods: tuple[PodSample, ...] = ()
    tokens_per_request: Signal = MISSING  # prompt + generated, mean over 5 minutes
    prompt_tokens_per_request: Signal = MISSING  # mean over 5 minutes
    tokens_per_second: Signal = MISSING  # prompt + generated
    prefix_hit_ratio: Signal = MISSING  # 0..1
    accepted_ratio: Signal = MISSING  # 0..1, drafted tokens accepted
    draft_tokens_per_second: Signal = MISSING
    finished_requests: Signal = MISSING  # in 5 minutes
    drafted_tokens: Signal = MISSING  # in 5 minutes
    finished_lately: Signal = MISSING  # requests in a minute
    rejected_lately: Signal = MISSING  # requests that engines did not admit, in a minute
    begun_lately: Signal = MISSING  # requests that got their first token in the last minute
    first_token_seconds: Signal = MISSING  # the sum of their times to it, from when the engine had them
    spoken_lately: Signal = MISSING  # answers of more than one token that ended in the last minute
    late_first_tokens: Signal = MISSING  # of those that began: later than scaling.targets.ttft
    late_answers: Signal = MISSING  # of those that ended: slower than scaling.targets.interToken
    targets_up: int = 0  # scrape targets of the tier that answer
    targets_down: int = 0  # scrape targets of the tier that do not


@dataclass(frozen=True, slots=True)
class RouterSample:
    """What one router says of a tier. `router` is its pod.

    `wanted` counts requests whose first choice the tier was, since the router started; `waiting` and `in_flight` are
    requests now; `refused` those that were not taken in a minute for want of room. `ready_at`: since when it is ready,
    seconds since 1970; None: it is not."""

    router: str
    ready_at: float | None = None
    wanted: Signal = MISSING
    waiting: Signal = MISSING
    in_flight: Signal = MISSING
    refused: Signal = MISSING

    @property
    def ready(self) -> bool:
        """Whether requests reach it."""
        return self.ready_at is not None

    @property
    def signals(self) -> tuple[Signal, ...]:
        """All of them."""
        return (self.wanted, self.waiting, self.in_flight, self.refused)


@dataclass(frozen=True, slots=True)
class RouterSignals:
    """What the routers say of one tier. `routes` are the ModelRoutes over it, `unserved` those without a ready router;
    `routers` is sorted. `known`: whether the routes of the cluster are known at all."""

    routes: tuple[str, ...] = ()
    unserved: tuple[str, ...] = ()
    routers: tuple[RouterSample, ...] = ()
    known: bool = True

    def says_the_same(self, other: RouterSignals) -> bool:
        """Whether nothing differs but the times of the measurements."""
        if self is other:
            return True
        mine, others = (
            [(each.router, each.ready, [(one.state, one.value) for one in each.signals]) for each in said.routers]
            for said in (self, other)
        )
        named = (self.routes, self.unserved, self.known) == (other.routes, other.unserved, other.known)
        return named and mine == others


NO_ROUTERS = RouterSignals()
UNKNOWN_ROUTERS = RouterSignals(known=False)


class SampleTimes(NamedTuple):
    """When a tier was measured: the oldest measurement of a replica that receives requests, and the newest of any; None
    when nothing is measured."""

    oldest: float | None = None
    newest: float | None = None


_UNSAMPLED = SampleTimes()


@dataclass(frozen=True, slots=True)
class MetricsHealth:
    """Whether Prometheus answers. `problem` is fit for a condition; `at` is when it last answered in full;
    `interval_seconds` how often a value can be new (the longer of scrape interval and tick). `latency_problem`: why it
    is not known whether service levels are kept, where the rest is; fit for a condition too."""

    ok: bool
    problem: str = ""
    at: float | None = None
    interval_seconds: float = 10.0
    latency_problem: str = ""


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
    restarted_at: str = ""  # another value than before restarts its replicas


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
    was_ready: bool = False  # it is ready, or has been before
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
    mounting: bool = False  # its kubelet says that it has no volumes or no network yet
    evicted: str = ""  # what its kubelet said when it ended the whole pod, for its disk say
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
    template: str = ""  # fingerprint of its pod template (tierwise.pod_template_hash)
    revision: int = 0  # which of its ReplicaSets is the present one; 0: not known


@dataclass(frozen=True, slots=True)
class ReplicaSetFacts:
    """A ReplicaSet of the predictor's Deployment: there is one for each pod template that it has had."""

    name: str
    uid: str
    resource_version: str
    revision: int  # the Deployment's, when this was its present one
    replicas: int  # asked for
    made: int  # pods that were made of them and do not end


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
    tier: str = ""  # the tier that it was made for, by its label; empty: none

    def is_of_another(self, tier: str) -> bool:
        """Whether another tier's model is served under this name: it answers to the alias of all models, too."""
        return not self.owned and self.tier not in ("", tier)


@dataclass(frozen=True, slots=True)
class Workload:
    """One InferenceService of a tier, and what runs for it. A tier has one for each kind of GPU that it runs on.

    `name` is that of the InferenceService, made or not: it is recorded once and never changes. `spec`: what its
    replicas are made from in its pool; None without a pool (it is the tier's own), and while nothing is known of it.
    `retired`: the tier does not name its pool any more."""

    name: str
    inference_service: InferenceServiceFacts | None = None
    deployment: DeploymentFacts | None = None
    pods: tuple[PodFacts, ...] = ()  # sorted by name, terminating ones included
    ready_endpoints: frozenset[str] = frozenset()  # names of the pods that the Service sends requests to
    headless: bool = False  # the Service has no address of its own: its name stands for the pods
    foreign_scalers: tuple[str, ...] = ()  # e.g. ("HorizontalPodAutoscaler/chat",)
    pool: str = ""  # the GPUPool that it runs in; empty: none
    retired: bool = False
    spec: ModelTierSpec | None = None
    replica_sets: tuple[ReplicaSetFacts, ...] = ()  # sorted by name: the present one, and others that have replicas

    @property
    def present_set(self) -> str:
        """The ReplicaSet of the Deployment's present template; empty while that is not known yet."""
        deployment = self.deployment
        if deployment is None or deployment.revision == 0 or deployment.observed_generation < deployment.generation:
            return ""
        return next((each.name for each in self.replica_sets if each.revision == deployment.revision), "")

    @property
    def replicas(self) -> int:
        """Replicas that are asked for now."""
        return self.deployment.spec_replicas if self.deployment is not None else 0


@dataclass(frozen=True, slots=True, order=True)
class WorkloadKey:
    """One workload of a tier."""

    tier: TierKey
    name: str

    def __str__(self) -> str:
        return str(self.tier) if self.name == self.tier.name else f"{self.tier} ({self.name})"


@dataclass(frozen=True, slots=True)
class TierView:
    """One tier with all that is known of it.

    `metadata_error` says why its model's facts are not known (empty: they are, or nobody asks for them).
    `metadata_pending`: the first answer about its model is on its way.
    Of a tier that is settled, the signals keep the times at which they were first seen; `sampled` has those of now."""

    tier: TierObject
    workloads: tuple[Workload, ...]  # the first is of the tier's first choice; at least one
    signals: TierSignals = field(default_factory=TierSignals)
    facts: Facts = UNKNOWN
    metadata_error: str = ""
    metadata_pending: bool = False
    sampled: SampleTimes = _UNSAMPLED
    routers: RouterSignals = NO_ROUTERS
    gpus: tuple[tuple[str, tuple[GPU, ...]], ...] = ()  # kinds of GPU that replicas may get, by pool
    tier_scalers: tuple[str, ...] = ()  # who scales the ModelTier itself, e.g. ("HorizontalPodAutoscaler/chat",)

    @property
    def pods(self) -> tuple[PodFacts, ...]:
        """The pods of all workloads, terminating ones included."""
        return tuple(pod for workload in self.workloads for pod in workload.pods)

    @property
    def ready_endpoints(self) -> frozenset[str]:
        """Names of the pods that requests are sent to, over all workloads."""
        return frozenset[str]().union(*(workload.ready_endpoints for workload in self.workloads))

    @property
    def deployments(self) -> tuple[DeploymentFacts, ...]:
        """The Deployments that exist."""
        return tuple(each.deployment for each in self.workloads if each.deployment is not None)

    @property
    def staying(self) -> tuple[Workload, ...]:
        """The workloads that are not retired."""
        return tuple(each for each in self.workloads if not each.retired)

    @property
    def replicas(self) -> int:
        """Replicas that are asked for now, over all workloads. While the tier moves from one pool to another, those
        that start and those whose place they take count once: together they are as many as were decided."""
        return self.replicas_with({}, self.tier.status.desired_replicas)

    def replicas_with(self, changed: Mapping[str, int], decided: int) -> int:
        """The same, once some workloads have other numbers of replicas (`changed`, by name) and `decided` is what the
        tier is to have."""
        counts = [(each.retired, changed.get(each.name, each.replicas)) for each in self.workloads]
        staying = sum(replicas for retired, replicas in counts if not retired)
        leaving = sum(replicas for retired, replicas in counts if retired)
        return min(staying + leaving, max(staying, leaving, decided))

    def facts_of(self, workload: Workload) -> Facts:
        """What is known of the model, and of the GPUs on which replicas of one of the workloads may land."""
        if not workload.pool:
            return self.facts
        return replace(self.facts, gpus=dict(self.gpus).get(workload.pool, ()))

    def spec_of(self, workload: Workload) -> ModelTierSpec | None:
        """What the replicas of one of the workloads are made from, by the present spec; None where it is not known."""
        return workload.spec if workload.pool else self.tier.spec

    @property
    def foreign_scalers(self) -> tuple[str, ...]:
        """Who else scales one of the workloads, sorted."""
        return tuple(sorted({scaler for workload in self.workloads for scaler in workload.foreign_scalers}))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The world at one moment; the input of every decision. `tiers` and `routes` are sorted by key.

    The spec of a tier that names pools is the one that it has in the first of them (`tierwise.pool_spec`)."""

    at: float
    tiers: tuple[TierView, ...]
    metrics: MetricsHealth
    kserve_present: bool = True
    routes: tuple[RouteView, ...] = ()
    pools: Pools = NO_POOLS
    installations: Installations = ALONE
