"""Checks whether the model is what the spec assumes, and can be divided among GPUs as the spec asks.

These are the checks that the engine makes minutes later, from the same file: config/model.py of vLLM
(`_verify_quantization`, `_get_and_verify_max_len`, `verify_with_parallel_config`, `_check_valid_dtype`) and
model_executor/layers/linear.py (`QKVParallelLinear`). They agree in 0.30, 0.32 and 0.33; where they do not, the profile
says so.
"""

from __future__ import annotations

from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import arg_values
from tierwise.engines.compute_dtype import computed_dtype
from tierwise.engines.finding import Finding
from tierwise.engines.methods import SAME, method_in_use
from tierwise.engines.profiles import Profile
from tierwise.engines.resolved_facts import certainly_dense, contradictions, reads_params
from tierwise.reasons import (
    CHECKPOINT_DIFFERS,
    CONTEXT_TOO_LONG,
    EXPERTS_ONLY,
    FILE_COUNTS,
    INVALID_SPEC,
    NO_EFFECT,
    NOT_DIVISIBLE,
    UNEVEN_STAGES,
    UNSUPPORTED,
)
from tierwise.types.capabilities import Facts, ModelShape

_OWN_FILE = frozenset({"modelopt", "modelopt_fp4"})  # may describe themselves in hf_quant_config.json instead


def check_model(spec: ModelTierSpec, release: Profile, read: Facts, facts: Facts) -> list[Finding]:
    """What the model's sizes have against the spec. `read` are the facts as they came, `facts` the effective ones."""
    found = [
        Finding(FILE_COUNTS, f"{field}: {said} is not what config.json says ({real}); the file counts", fatal=False)
        for field, said, real in contradictions(spec, read)
    ]
    shape = facts.model
    if shape is None:
        return found
    return [
        *_checkpoint(spec, release, shape),
        *_types(spec, release, shape),
        *_context(spec, shape),
        *_sharing(spec, shape),
        *found,
    ]


def _checkpoint(spec: ModelTierSpec, release: Profile, shape: ModelShape) -> list[Finding]:
    said, real = spec.quantization.method, shape.quantization
    if real in release.deprecated:
        refuses = f"{release.engine} {release.release} refuses {real} checkpoints as deprecated"
        return [Finding(UNSUPPORTED, f"model.uri: {refuses}: {release.deprecated[real]}")]
    if real and real not in release.known_quantization:
        remedy = release.removed.get(real, "choose another checkpoint")
        message = f"model.uri: {release.engine} {release.release} cannot read {real} checkpoints: {remedy}"
        return [Finding(UNSUPPORTED, message)]
    if shape.unsupported:
        refuses = f"{release.engine} {release.release} cannot read {real} checkpoints with {shape.unsupported}"
        return [Finding(UNSUPPORTED, f"model.uri: {refuses}: choose another checkpoint")]
    real = SAME.get(real, real)
    if said in ("none", real) or (said in _OWN_FILE and (not real or real.startswith("modelopt"))):
        return []
    if not real and said in release.checkpoint_quantization:
        instead = "fp8_per_tensor, which quantizes while loading," if said == "fp8" else "none"
        message = f"quantization.method {said}: the checkpoint is not quantized; use {instead} or a {said} checkpoint"
        return [Finding(CHECKPOINT_DIFFERS, message)]
    if real and said in release.online_quantization:
        message = f"quantization.method {said} quantizes a plain checkpoint, and this one is {real} already: use none"
        return [Finding(CHECKPOINT_DIFFERS, message)]
    if real:
        return [Finding(CHECKPOINT_DIFFERS, f"quantization.method {said}: the checkpoint is {real}; say that, or none")]
    return []


def _types(spec: ModelTierSpec, release: Profile, shape: ModelShape) -> list[Finding]:
    """Types of numbers that exclude each other."""
    hardware, asked, cache = release.hardware, arg_values.dtype(spec.extra_args), spec.quantization.kv_cache_dtype
    name, method = method_in_use(spec.quantization.method, shape.quantization)
    computed = computed_dtype(spec, shape, hardware, None)
    found = []
    if asked == "float16" and shape.model_type in hardware.no_float16:
        message = f"extraArgs: --dtype=float16: {release.engine} does not compute {shape.model_type} models in float16"
        found.append(Finding(INVALID_SPEC, message))
    if method is not None and computed is not None and computed not in method.types:
        possible = " or ".join(sorted(method.types))
        message = f"extraArgs: --dtype={asked} is not possible with quantization.method {name}, which computes in"
        message = f"{message} {possible}: remove it"
        if asked == "auto":
            message = f"the model is {computed}, and quantization.method {name} computes in {possible}: "
            message = f"{message}set extraArgs --dtype={min(method.types)}"
        found.append(Finding(INVALID_SPEC, message))
    # A checkpoint of 32 bits is computed in whatever the GPU prefers, so nothing can be held against it here.
    own = asked if asked != "auto" else shape.dtype if shape.dtype in ("float16", "bfloat16") else ""
    if cache in ("float16", "bfloat16") and own and own != cache:
        may_differ = asked == "auto" and own == "bfloat16"  # computed in float16 on a GPU without bfloat16
        message = f"quantization.kvCacheDtype {cache} is not the type of the model ({own}): use auto"
        refused = hardware.refuses_other_float_cache and not may_differ
        found.append(Finding(INVALID_SPEC if refused else NO_EFFECT, message, fatal=refused))
    if method is not None and method.experts_only and certainly_dense(spec, shape):
        message = f"quantization.method {name} quantizes nothing here: the model is dense"
        found.append(Finding(EXPERTS_ONLY, message, fatal=False))
    return found


def _context(spec: ModelTierSpec, shape: ModelShape) -> list[Finding]:
    longest = shape.context_length
    if spec.context_length is None or longest is None or spec.context_length <= longest:
        return []
    message = f"contextLength {spec.context_length} is longer than the model's {longest}: lower it to that or less"
    if reads_params(spec, shape):
        message = f"{message}, unless params.json of the repository allows it"
        return [Finding(CONTEXT_TOO_LONG, message, fatal=False)]
    return [Finding(CONTEXT_TOO_LONG, message)]


def _sharing(spec: ModelTierSpec, shape: ModelShape) -> list[Finding]:
    tensor, pipeline = spec.parallelism.tensor, spec.parallelism.pipeline
    found = []
    if shape.attention_heads is not None and shape.attention_heads % tensor:
        message = f"parallelism.tensor {tensor} does not divide the model's {shape.attention_heads} attention heads"
        found.append(Finding(NOT_DIVISIBLE, message))
    elif shape.kv_heads is not None and shape.latent_size is None:
        more, less = max(tensor, shape.kv_heads), min(tensor, shape.kv_heads)
        if more % less:
            message = f"parallelism.tensor {tensor} and the model's {shape.kv_heads} KV heads do not divide each other"
            found.append(Finding(NOT_DIVISIBLE, message))
    if arg_values.has(spec.extra_args, "--enable-expert-parallel") and certainly_dense(spec, shape):
        found.append(Finding(INVALID_SPEC, "extraArgs: --enable-expert-parallel needs experts, and the model is dense"))
    if shape.layers is not None and shape.layers % pipeline:
        message = f"parallelism.pipeline {pipeline} does not divide the model's {shape.layers} layers"
        found.append(Finding(UNEVEN_STAGES, message, fatal=False))
    return found
