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
PROVISIONED_OK = reason("ReplicasExist", (PROVISIONED,), "All child objects exist as rendered.")
EXTERNAL = reason(
    "External",
    (PROVISIONED, METRICS_AVAILABLE, SCALING_ACTIVE),
    "An external API serves this tier: nothing runs in the cluster.",
)
CREATING = reason("Creating", (PROVISIONED,), "The child objects are being created.")
KSERVE_MISSING = reason(
    "KServeMissing",
    (PROVISIONED,),
    "The cluster has no InferenceService kind.",
    "Install KServe; the README lists the releases that are tested.",
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
    "KServe cannot create the children of the InferenceService.",
    "Change what the message names.",
)
APPLY_REFUSED = reason(
    "ApplyRefused",
    (PROVISIONED,),
    "The API server refused a child object, or a policy of the cluster changes it back after every write.",
    "Change what the message names.",
)
NOT_OURS = reason(
    "NotOurs",
    (PROVISIONED,),
    "A child object of this name exists and belongs to somebody else.",
    "Rename the tier or route, or delete that object.",
)
TOO_MANY_SERVICES = reason(
    "TooManyServices",
    (PROVISIONED,),
    "InferenceServices of pools that the tier left have not ended, and with those of the pools that it names now they "
    "would be more than 24. None is made in another pool.",
    "Name a pool that the tier still runs in (status.inferenceServices), until what it left has ended.",
)
FORBIDDEN = reason(
    "Forbidden",
    (PROVISIONED, SCALING_ACTIVE),
    "The operator has no permission for a request.",
    "Upgrade the chart, or grant the verb that the message names.",
)
API_UNAVAILABLE = reason(
    "APIUnavailable",
    (PROVISIONED, SCALING_ACTIVE),
    "The API server did not answer a write.",
    "The operator tries again.",
)
INSUFFICIENT_GPU = reason(
    "InsufficientGPU",
    (PROVISIONED,),
    "No node has the GPUs that a replica asks for. The tier is Starting for ten minutes, as nodes may be started for "
    "it, and Failed after that.",
    "Add nodes, tolerate their taints (placement.tolerations), or change resources and placement.",
)
UNSCHEDULABLE = reason(
    "Unschedulable",
    (PROVISIONED,),
    "No node takes a replica: CPU, memory or taints.",
    "Add nodes, or change resources and placement.",
)
UNTOLERATED_TAINT = reason(
    "UntoleratedTaint",
    (PROVISIONED,),
    "Nodes are kept from a replica by a taint that it does not tolerate.",
    "Tolerate the taint in placement.tolerations, or select other nodes.",
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
    "A Secret, key or ConfigMap that the pod needs does not exist, or a folder of the node.",
    "Create what the message names.",
)
ENGINE_CRASHED = reason(
    "EngineCrashed",
    (PROVISIONED,),
    "The engine exits right after it starts.",
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
    "StorageProblem",
    (PROVISIONED,),
    "KServe cannot use the storage URI or claim, or an adapter could not be fetched.",
    "Correct model.uri, or the adapter that the message names.",
)
STORAGE_OUT_OF_MEMORY = reason(
    "StorageOutOfMemory",
    (PROVISIONED,),
    "KServe's storage initializer, which brings the weights, was killed for its memory.",
    "Raise its memory limit: in KServe's ClusterStorageContainer (spec.container.resources), or memoryLimit under "
    "storageInitializer in its ConfigMap inferenceservice-config. Weights from hf:// and pvc:// need no initializer.",
)
CLAIM_PROBLEM = reason(
    "ClaimProblem",
    (PROVISIONED,),
    "A PersistentVolumeClaim of the tier does not exist, is not bound, is elsewhere than the tier's nodes, or cannot "
    "be mounted by one more pod.",
    "Create the claim that model.cachePVC, modelCache.pvc or a pvc:// address names; for several replicas its access "
    "mode is ReadWriteMany, or ReadOnlyMany; for one, rollout: Replace ends the old replica before a change.",
)
EVICTED = reason(
    "Evicted",
    (PROVISIONED,),
    "A node ends replicas while they start: they fill its disk, or its memory.",
    "Ask for the room that a start takes: resources.ephemeralStorage, or modelCache on a volume; resources.memory.",
)
CONTAINER_FAILED = reason(
    "ContainerFailed",
    (PROVISIONED,),
    "A container beside the engine fails, which KServe, a mesh or a policy has added to the pod.",
    "Look at the log of the container that the message names, and at who adds it.",
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
    "No replica of the present spec could start, so rollout: Replace serves the last spec that did.",
    "Correct the spec; or set rollout: Surge, which tries it again while the other replicas serve.",
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
    "A defect in the operator; other tiers and routes are not affected.",
    "Report it with the operator's log.",
)
DELETING = reason("Deleting", (PROVISIONED,), "The tier or route, or its namespace, is being deleted.")

