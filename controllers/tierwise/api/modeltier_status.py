"""Defines the status of a ModelTier: what users read, and what a restarted operator needs.

The status has three readers. People read the columns and the conditions; HPA-like clients read the scale fields; the
operator itself reads `scaling.memory`, `rollout` and `inferenceServices` after a restart, so that it decides what it
would have decided without one. Percentages are integers, money is a decimal string, times are RFC 3339: nothing here
is a float, so equal states are equal bytes and a status is written only when it changed.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tierwise.api.base import NAME_LENGTH, NAME_PATTERN, Model, Rule
from tierwise.api.conditions import Condition
from tierwise.api.modeltier import ModelTierSpec

# Characters of a kept spec. A usual one takes 300; with every list and text at its bound it is below 32,000.
SPEC_LENGTH = 32768
# With more InferenceServices than these, of pools that it names and of pools that it left, a tier gets no further one.
MOST_SERVICES = 24
# One for each pool that it names, which may be there though no status has told it yet.
_UNTOLD_SERVICES = 8


class StepStatus(Model):
    """One step of a decision: who changed the target, to what, and why."""

    name: str = Field(max_length=32, description="The step.")
    replicas: int = Field(ge=0, description="Replicas after this step.")
    reason: str = Field(default="", max_length=64, description="One word; empty when the step changed nothing.")
    message: str = Field(default="", max_length=256, description="The figures behind it.")


class DecisionStatus(Model):
    """A change of the target that was made."""

    time: str = Field(max_length=32, description="When it was decided.")
    from_replicas: int = Field(alias="from", ge=0, description="Replicas before.")
    to_replicas: int = Field(alias="to", ge=0, description="Replicas after.")
    reason: str = Field(max_length=64, description="One word.")
    message: str = Field(default="", max_length=256, description="The figures behind it.")


class SignalStatus(Model):
    """A measured value, the time since when it holds, and whether it may be trusted."""

    name: str = Field(max_length=64, description="What was measured.")
    state: Literal["Value", "Missing", "Stale", "Invalid"] = Field(description="Only Value may lower a target.")
    value: str = Field(default="", max_length=32, description="The value, rounded.")
    time: str = Field(
        default="",
        max_length=32,
        description="When the engine first reported this value; measuring an equal value again does not change it.",
    )


class PeakStatus(Model):
    """A recommendation above the present one, and when it was last made. It holds the target up for one window."""

    replicas: int = Field(ge=0, description="Replicas recommended.")
    time: str = Field(max_length=32, description="When that was last recommended.")


class ClampStatus(Model):
    """A pool in which pods of this tier could not be scheduled. One replica more is tried from time to time."""

    pool: str = Field(max_length=NAME_LENGTH, description="Name of the GPUPool.")
    replicas: int = Field(ge=0, description="The most replicas that its nodes took.")
    time: str = Field(max_length=32, description="When that was last found.")
    tries: int = Field(ge=1, le=1000000, description="How often it was found: each time the next try is later.")


class RateStatus(Model):
    """What one replica of this tier makes in a pool while requests wait."""

    pool: str = Field(max_length=NAME_LENGTH, description="Name of the GPUPool.")
    tokens_per_second: str = Field(max_length=16, description="Prompt and generated tokens per second.")
    learned_for: str = Field(max_length=16, description="Fingerprint of the spec it was learned for.")


class CapacityStatus(Model):
    """What one replica can take of requests of one length."""

    prompt: int = Field(ge=1, description="Tokens of the prompt that must be computed: at most so many, on average.")
    answer: int = Field(ge=1, description="Tokens of the answer: at most so many, on average.")
    requests_per_second: str = Field(max_length=16, description="Requests per second of a full replica.")
    share_percent: int = Field(
        ge=1, le=100, description="The part of that at which the service level is kept, in percent."
    )


class ScalingMemory(Model):
    """What the decision after a restart needs from the decisions before it."""

    recommended: int | None = Field(default=None, ge=0, description="The last recommendation, before stabilization.")
    peaks: list[PeakStatus] = Field(
        default_factory=list, max_length=32, description="Higher recommendations in the window."
    )
    requests_per_replica: str | None = Field(
        default=None,
        max_length=16,
        description="Learned capacity: requests that one replica runs at once while others wait.",
    )
    capacities: list[CapacityStatus] = Field(
        default_factory=list,
        max_length=8,
        description="Learned capacity by the length of the requests; the present length first.",
    )
    startup_seconds: int | None = Field(
        default=None, ge=0, description="Measured: seconds from the creation of a pod until it answers requests."
    )
    learned_for: str = Field(default="", max_length=16, description="Fingerprint of the spec it was learned for.")
    clamps: list[ClampStatus] = Field(
        default_factory=list,
        max_length=8,
        description="Pools in which pods could not be scheduled.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["pool"]},
    )
    rates: list[RateStatus] = Field(
        default_factory=list,
        max_length=8,
        description="Learned speed of a busy replica in each pool: what a token costs there decides where it grows.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["pool"]},
    )


class ScalingStatus(Model):
    """The last decision with its reasons, and the last five changes."""

    steps: list[StepStatus] = Field(default_factory=list, max_length=16, description="The last decision, step by step.")
    signals: list[SignalStatus] = Field(
        default_factory=list, max_length=16, description="The measurements that the decision was made from."
    )
    decisions: list[DecisionStatus] = Field(
        default_factory=list, max_length=5, description="The last five changes of the target, newest first."
    )
    memory: ScalingMemory = Field(default_factory=ScalingMemory, description="What a restarted operator needs.")


class RenderedStatus(Model):
    """The spec that the InferenceService was rendered from, and a fingerprint to recognize its Deployment."""

    hash: str = Field(max_length=16, description="Fingerprint of the fields that make a replica.")
    template: str = Field(max_length=16, description="Fingerprint of the pod template made from them.")


class LastGood(Model):
    """The last spec whose replicas were seen to serve: what `rollout: Replace` goes back to."""

    generation: int = Field(ge=0, description="Generation of the spec when its replicas first served.")
    hash: str = Field(max_length=16, description="Fingerprint of the fields that make a replica.")
    replica_set: str = Field(max_length=253, description="ReplicaSet of the replicas that served.")
    spec: str = Field(
        default="",
        max_length=SPEC_LENGTH,
        description="Those fields as JSON, without defaults; empty when they are too long to be kept.",
    )


class FailedSpec(Model):
    """A spec that `rollout: Replace` has given up, until a field that makes a replica changes."""

    generation: int = Field(ge=0, description="Generation of the spec when it was given up.")
    hash: str = Field(max_length=16, description="Fingerprint of the fields that make a replica.")
    reason: str = Field(max_length=64, description="Why no replica of it started.")
    message: str = Field(default="", max_length=512, description="What happened.")


class RolloutStatus(Model):
    """The progress of a change of the spec."""

    rendered: RenderedStatus | None = Field(default=None, description="What the InferenceService was rendered from.")
    last_good: LastGood | None = Field(default=None, description="The last spec that served.")
    failed: FailedSpec | None = Field(default=None, description="The present spec, when it was given up.")


class InferenceServiceRef(Model):
    """A child. Its name is decided once and never changes, since a change would restart GPUs."""

    name: str = Field(max_length=63, description="Name of the InferenceService.")
    pool: str = Field(default="", max_length=NAME_LENGTH, description="GPUPool that it runs in; empty: none.")
    rollout: RolloutStatus | None = Field(
        default=None,
        description="In a pool, the progress of a change there; without pools see status.rollout.",
    )


class AdviceStatus(Model):
    """A setting that works but brings no benefit, has no effect, or would be rejected today."""

    reason: str = Field(max_length=64, description="One word for programs; docs/conditions.md lists them all.")
    message: str = Field(default="", max_length=1024, description="What was found and what to do about it.")


class SpeculationStatus(Model):
    """The state of speculative decoding, read from the rate of drafted tokens."""

    state: Literal["Drafting", "Paused", "Silent", "Idle", "Unknown"] = Field(
        description="Drafting: tokens are drafted. Paused: requests run and none is drafted, as the schedule says for "
        "so large a batch; it resumes by itself when the batch is smaller. Silent: requests run and none is drafted, "
        "though the schedule allows it (n-gram found nothing to repeat, or the method ignores schedules). "
        "Idle: no request runs. Unknown: not measured."
    )
    drafted_per_second: int | None = Field(default=None, ge=0, description="Tokens drafted per second, all replicas.")


class TierPoolStatus(Model):
    """A GPUPool that the tier runs in, and what it has there."""

    name: str = Field(max_length=NAME_LENGTH, description="Name of the GPUPool.")
    replicas: int = Field(default=0, ge=0, description="Replicas that the pool grants.")
    ready: int = Field(default=0, ge=0, description="Replicas there that answer requests.")
    gpus: int = Field(default=0, ge=0, description="GPUs of these replicas.")
    cost_per_hour: str = Field(
        default="", max_length=32, description="US dollars per hour, now; with the word assumed when its price is."
    )
    wanted: int = Field(default=0, ge=0, description="Replicas that the tier asks for, before the pool limits them.")
    cost_per_million_tokens: str = Field(
        default="",
        max_length=48,
        description="US dollars per million tokens of a busy replica, as learned while requests waited. Once it is "
        "known of all pools, the tier grows where it is lowest; until then, where a replica costs least.",
    )
    price_source: str = Field(
        default="",
        max_length=256,
        description="Whose list price the costs of the tier are computed with; empty when pricePerGPUHour is set.",
    )


class ModelTierStatus(Model):
    """The observed state: shown by `kubectl get modeltiers`, read by the operator after a restart."""

    observed_generation: int = Field(default=0, ge=0, description="Generation of the spec this status is about.")
    model: str = Field(default="", max_length=128, description="Model served.")
    state: str = Field(
        default="",
        max_length=32,
        description="One word for the whole tier: Ready, Scaling, Degraded, Unmeasured, Starting, Failed, Stopped, "
        "Idle, Rejected, Deleting or External.",
    )
    reason: str = Field(default="", max_length=64, description="Reason of the condition that `state` stands for.")
    replicas: int = Field(default=0, ge=0, description="Replicas that exist, ready or not.")
    ready_replicas: int = Field(default=0, ge=0, description="Replicas that answer requests.")
    desired_replicas: int = Field(default=0, ge=0, description="The target: how many replicas the operator wants.")
    ready: str = Field(default="", max_length=16, description="Ready of desired replicas, e.g. 2/3.")
    selector: str = Field(default="", max_length=512, description="Label selector of the pods, for scale clients.")
    waiting: int | None = Field(default=None, ge=0, description="Requests waiting in all replicas.")
    kv_cache_percent: int | None = Field(
        default=None, ge=0, le=100, description="Mean KV-cache use of the replicas, in percent."
    )
    prefix_hit_percent: int | None = Field(
        default=None, ge=0, le=100, description="Prompt tokens found in the prefix cache, in percent."
    )
    accepted_percent: int | None = Field(default=None, ge=0, le=100, description="Drafted tokens accepted, in percent.")
    ttft_met_percent: int | None = Field(
        default=None,
        ge=0,
        le=100,
        description="Requests of the last minute that met scaling.targets.ttft, in percent, rounded down.",
    )
    inter_token_met_percent: int | None = Field(
        default=None,
        ge=0,
        le=100,
        description="Answers of the last minute that met scaling.targets.interToken, in percent, rounded down.",
    )
    cost_per_hour: str = Field(
        default="", max_length=32, description="US dollars per hour, now; with the word assumed when its price is."
    )
    cost_per_million_tokens: str = Field(
        default="",
        max_length=48,
        description="US dollars per million tokens, now; for an external API its prices of input and output.",
    )
    limited_by: str = Field(
        default="", max_length=32, description="The reason why the target differs from what the load asks for."
    )
    engine: str = Field(default="", max_length=64, description="Engine and version.")
    quantization: str = Field(default="", max_length=64, description="Weights and KV cache.")
    url: str = Field(
        default="",
        max_length=512,
        description="Address of the tier's OpenAI-compatible API; in several pools that of the first, and a ModelRoute "
        "reaches all of them.",
    )
    speculation: SpeculationStatus | None = Field(
        default=None, description="State of speculative decoding; absent when spec.speculation.mode is Disabled."
    )
    advice: list[AdviceStatus] = Field(
        default_factory=list,
        max_length=12,
        description="Recommendations: settings that work but bring no benefit. One entry of each reason, sorted.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["reason"]},
    )
    placed: str = Field(
        default="", max_length=512, description="Ready of granted replicas in each pool, e.g. l4 2/2, h100 0/1."
    )
    pools: list[TierPoolStatus] = Field(
        default_factory=list,
        max_length=8,
        description="The GPUPools that the tier runs in.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    inference_services: list[InferenceServiceRef] = Field(
        default_factory=list,
        max_length=MOST_SERVICES + _UNTOLD_SERVICES,
        description="The InferenceServices of this tier: one for each pool, and those that end.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    scaling: ScalingStatus = Field(default_factory=ScalingStatus, description="The last decision.")
    rollout: RolloutStatus = Field(default_factory=RolloutStatus, description="The progress of a change of the spec.")
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=8,
        description="Conditions as in metav1, one of each type.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


class ModelTier(Model):
    """One model at one quality and price, and how many replicas of it run."""

    cel = (
        Rule(
            expression=f"self.metadata.name.size() <= {NAME_LENGTH}",
            message=f"the name of a tier has at most {NAME_LENGTH} characters",
        ),
        Rule(
            expression=f"self.metadata.name.matches('{NAME_PATTERN}')",
            message="the name of a tier is lower-case letters, digits and dashes, and starts with a letter",
        ),
    )

    spec: ModelTierSpec = Field(description="The desired state.")
    status: ModelTierStatus = Field(default_factory=ModelTierStatus, description="The observed state.")
