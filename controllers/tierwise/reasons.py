"""Which words does Tierwise use for what happened, and what should a person do about each?

One table. A condition, an Event, a metric label and `tierwise explain` use the same constant; docs/conditions.md is
generated from this table and a test refuses a reason that is not in it.
"""

from __future__ import annotations

from dataclasses import dataclass

ACCEPTED, PROVISIONED, METRICS_AVAILABLE = "Accepted", "Provisioned", "MetricsAvailable"
SCALING_ACTIVE, SCALING_LIMITED, READY = "ScalingActive", "ScalingLimited", "Ready"
CONDITION_TYPES = (ACCEPTED, PROVISIONED, METRICS_AVAILABLE, SCALING_ACTIVE, SCALING_LIMITED, READY)


@dataclass(frozen=True, slots=True)
class Reason:
    """A word, the conditions it appears in (or "Advice", "Event", "Step"), what it means, and what to do."""

    word: str
    where: tuple[str, ...]
    meaning: str
    remedy: str = "Nothing."


_TABLE: dict[str, Reason] = {}


def _reason(word: str, where: tuple[str, ...], meaning: str, remedy: str = "Nothing.") -> str:
    if word in _TABLE:
        raise ValueError(f"reason {word} is defined twice")
    _TABLE[word] = Reason(word, where, meaning, remedy)
    return word


# Accepted
VALID = _reason("Valid", (ACCEPTED,), "The spec can be served as it is.")
INVALID_SPEC = _reason(
    "InvalidSpec", (ACCEPTED,), "The spec asks for something impossible.", "Change what the message names."
)
NAME_TOO_LONG = _reason(
    "NameTooLong",
    (ACCEPTED,),
    "Tier name and namespace together are longer than 52 characters, which KServe cannot serve.",
    "Choose a shorter tier name or namespace.",
)
UNSUPPORTED = _reason(
    "Unsupported",
    (ACCEPTED,),
    "This engine version does not have what the spec asks for.",
    "Change the method or engine.version.",
)
ARGUMENT_NOT_ALLOWED = _reason(
    "ArgumentNotAllowed",
    (ACCEPTED,),
    "extraArgs names an argument that is not on the list of allowed ones.",
    "Remove it; use the typed field if there is one.",
)

# Advice that comes from what is measured, or could not be read
PREFIX_CACHE_UNUSED = _reason(
    "PrefixCacheUnused",
    ("Advice",),
    "Requests are served, and no prompt token is found in the prefix cache.",
    "Put what prompts share at their beginning, or set caching.prefix: Disabled.",
)
SPECULATION_SLOWS = _reason(
    "SpeculationSlows",
    ("Advice",),
    "So few drafted tokens are accepted that drafting costs more than it saves.",
    "Choose another method or draft model, fewer tokens, or speculation.mode: Disabled.",
)
MODEL_NOT_READ = _reason(
    "ModelNotRead",
    ("Advice",),
    "The hub did not tell the model's config.json: whether it fits was not checked.",
    "Set the chart value hub.url to a hub that the operator can read, or to nothing.",
)

WRONG_GPU = _reason(
    "WrongGPU",
    (ACCEPTED, "Advice"),
    "No kind of GPU that placement selects can run what the spec asks for (as advice: some kinds cannot).",
    "Change the method or type that the message names, or placement.nodeSelector.",
)
DRIVER_TOO_OLD = _reason(
    "DriverTooOld",
    (ACCEPTED, "Advice"),
    "The engine's CUDA needs a newer driver than the nodes have (as advice: than some of them have).",
    "Upgrade the driver, or select other nodes with placement.nodeSelector.",
)
CONTEXT_TOO_LONG = _reason(
    "ContextTooLong",
    (ACCEPTED,),
    "contextLength is longer than what the model was made for.",
    "Lower contextLength to what the message names.",
)
CONTEXT_DOES_NOT_FIT = _reason(
    "ContextDoesNotFit",
    (ACCEPTED, "Advice"),
    "Beside the weights the GPUs have no room for the KV cache of one context (as advice: on some kinds of GPU).",
    "Lower contextLength, quantize weights or KV cache, raise parallelism.tensor, or use a larger GPU.",
)
WEIGHTS_DO_NOT_FIT = _reason(
    "WeightsDoNotFit",
    (ACCEPTED, "Advice"),
    "The weights alone are larger than the memory that the engine may use (as advice: on some kinds of GPU).",
    "Quantize, raise parallelism.tensor, or use a larger GPU.",
)
NOT_DIVISIBLE = _reason(
    "NotDivisible",
    (ACCEPTED,),
    "The attention heads of the model cannot be shared equally by the GPUs of a layer.",
    "Choose a parallelism.tensor that divides them.",
)
CHECKPOINT_DIFFERS = _reason(
    "CheckpointDiffers",
    (ACCEPTED,),
    "The checkpoint is not quantized the way the spec says.",
    "Set quantization.method to what the message names, or choose another checkpoint.",
)
DRAFT_UNFIT = _reason(
    "DraftUnfit",
    (ACCEPTED,),
    "The draft cannot work with this model.",
    "Choose another speculation.draftModel, method or number of tokens.",
)