# MetricsAvailable
METRICS_OK = reason(
    "MetricsFound", (METRICS_AVAILABLE,), "Every ready replica, or router of a route, has fresh metrics."
)
METRICS_NOT_NEEDED = reason(
    "NoReplicas", (METRICS_AVAILABLE,), "No replica, or router of a route, is ready, so none is measured."
)
METRICS_PENDING = reason(
    "AwaitingScrape",
    (METRICS_AVAILABLE,),
    "Replicas, or routers of a route, became ready less than three scrapes ago and are not measured yet.",
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
    "Some ready replicas have no fresh series; until they do, the target cannot fall.",
    "Look at the replicas that the message names.",
)
LATENCY_UNKNOWN = reason(
    "LatencyUnknown",
    (METRICS_AVAILABLE,),
    "Prometheus does not say how soon answers begin and come, so it is not known whether scaling.targets are kept. "
    "Replicas follow the load meanwhile.",
    "If the message is about time, raise the chart value prometheus.queryTimeoutSeconds; else see Prometheus' own log.",
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
    "spec.replicas sets a fixed number of replicas.",
    "Remove spec.replicas to return to automatic scaling.",
)
NOT_ACCEPTED = reason(
    "NotAccepted",
    (PROVISIONED, METRICS_AVAILABLE, SCALING_ACTIVE, SCALING_LIMITED, READY),
    "The spec is not accepted; what ran before keeps running.",
    "See the condition Accepted.",
)
WAITING_FOR_CHILDREN = reason("WaitingForDeployment", (SCALING_ACTIVE,), "KServe has not created the Deployment yet.")
CONFLICT = reason(
    "Conflict",
    (SCALING_ACTIVE,),
    "Another client wrote the object at the same time.",
    "The operator decides again in the next cycle.",
)

