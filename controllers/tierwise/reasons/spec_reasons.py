"""Defines the reasons about a spec: why it cannot be served, and what in it does not pay.

The first kind is a reason of the condition Accepted. The second is advice: the tier is served all the same.
"""

from __future__ import annotations

from tierwise.reasons.table import ACCEPTED, reason

# Accepted
VALID = reason("Valid", (ACCEPTED,), "The spec can be served as it is.")
INVALID_SPEC = reason(
    "InvalidSpec", (ACCEPTED,), "The spec asks for something impossible.", "Change what the message names."
)
NAME_TOO_LONG = reason(
    "NameTooLong",
    (ACCEPTED,),
    "Tier name and namespace together are longer than 52 characters, which KServe cannot serve.",
    "Choose a shorter tier name or namespace.",
)
HOST_PATH_NOT_ALLOWED = reason(
    "HostPathNotAllowed",
    (ACCEPTED,),
    "modelCache.hostPath is in no folder of the nodes that tiers may use.",
    "Use modelCache.pvc or modelCache.ephemeral, or have the folder added to the chart value engines.hostPaths.",
)
REMOTE_CODE_NOT_ALLOWED = reason(
    "RemoteCodeNotAllowed",
    (ACCEPTED,),
    "model.trustRemoteCode lets the checkpoint's own code run, and whoever installed Tierwise does not allow that.",
    "Use a checkpoint whose architecture the engine knows, or have the chart value engines.trustRemoteCode set.",
)
UNPINNED_CODE = reason(
    "UnpinnedCode",
    ("Advice",),
    "Code of the checkpoint runs, and model.revision is no commit: whoever may push there may run code here.",
    "Read the code, and set model.revision to the commit that was read.",
)
HUB_OFFLINE = reason(
    "HubOffline",
    (ACCEPTED,),
    "Engines ask no hub here, and no claim keeps the weights of this hf:// model.",
    "Name a claim that has them in modelCache.pvc, or load them with pvc://. The chart value hub.offline says it.",
)
UNSUPPORTED = reason(
    "Unsupported",
    (ACCEPTED,),
    "This engine version does not have what the spec asks for.",
    "Change what the message names, or engine.version.",
)
ARGUMENT_NOT_ALLOWED = reason(
    "ArgumentNotAllowed",
    (ACCEPTED,),
    "extraArgs names an argument that is not on the list of allowed ones.",
    "Remove it; use the typed field if there is one.",
)

# Advice that comes from what is measured, or could not be read
PREFIX_CACHE_UNUSED = reason(
    "PrefixCacheUnused",
    ("Advice",),
    "Requests are served, and no prompt token is found in the prefix cache.",
    "Put the shared part of prompts at their beginning, or set caching.prefix: Disabled.",
)
SPECULATION_SLOWS = reason(
    "SpeculationSlows",
    ("Advice",),
    "So few drafted tokens are accepted that drafting costs more than it saves.",
    "Choose another method or draft model, fewer tokens, or speculation.mode: Disabled.",
)
MODEL_NOT_READ = reason(
    "ModelNotRead",
    ("Advice",),
    "The model's config.json could not be read from the hub, so whether the model fits was not checked.",
    "Set the chart value hub.url to a hub that the operator can read, or leave it empty to read none.",
)

WRONG_GPU = reason(
    "WrongGPU",
    (ACCEPTED, "Advice"),
    "No kind of GPU that placement selects can run what the spec asks for. As advice: some of these kinds cannot.",
    "Change the method or type that the message names, or placement.nodeSelector.",
)
DRIVER_TOO_OLD = reason(
    "DriverTooOld",
    (ACCEPTED, "Advice"),
    "The engine's CUDA needs a newer driver than the nodes have. As advice: some nodes have it, or a package helps.",
    "Upgrade the driver, switch on CUDA's forward compatibility, or select other nodes with placement.nodeSelector.",
)
CONTEXT_TOO_LONG = reason(
    "ContextTooLong",
    (ACCEPTED, "Advice"),
    "contextLength is longer than the model supports. As advice: a file that was not read may allow it.",
    "Lower contextLength to what the message names.",
)
CONTEXT_DOES_NOT_FIT = reason(
    "ContextDoesNotFit",
    (ACCEPTED, "Advice"),
    "The GPUs have no room for the weights and the KV cache of one context. As advice: on some kinds of GPU.",
    "Lower contextLength, quantize weights or KV cache, raise parallelism.tensor, or use a larger GPU.",
)
WEIGHTS_DO_NOT_FIT = reason(
    "WeightsDoNotFit",
    (ACCEPTED, "Advice"),
    "The weights alone need more memory than the engine may use. As advice: on some kinds of GPU.",
    "Quantize, raise parallelism.tensor, or use a larger GPU.",
)
NOT_DIVISIBLE = reason(
    "NotDivisible",
    (ACCEPTED,),
    "The attention heads of the model cannot be divided equally among the GPUs of a layer.",
    "Choose a parallelism.tensor that divides them.",
)
CHECKPOINT_DIFFERS = reason(
    "CheckpointDiffers",
    (ACCEPTED,),
    "The checkpoint is quantized differently from what the spec says.",
    "Set quantization.method to what the message names, or choose another checkpoint.",
)
DRAFT_UNFIT = reason(
    "DraftUnfit",
    (ACCEPTED,),
    "The draft model or method does not work with this model.",
    "Choose another speculation.draftModel, method or number of tokens.",
)