# Advice: the spec is served as it is, but something in it does not pay or does nothing
NO_EFFECT = _reason(
    "NoEffect", ("Advice",), "A field does nothing in this combination.", "Remove it, or change what the message names."
)
WEIGHT_ONLY = _reason(
    "WeightOnly",
    ("Advice",),
    "The GPU has no arithmetic for this method: weights take less memory, computing is not faster.",
    "Expect no speed from it, or use a newer GPU.",
)
FEW_BITS_LONG_CONTEXT = _reason(
    "FewBitsLongContext",
    ("Advice",),
    "Weights of 4 bits can lose much quality at 65,536 tokens and more.",
    "Evaluate on long prompts, or use 8 bits.",
)
EXPERTS_ONLY = _reason(
    "ExpertsOnly",
    ("Advice",),
    "The method quantizes only the experts of a mixture-of-experts model; a dense model stays as it is.",
    "Use another method for a dense model.",
)
UNCALIBRATED = _reason(
    "Uncalibrated",
    ("Advice",),
    "An FP8 KV cache uses the scale 1.0 unless the checkpoint brings scales: answers may get worse.",
    "Evaluate, or calibrate the checkpoint.",
)
LESS_PRECISION = _reason(
    "OtherPrecision",
    ("Advice",),
    "The GPU has no bfloat16: the engine computes in float16 instead, whose range is smaller.",
    "Evaluate, or use a GPU of compute capability 8.0 or more.",
)
CONTRACT_CHANGES = _reason(
    "ContractChanges",
    ("Advice",),
    "Requests that other tiers take are refused by this one.",
    "Tell the clients, or turn the tactic off.",
)
NEEDS_PACKAGE = _reason(
    "NeedsPackage",
    ("Advice",),
    "The method needs a package that the engine's own image lacks.",
    "Name an engine.image that has it.",
)
TIGHT_MEMORY = _reason(
    "TightMemory",
    ("Advice",),
    "Weights and one context leave the engine less memory than it usually takes for itself.",
    "Lower contextLength or batching.maxBatchedTokens, or use a larger GPU.",
)
FILE_COUNTS = _reason(
    "FileCounts",
    ("Advice",),
    "A size in model.architecture is not what the model's config.json says; the file counts.",
    "Correct it, or remove it.",
)
UNEVEN_STAGES = _reason(
    "UnevenStages",
    ("Advice",),
    "The stages of the pipeline hold different numbers of layers: the slowest one sets the pace.",
    "Choose a parallelism.pipeline that divides the layers.",
)

