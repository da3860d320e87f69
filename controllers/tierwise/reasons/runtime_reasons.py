"""Defines the reasons about what runs: children, measurements, scaling, replicas."""

from __future__ import annotations

from tierwise.reasons.table import (
    METRICS_AVAILABLE,
    PROVISIONED,
    READY,
    SCALING_ACTIVE,
    SCALING_LIMITED,
    reason,
)

# Provisioned
PROVISIONED_OK = reason("ReplicasExist", (PROVISIONED,), "All children exist as rendered.")
EXTERNAL = reason("External", (PROVISIONED, METRICS_AVAILABLE, SCALING_ACTIVE), "An external API: nothing runs here.")
CREATING = reason("Creating", (PROVISIONED,), "The children are being made.")
KSERVE_MISSING = reason(
    "KServeMissing",
    (PROVISIONED,),
    "The cluster has no InferenceService kind.",
    "Install KServe 0.17 to 0.20.",
)
KSERVE_NOT_ANSWERING = reason(
    "KServeNotAnswering",
    (PROVISIONED,),
    "KServe's webhook does not answer, so nothing can be created.",
    "Look at the kserve-controller-manager pod.",
)
KSERVE_REFUSED = reason(
    "KServeRefused",
    (PROVISIONED,),
    "KServe cannot make the children of the InferenceService.",
    "Change what the message names.",
)
APPLY_REFUSED = reason(
    "ApplyRefused",
    (PROVISIONED,),
    "The API server refused the InferenceService, or a policy of the cluster changes it back after every write.",
    "Change what the message names.",
)
NOT_OURS = reason(
    "NotOurs",
    (PROVISIONED,),
    "An InferenceService of this name exists and belongs to somebody else.",
    "Rename the tier, or delete that InferenceService.",
)
FORBIDDEN = reason(
    "Forbidden",
    (PROVISIONED, SCALING_ACTIVE),
    "The operator lacks a right.",
    "Upgrade the chart, or grant the verb.",
)
API_UNAVAILABLE = reason(
    "APIUnavailable",
    (PROVISIONED, SCALING_ACTIVE),
    "The API server did not answer a write.",
    "It is tried again.",
)
INSUFFICIENT_GPU = reason(
    "InsufficientGPU",
    (PROVISIONED,),
    "No node has the GPUs that a replica asks for.",
    "Add nodes, or change resources and placement.",
)
UNSCHEDULABLE = reason(
    "Unschedulable",
    (PROVISIONED,),
    "No node takes a replica: CPU, memory or taints.",
    "Add nodes, or change resources and placement.",
)
IMAGE_PULL = reason(
    "ImagePullFailed",
    (PROVISIONED,),
    "The engine image cannot be pulled.",
    "Correct engine.image or engine.version, or name a pull secret in placement.imagePullSecrets.",
)
SECRET_MISSING = reason(
    "ConfigMissing",
    (PROVISIONED,),
    "A Secret, key or ConfigMap that the pod needs does not exist.",
    "Create what the message names.",
)
ENGINE_CRASHED = reason(
    "EngineCrashed",
    (PROVISIONED,),
    "The engine stops right after it starts.",
    "Read the engine's last line in the message.",
)
ENGINE_OUT_OF_MEMORY = reason(
    "EngineOutOfMemory",
    (PROVISIONED,),
    "The engine ran out of memory while starting.",
    "Lower contextLength or batching, quantize, or use a larger GPU or more memory.",
)
START_TIMEOUT = reason(
    "StartTimeout",
    (PROVISIONED,),
    "A replica did not become ready within startupTimeoutSeconds.",
    "Raise startupTimeoutSeconds, or look at the pod's log.",
)
STORAGE_PROBLEM = reason(
    "StorageProblem", (PROVISIONED,), "KServe cannot use the storage URI or claim.", "Correct model.uri."
)
SURGE_NEEDS_GPU = reason(
    "SurgeNeedsGPU",
    (PROVISIONED,),
    "A change waits for a spare GPU.",
    "Free one, or set rollout: Replace to stop an old replica first.",
)
ROLLED_BACK = reason(
    "RolledBack",
    (PROVISIONED,),
    "No replica of the present spec has started, so rollout: Replace serves the last spec that did.",
    "Correct the spec; or set rollout: Surge, which tries it again beside the replicas that serve.",
)
NODE_LOST = reason(
    "NodeLost",
    (PROVISIONED,),
    "The node of a replica does not answer.",
    "Look at the node. Its replicas are replaced when Kubernetes evicts them: 5 minutes after it was lost, unless "
    "placement.tolerations says otherwise.",
)
POD_REFUSED = reason(
    "PodRefused",
    (PROVISIONED,),
    "The cluster refuses to create a pod.",
    "Read the message: a quota, a policy or a webhook.",
)
INTERNAL_ERROR = reason(
    "InternalError",
    (PROVISIONED,),
    "A defect in the operator; the other tiers are served on.",
    "Report it with the operator's log.",
)
DELETING = reason("Deleting", (PROVISIONED,), "The tier, or its namespace, is being deleted.")