# ScalingLimited and the steps of a decision
NOT_LIMITED = reason("WithinBounds", (SCALING_LIMITED,), "Nothing keeps the target from what the load asks for.")
LOAD = reason("Load", ("Step", "Event"), "The load asks for this many replicas.")
MIN_REPLICAS = reason("MinReplicas", (SCALING_LIMITED, "Step"), "scaling.minReplicas keeps the target up.")
MAX_REPLICAS = reason(
    "MaxReplicas",
    (SCALING_LIMITED, "Step"),
    "scaling.maxReplicas keeps the target down.",
    "Raise scaling.maxReplicas if you can pay for more replicas.",
)
TOLERANCE = reason("Tolerance", ("Step",), "The overload is within scaling.tolerancePercent.")
LOOK_AHEAD = reason(
    "LookAhead",
    ("Step", "Event"),
    "The requests that may come while a replica starts ask for more replicas than those that are there now.",
)
TARGET = reason(
    "Target",
    (SCALING_LIMITED, "Step", "Event"),
    "scaling.targets is missed: replicas are added, and none is removed.",
)
TARGET_OUT_OF_REACH = reason(
    "TargetOutOfReach",
    ("Step",),
    "scaling.targets is missed although the replicas are nearly idle: more of them would not help.",
    "Choose a target that one replica can keep, a faster GPU, more GPUs per replica, or a smaller batch.",
)
SETTLING = reason(
    "Settling",
    ("Step",),
    "A new replica is measured for the first time: its requests may also be counted on another replica.",
)
SCALE_DOWN_WINDOW = reason(
    "ScaleDownWindow",
    (SCALING_LIMITED, "Step"),
    "A higher target was recommended within scaling.scaleDownWindowSeconds.",
)
HEADROOM = reason(
    "Headroom",
    (SCALING_LIMITED, "Step"),
    "With fewer replicas, the remaining ones would be above 80 percent of their capacity.",
)
NO_METRICS = reason(
    "NoMetrics",
    (SCALING_ACTIVE, SCALING_LIMITED, "Step"),
    "Without complete and fresh metrics the target does not fall.",
    "See the condition MetricsAvailable.",
)
NO_MEMORY = reason(
    "NoMemory",
    (SCALING_LIMITED, "Step"),
    "No earlier recommendation is known, so the target does not fall for one scaling.scaleDownWindowSeconds.",
)
ROUTER_DEMAND = reason(
    "RouterDemand",
    ("Step", "Event"),
    "What waits in the routers, or was refused by them or by the engines in the last minute, asks for more replicas.",
)
NO_ROUTER_METRICS = reason(
    "NoRouterMetrics",
    (SCALING_LIMITED, "Step"),
    "The routers of a ModelRoute over this tier are not measured in full, so requests may wait there unseen: the "
    "target does not fall.",
    "Check that Prometheus scrapes the routers that the message names (PodMonitor, chart value podMonitor.labels).",
)
NOT_ROUTED = reason(
    "NotRouted",
    (SCALING_LIMITED, "Step"),
    "scaling.minReplicas is 0, but no ModelRoute of the namespace names the tier: nothing could start it again, so one "
    "replica stays.",
    "Name the tier in a ModelRoute, or set scaling.minReplicas to 1.",
)
FIRST_REPLICA = reason(
    "FirstReplica",
    ("Step", "Event"),
    "No replica runs, and not because the tier was idle: one starts, which shows that the spec can start and how long "
    "that takes.",
)
WANTED = reason(
    "Wanted", ("Step", "Event"), "A request wanted the tier within scaling.idleSeconds, so one replica runs."
)

# Ready
SERVING = reason("Serving", (READY,), "All desired replicas answer.")
DEGRADED = reason(
    "Degraded", (READY,), "Some replicas answer, but fewer than desired.", "See the condition Provisioned."
)
STARTING = reason("Starting", (READY,), "No replica answers yet.", "See the condition Provisioned.")
SCALED_TO_ZERO = reason("ScaledToZero", (READY,), "spec.replicas is 0, so no replica runs.")
IDLE = reason(
    "Idle",
    (READY, "Step", "Event"),
    "No request wanted the tier for scaling.idleSeconds, so no replica runs. The next one in a router starts it.",
)
EXTERNAL_READY = reason("ExternalAPI", (READY,), "Requests go to an external API.")

# Events only
SCALED_UP = reason("ScaledUp", ("Event",), "The number of replicas was raised.")
SCALED_DOWN = reason("ScaledDown", ("Event",), "The number of replicas was lowered.")
FORMER_REPLICAS_ENDED = reason(
    "FormerReplicasEnded",
    ("Event",),
    "Replicas of a former spec that never answered were ended, so that they hold no GPU that the present spec needs.",
)
HEALED = reason("Healed", ("Event",), "A child object that was changed or deleted by hand has been restored.")
CREATED = reason("Created", ("Event",), "The InferenceService of a tier, or what a route is made of, was created.")
RETIRED = reason(
    "Retired",
    ("Event",),
    "The InferenceService of a pool that the tier does not name any more ends: it has no replica left.",
)
UPDATED = reason(
    "Updated",
    ("Event",),
    "The child objects were updated to the spec, or to the last spec of the tier that served.",
)