# Provisioned
PROVISIONED_OK = _reason("ReplicasExist", (PROVISIONED,), "All children exist as rendered.")
EXTERNAL = _reason("External", (PROVISIONED, METRICS_AVAILABLE, SCALING_ACTIVE), "An external API: nothing runs here.")
CREATING = _reason("Creating", (PROVISIONED,), "The children are being made.")
KSERVE_MISSING = _reason(
    "KServeMissing",
    (PROVISIONED,),
    "The cluster has no InferenceService kind.",
    "Install KServe 0.17 to 0.20.",
)
KSERVE_NOT_ANSWERING = _reason(
    "KServeNotAnswering",
    (PROVISIONED,),
    "KServe's webhook does not answer, so nothing can be created.",
    "Look at the kserve-controller-manager pod.",
)
KSERVE_REFUSED = _reason(
    "KServeRefused",
    (PROVISIONED,),
    "KServe cannot make the children of the InferenceService.",
    "Change what the message names.",
)
APPLY_REFUSED = _reason(
    "ApplyRefused",
    (PROVISIONED,),
    "The API server refused the InferenceService, or a policy of the cluster changes it back after every write.",
    "Change what the message names.",
)
NOT_OURS = _reason(
    "NotOurs",
    (PROVISIONED,),
    "An InferenceService of this name exists and belongs to somebody else.",
    "Rename the tier, or delete that InferenceService.",
)
FORBIDDEN = _reason(
    "Forbidden",
    (PROVISIONED, SCALING_ACTIVE),
    "The operator lacks a right.",
    "Upgrade the chart, or grant the verb.",
)
API_UNAVAILABLE = _reason(
    "APIUnavailable",
    (PROVISIONED, SCALING_ACTIVE),
    "The API server did not answer a write.",
    "It is tried again.",
)
INSUFFICIENT_GPU = _reason(
    "InsufficientGPU",
    (PROVISIONED,),
    "No node has the GPUs that a replica asks for.",
    "Add nodes, or change resources and placement.",
)
UNSCHEDULABLE = _reason(
    "Unschedulable",
    (PROVISIONED,),
    "No node takes a replica: CPU, memory or taints.",
    "Add nodes, or change resources and placement.",
)
IMAGE_PULL = _reason(
    "ImagePullFailed",
    (PROVISIONED,),
    "The engine image cannot be pulled.",
    "Correct engine.image or engine.version, or name a pull secret in placement.imagePullSecrets.",
)
SECRET_MISSING = _reason(
    "ConfigMissing",
    (PROVISIONED,),
    "A Secret, key or ConfigMap that the pod needs does not exist.",
    "Create what the message names.",
)
ENGINE_CRASHED = _reason(
    "EngineCrashed",
    (PROVISIONED,),
    "The engine stops right after it starts.",
    "Read the engine's last line in the message.",
)
ENGINE_OUT_OF_MEMORY = _reason(
    "EngineOutOfMemory",
    (PROVISIONED,),
    "The engine ran out of memory while starting.",
    "Lower contextLength or batching, quantize, or use a larger GPU or more memory.",
)
START_TIMEOUT = _reason(
    "StartTimeout",
    (PROVISIONED,),
    "A replica did not become ready within startupTimeoutSeconds.",
    "Raise startupTimeoutSeconds, or look at the pod's log.",
)
STORAGE_PROBLEM = _reason(
    "StorageProblem", (PROVISIONED,), "KServe cannot use the storage URI or claim.", "Correct model.uri."
)
SURGE_NEEDS_GPU = _reason(
    "SurgeNeedsGPU",
    (PROVISIONED,),
    "A change waits for a spare GPU.",
    "Free one, or set rollout: Replace to stop an old replica first.",
)
ROLLED_BACK = _reason(
    "RolledBack",
    (PROVISIONED,),
    "No replica of the present spec has started, so rollout: Replace serves the last spec that did.",
    "Correct the spec; or set rollout: Surge, which tries it again beside the replicas that serve.",
)
NODE_LOST = _reason(
    "NodeLost",
    (PROVISIONED,),
    "The node of a replica does not answer.",
    "Look at the node. Its replicas are replaced when Kubernetes evicts them: 5 minutes after it was lost, unless "
    "placement.tolerations says otherwise.",
)
POD_REFUSED = _reason(
    "PodRefused",
    (PROVISIONED,),
    "The cluster refuses to create a pod.",
    "Read the message: a quota, a policy or a webhook.",
)
INTERNAL_ERROR = _reason(
    "InternalError",
    (PROVISIONED,),
    "A defect in the operator; the other tiers are served on.",
    "Report it with the operator's log.",
)
DELETING = _reason("Deleting", (PROVISIONED,), "The tier, or its namespace, is being deleted.")

# MetricsAvailable
METRICS_OK = _reason("MetricsFound", (METRICS_AVAILABLE,), "Every ready replica has fresh metrics.")
METRICS_NOT_NEEDED = _reason("NoReplicas", (METRICS_AVAILABLE,), "No replica is ready, so none is measured.")
METRICS_PENDING = _reason(
    "AwaitingScrape", (METRICS_AVAILABLE,), "Replicas are ready for less than three scrapes and not measured yet."
)
PROMETHEUS_ERROR = _reason(
    "PrometheusError",
    (METRICS_AVAILABLE,),
    "Prometheus does not answer, or answers with an error.",
    "Check the chart value prometheus.url and that the operator may reach it.",
)
METRICS_MISSING = _reason(
    "MetricsMissing",
    (METRICS_AVAILABLE,),
    "Ready replicas have no series with the label tierwise_io_tier.",
    "Check that Prometheus selects the PodMonitor (chart value podMonitor.labels).",
)
METRICS_STALE = _reason(
    "MetricsStale",
    (METRICS_AVAILABLE,),
    "Series are older than three scrapes.",
    "Check the scrape targets of the tier in Prometheus.",
)
METRICS_PARTIAL = _reason(
    "MetricsPartial",
    (METRICS_AVAILABLE,),
    "Some ready replicas have no fresh series; the target cannot fall meanwhile.",
    "Look at the replicas that the message names.",
)
METRICS_INVALID = _reason(
    "MetricsInvalid",
    (METRICS_AVAILABLE,),
    "A replica reports NaN, infinite or negative values.",
    "Look at the /metrics of the replicas that the message names.",
)