# MetricsAvailable
METRICS_OK = reason("MetricsFound", (METRICS_AVAILABLE,), "Every ready replica has fresh metrics.")
METRICS_NOT_NEEDED = reason("NoReplicas", (METRICS_AVAILABLE,), "No replica is ready, so none is measured.")
METRICS_PENDING = reason(
    "AwaitingScrape", (METRICS_AVAILABLE,), "Replicas are ready for less than three scrapes and not measured yet."
)
PROMETHEUS_ERROR = reason(
    "PrometheusError",
    (METRICS_AVAILABLE,),
    "Prometheus does not answer, or answers with an error.",
    "Check the chart value prometheus.url and that the operator may reach it.",
)
METRICS_MISSING = reason(
    "MetricsMissing",
    (METRICS_AVAILABLE,),
    "Ready replicas have no series with the label tierwise_io_tier.",
    "Check that Prometheus selects the PodMonitor (chart value podMonitor.labels).",
)
METRICS_STALE = reason(
    "MetricsStale",
    (METRICS_AVAILABLE,),
    "Series are older than three scrapes.",
    "Check the scrape targets of the tier in Prometheus.",
)
METRICS_PARTIAL = reason(
    "MetricsPartial",
    (METRICS_AVAILABLE,),
    "Some ready replicas have no fresh series; the target cannot fall meanwhile.",
    "Look at the replicas that the message names.",
)
METRICS_INVALID = reason(
    "MetricsInvalid",
    (METRICS_AVAILABLE,),
    "A replica reports NaN, infinite or negative values.",
    "Look at the /metrics of the replicas that the message names.",
)

# ScalingActive
SCALING_OK = reason("FollowingLoad", (SCALING_ACTIVE,), "Replicas follow the load.")
FOREIGN_SCALER = reason(
    "ForeignScaler",
    (SCALING_ACTIVE, "Step"),
    "A HorizontalPodAutoscaler or ScaledObject scales the same Deployment.",
    "Delete it, or set scaling.mode: Advisory.",
)
ADVISORY = reason("Advisory", (SCALING_ACTIVE, "Step"), "Replicas are computed and shown, not written.")
PINNED = reason(
    "Pinned",
    (SCALING_ACTIVE, SCALING_LIMITED, "Step"),
    "spec.replicas fixes the replicas.",
    "Remove it for automatic.",
)
NOT_ACCEPTED = reason(
    "NotAccepted",
    (PROVISIONED, METRICS_AVAILABLE, SCALING_ACTIVE, SCALING_LIMITED, READY),
    "The spec is not accepted; what ran before goes on running.",
    "See the condition Accepted.",
)
WAITING_FOR_CHILDREN = reason("WaitingForDeployment", (SCALING_ACTIVE,), "KServe has not made the Deployment yet.")
CONFLICT = reason("Conflict", (SCALING_ACTIVE,), "Somebody else wrote at the same time.", "It is decided again.")

# ScalingLimited and the steps of a decision
NOT_LIMITED = reason("WithinBounds", (SCALING_LIMITED,), "Nothing keeps the target from what the load asks for.")
LOAD = reason("Load", ("Step", "Event"), "The load asks for this many replicas.")
MIN_REPLICAS = reason("MinReplicas", (SCALING_LIMITED, "Step"), "scaling.minReplicas keeps the target up.")
MAX_REPLICAS = reason(
    "MaxReplicas",
    (SCALING_LIMITED, "Step"),
    "scaling.maxReplicas keeps the target down.",
    "Raise it if you can pay.",
)
TOLERANCE = reason("Tolerance", ("Step",), "The overload is within scaling.tolerancePercent.")
SETTLING = reason(
    "Settling",
    ("Step",),
    "A replica is measured for the first time: its requests may still be counted where they came from.",
)
SCALE_DOWN_WINDOW = reason(
    "ScaleDownWindow", (SCALING_LIMITED, "Step"), "A higher target was recommended within the window."
)
HEADROOM = reason("Headroom", (SCALING_LIMITED, "Step"), "With fewer replicas the rest would be above 80 percent.")
NO_METRICS = reason(
    "NoMetrics",
    (SCALING_ACTIVE, SCALING_LIMITED, "Step"),
    "Without complete and fresh metrics the target does not fall.",
    "See the condition MetricsAvailable.",
)
NO_MEMORY = reason("NoMemory", (SCALING_LIMITED, "Step"), "After a restart without memory the target holds one window.")

# Ready
SERVING = reason("Serving", (READY,), "At least one replica answers, and all that are wanted.")
DEGRADED = reason("Degraded", (READY,), "Fewer replicas answer than are wanted.", "See the condition Provisioned.")
STARTING = reason("Starting", (READY,), "No replica answers yet.", "See the condition Provisioned.")
SCALED_TO_ZERO = reason("ScaledToZero", (READY,), "spec.replicas is 0: nothing answers, by intent.")
EXTERNAL_READY = reason("ExternalAPI", (READY,), "Requests go to an external API.")

# Events only
SCALED_UP = reason("ScaledUp", ("Event",), "Replicas were raised.")
SCALED_DOWN = reason("ScaledDown", ("Event",), "Replicas were lowered.")
HEALED = reason("Healed", ("Event",), "A child was edited or deleted by hand and is as rendered again.")
CREATED = reason("Created", ("Event",), "The InferenceService was made.")
UPDATED = reason("Updated", ("Event",), "The InferenceService was changed, as the spec says (or the last good one).")