# Advice: the spec is served as it is, but something in it does not pay or does nothing
NO_EFFECT = reason(
    "NoEffect",
    ("Advice",),
    "A field has no effect in this combination.",
    "Remove it, or change what the message names.",
)
WEIGHT_ONLY = reason(
    "WeightOnly",
    ("Advice",),
    "The GPU has no arithmetic for this method: weights take less memory, computing is not faster.",
    "Use it only to save memory, or use a newer GPU.",
)
FEW_BITS_LONG_CONTEXT = reason(
    "FewBitsLongContext",
    ("Advice",),
    "Weights of 4 bits can lose much quality at 65,536 tokens and more.",
    "Evaluate on long prompts, or use 8 bits.",
)
EXPERTS_ONLY = reason(
    "ExpertsOnly",
    ("Advice",),
    "The method quantizes only the experts of a mixture-of-experts model; a dense model stays as it is.",
    "Use another method for a dense model.",
)
UNCALIBRATED = reason(
    "Uncalibrated",
    ("Advice",),
    "An FP8 KV cache uses the scale 1.0 unless the checkpoint has scales: the quality of answers may fall.",
    "Evaluate the quality, or calibrate the checkpoint.",
)
LESS_PRECISION = reason(
    "OtherPrecision",
    ("Advice",),
    "The GPU does not support bfloat16: the engine computes in float16, which has a smaller range, or in float32.",
    "Evaluate the quality, or use a GPU of compute capability 8.0 or more.",
)
CONTRACT_CHANGES = reason(
    "ContractChanges",
    ("Advice",),
    "This tier refuses requests that other tiers accept.",
    "Inform the clients, or turn off the feature that the message names.",
)
NEEDS_PACKAGE = reason(
    "NeedsPackage",
    ("Advice",),
    "The method needs a package that the engine's default image does not have.",
    "Set engine.image to an image that has it.",
)
NAME_UNKNOWN = reason(
    "NameUnknown",
    ("Advice",),
    "extraArgs names a parser or a backend that this release of the engine does not have.",
    "Correct the name, or make sure that engine.image has it.",
)
NO_API_PATH = reason(
    "NoAPIPath",
    ("Advice",),
    "external.baseURL has no path, so /v1 is added to it: nearly every server answers there.",
    "Write the whole base URL, as a client of that server would: https://HOST/v1.",
)
SCALER_ON_TIER = reason(
    "ScalerOnTier",
    ("Advice",),
    "A HorizontalPodAutoscaler or ScaledObject scales the ModelTier itself, and cannot read its replicas while "
    "spec.replicas is unset.",
    "Delete it, as the tier follows its load by itself; or set spec.replicas once: it then moves that number.",
)
TWO_INSTALLATIONS = reason(
    "TwoInstallations",
    ("Advice",),
    "Another installation of Tierwise would serve this namespace too; it keeps still, and this one acts.",
    "Uninstall one of them, or give each its own namespaces (chart value watch.namespaces).",
)
TIGHT_MEMORY = reason(
    "TightMemory",
    ("Advice",),
    "Weights and one context leave the engine less memory than it usually needs for itself.",
    "Lower contextLength or batching.maxBatchedTokens, or use a larger GPU.",
)
FILE_COUNTS = reason(
    "FileCounts",
    ("Advice",),
    "A size in model.architecture differs from the model's config.json; the file is used.",
    "Correct it, or remove it.",
)
UNEVEN_STAGES = reason(
    "UnevenStages",
    ("Advice",),
    "The stages of the pipeline hold different numbers of layers: the slowest one sets the pace.",
    "Choose a parallelism.pipeline that divides the layers.",
)