# ScalingActive
SCALING_OK = _reason("FollowingLoad", (SCALING_ACTIVE,), "Replicas follow the load.")
FOREIGN_SCALER = _reason(
    "ForeignScaler",
    (SCALING_ACTIVE, "Step"),
    "A HorizontalPodAutoscaler or ScaledObject scales the same Deployment.",
    "Delete it, or set scaling.mode: Advisory.",
)
ADVISORY = _reason("Advisory", (SCALING_ACTIVE, "Step"), "Replicas are computed and shown, not written.")
PINNED = _reason(
    "Pinned",
    (SCALING_ACTIVE, SCALING_LIMITED, "Step"),
    "spec.replicas fixes the replicas.",
    "Remove it for automatic.",
)
NOT_ACCEPTED = _reason(
    "NotAccepted",
    (PROVISIONED, METRICS_AVAILABLE, SCALING_ACTIVE, SCALING_LIMITED, READY),
    "The spec is not accepted; what ran before goes on running.",
    "See the condition Accepted.",
)
WAITING_FOR_CHILDREN = _reason("WaitingForDeployment", (SCALING_ACTIVE,), "KServe has not made the Deployment yet.")
CONFLICT = _reason("Conflict", (SCALING_ACTIVE,), "Somebody else wrote at the same time.", "It is decided again.")

# ScalingLimited and the steps of a decision
NOT_LIMITED = _reason("WithinBounds", (SCALING_LIMITED,), "Nothing keeps the target from what the load asks for.")
LOAD = _reason("Load", ("Step", "Event"), "The load asks for this many replicas.")
MIN_REPLICAS = _reason("MinReplicas", (SCALING_LIMITED, "Step"), "scaling.minReplicas keeps the target up.")
MAX_REPLICAS = _reason(
    "MaxReplicas",
    (SCALING_LIMITED, "Step"),
    "scaling.maxReplicas keeps the target down.",
    "Raise it if you can pay.",
)
TOLERANCE = _reason("Tolerance", ("Step",), "The overload is within scaling.tolerancePercent.")
SETTLING = _reason(
    "Settling",
    ("Step",),
    "A replica is measured for the first time: its requests may still be counted where they came from.",
)
SCALE_DOWN_WINDOW = _reason(
    "ScaleDownWindow", (SCALING_LIMITED, "Step"), "A higher target was recommended within the window."
)
HEADROOM = _reason("Headroom", (SCALING_LIMITED, "Step"), "With fewer replicas the rest would be above 80 percent.")
NO_METRICS = _reason(
    "NoMetrics",
    (SCALING_ACTIVE, SCALING_LIMITED, "Step"),
    "Without complete and fresh metrics the target does not fall.",
    "See the condition MetricsAvailable.",
)
NO_MEMORY = _reason(
    "NoMemory", (SCALING_LIMITED, "Step"), "After a restart without memory the target holds one window."
)

# Ready
SERVING = _reason("Serving", (READY,), "At least one replica answers, and all that are wanted.")
DEGRADED = _reason("Degraded", (READY,), "Fewer replicas answer than are wanted.", "See the condition Provisioned.")
STARTING = _reason("Starting", (READY,), "No replica answers yet.", "See the condition Provisioned.")
SCALED_TO_ZERO = _reason("ScaledToZero", (READY,), "spec.replicas is 0: nothing answers, by intent.")
EXTERNAL_READY = _reason("ExternalAPI", (READY,), "Requests go to an external API.")

# Events only
SCALED_UP = _reason("ScaledUp", ("Event",), "Replicas were raised.")
SCALED_DOWN = _reason("ScaledDown", ("Event",), "Replicas were lowered.")
HEALED = _reason("Healed", ("Event",), "A child was edited or deleted by hand and is as rendered again.")
CREATED = _reason("Created", ("Event",), "The InferenceService was made.")
UPDATED = _reason("Updated", ("Event",), "The InferenceService was changed, as the spec says (or the last good one).")


def table() -> tuple[Reason, ...]:
    """Every reason, sorted by its word."""
    return tuple(_TABLE[word] for word in sorted(_TABLE))
