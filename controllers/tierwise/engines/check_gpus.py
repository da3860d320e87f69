"""Checks whether the GPUs that placement selects can run the spec.

Each known kind of GPU is judged alone. A spec is rejected when no kind can run it, and served with advice when only
some cannot: the scheduler may still find a good one. A kind without facts rejects nothing. A finding is reported once,
with the kinds that it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import arg_values
from tierwise.engines.compute_dtype import computed_dtype
from tierwise.engines.finding import Finding
from tierwise.engines.gpu_memory import CERTAIN_OVERHEAD, GIB, USUAL_OVERHEAD, Need, need
from tierwise.engines.hardware import (
    AMD,
    FP8_ARITHMETIC,
    NATIVE_BFLOAT16,
    ROCM_KV_DTYPES,
    SINKS,
    attention_backend,
    consumer,
    memory_mib,
    vendor,
    wanted_vendor,
)
from tierwise.engines.methods import Capability, Method, method_in_use
from tierwise.engines.profiles import Profile
from tierwise.reasons import (
    CONTEXT_DOES_NOT_FIT,
    DRIVER_TOO_OLD,
    LESS_PRECISION,
    TIGHT_MEMORY,
    WEIGHT_ONLY,
    WEIGHTS_DO_NOT_FIT,
    WRONG_GPU,
)
from tierwise.types.capabilities import GPU, Facts, ModelShape


@dataclass(frozen=True, slots=True)
class _Finding:
    """One thing about one kind of GPU: what the spec needs, and what this kind has instead."""

    reason: str
    needs: str
    has: str
    fatal: bool = True


@dataclass(frozen=True, slots=True)
class _Question:
    """What every rule looks at."""

    spec: ModelTierSpec
    release: Profile
    shape: ModelShape | None
    need: Need | None

    @property
    def named(self) -> tuple[str, Method | None]:
        """The quantization method that is really used, with its name."""
        return method_in_use(self.spec.quantization.method, self.shape.quantization if self.shape is not None else "")

    def computed(self, gpu: GPU) -> str | None:
        """The type of numbers that this kind of GPU computes the model in; None when that is not certain."""
        return computed_dtype(self.spec, self.shape, self.release.hardware, gpu.capability)


def check_gpus(spec: ModelTierSpec, release: Profile, facts: Facts) -> list[Finding]:
    """What the known GPUs have against the spec; nothing for a tier without GPUs. `facts` are effective ones."""
    wanted = wanted_vendor(spec.resources.resource_name)
    if spec.resources.gpus == 0 or wanted is None:
        return []
    question = _Question(spec, release, facts.model, need(spec, release, facts))
    # A GPU without a name is one that the nodes count under this resource.
    kinds = [gpu for gpu in facts.gpus if not gpu.product or vendor(gpu) == wanted]
    by_kind = [list(_findings(question, gpu, wanted)) for gpu in kinds]
    refused = bool(by_kind) and all(any(each.fatal for each in found) for found in by_kind)
    return list(_grouped([each for found in by_kind for each in found], refused))


def _grouped(findings: Sequence[_Finding], refused: bool) -> Iterator[Finding]:
    seen: dict[tuple[str, str, bool], list[str]] = {}
    for each in findings:
        seen.setdefault((each.reason, each.needs, each.fatal), []).append(each.has)
    for (reason, needs, fatal), kinds in seen.items():
        known = list(dict.fromkeys(kinds))
        yield Finding(reason, f"{needs}; {', '.join(known)}", fatal and refused)


def _findings(question: _Question, gpu: GPU, wanted: str) -> Iterator[_Finding]:
    rules: tuple[Callable[[_Question, GPU], Iterator[_Finding]], ...] = (_rocm,)
    if wanted != AMD:
        rules = (_driver, _engine, _method, _kv_dtype, _dtype)
    for rule in (*rules, _memory):
        yield from rule(question, gpu)


def _name(gpu: GPU) -> str:
    return gpu.product or "a GPU of unknown product"


def _version(capability: Capability) -> str:
    return f"{capability[0]}.{capability[1]}"


def _driver(question: _Question, gpu: GPU) -> Iterator[_Finding]:
    """Only for the engine's own image: another build may be made for an older CUDA. Whether a node has the forward
    compatibility switched on, nobody can see from here."""
    least, compatible = question.release.hardware.driver, question.release.hardware.compatible_driver
    if question.spec.engine.image is not None or gpu.driver_major is None or gpu.driver_major >= least:
        return
    has = f"a node with {_name(gpu)} has {gpu.driver_major}"
    if gpu.driver_major < compatible or consumer(gpu):
        needs = f"engine.version {question.release.release} needs driver {least} or newer (CUDA 13)"
        yield _Finding(DRIVER_TOO_OLD, needs, has)
        return
    needs = (
        f"engine.version {question.release.release} is built for driver {least} (CUDA 13) and starts on one from "
        f"{compatible} on only with NVIDIA's forward compatibility"
    )
    yield _Finding(DRIVER_TOO_OLD, needs, has, fatal=False)


def _engine(question: _Question, gpu: GPU) -> Iterator[_Finding]:
    least = question.release.hardware.minimum
    if gpu.capability is not None and gpu.capability < least:
        yield _Finding(
            WRONG_GPU,
            f"engine.version {question.release.release} needs compute capability {_version(least)} or more",
            f"{_name(gpu)} has {_version(gpu.capability)}",
        )


def _method(question: _Question, gpu: GPU) -> Iterator[_Finding]:
    name, method = question.named
    if method is None or gpu.capability is None:
        return
    field, has = f"quantization.method {name}", f"{_name(gpu)} has {_version(gpu.capability)}"
    kernel = (arg_values.value(question.spec.extra_args, "--linear-backend") or "auto").lower()
    least = method.minimum
    if kernel != "auto" and least == FP8_ARITHMETIC:
        least = question.release.hardware.minimum  # of a kernel that is chosen nothing is known here
    falls_back = question.release.hardware.plain_fp8_falls_back or method.plain_fp8 is False or kernel != "auto"
    if gpu.capability < least:
        yield _Finding(WRONG_GPU, f"{field} needs compute capability {_version(least)} or more", has)
    elif method.family is not None and gpu.capability[0] != method.family:
        # A dense model would start, since it has no layer that the method is for: it is as wrong there.
        yield _Finding(WRONG_GPU, f"{field} needs compute capability {method.family}.x", has)
    elif gpu.capability < FP8_ARITHMETIC and not falls_back:
        yield _Finding(WRONG_GPU, _no_fallback(question, field, method), has, fatal=bool(method.plain_fp8))
    elif method.native is not None and gpu.capability < method.native:
        yield _Finding(
            WEIGHT_ONLY,
            f"{field} saves memory but no computing below compute capability {_version(method.native)}",
            has,
            fatal=False,
        )


def _no_fallback(question: _Question, field: str, method: Method) -> str:
    release = f"{question.release.engine} {question.release.release}"
    ends = f"{field} ends {release} below compute capability {_version(FP8_ARITHMETIC)}"
    instead = "extraArgs --linear-backend=marlin or engine.version 0.32"
    if method.plain_fp8:
        return f"{ends}: use fp8_per_block, {instead}"
    return f"{ends}, unless the checkpoint is quantized by blocks: use {instead}"


def _kv_dtype(question: _Question, gpu: GPU) -> Iterator[_Finding]:
    dtype, shape = question.spec.quantization.kv_cache_dtype, question.shape
    latent = shape is not None and shape.latent_size is not None
    chosen = arg_values.value(question.spec.extra_args, "--attention-backend")
    if dtype == "auto" or gpu.capability is None or chosen is not None:
        return
    if latent and dtype != "nvfp4":
        return  # backends of their own, which no table here knows
    head_dim = shape.head_dim if shape is not None else None
    sinks = shape is not None and shape.model_type in SINKS
    hardware = question.release.hardware
    if (latent and dtype == "nvfp4") or attention_backend(hardware, gpu.capability, dtype, head_dim, sinks) is None:
        why = "latent attention" if latent else f"heads of {head_dim}" if head_dim else "any head size"
        why = f"{why} and attention sinks" if sinks else why
        yield _Finding(
            WRONG_GPU,
            f"quantization.kvCacheDtype {dtype} has no attention backend in {question.release.engine} "
            f"{question.release.release} here (with {why})",
            f"{_name(gpu)} has compute capability {_version(gpu.capability)}",
        )


def _dtype(question: _Question, gpu: GPU) -> Iterator[_Finding]:
    """bfloat16 where the GPU has none: asked for by name the engine refuses it, else it takes another type instead."""
    if gpu.capability is None or gpu.capability >= NATIVE_BFLOAT16:
        return
    asked, computed = arg_values.dtype(question.spec.extra_args), question.computed(gpu)
    (name, method), shape = question.named, question.shape
    has = f"{_name(gpu)} has {_version(gpu.capability)}"
    if asked == "bfloat16":
        yield _Finding(WRONG_GPU, "extraArgs: --dtype=bfloat16 needs compute capability 8.0 or more", has)
    elif asked == "auto" and computed == "float32" and shape is not None:
        instead = f"computes {shape.model_type} models in float32 below compute capability 8.0"
        if method is not None and computed not in method.types:
            yield _Finding(
                WRONG_GPU, f"quantization.method {name} does not compute in float32: the engine {instead}", has
            )
        else:
            yield _Finding(
                LESS_PRECISION,
                f"model.uri: the engine {instead}, with twice the memory and less speed",
                has,
                fatal=False,
            )
    elif asked == "auto" and (shape is None or shape.dtype != "float16"):
        needs = "the engine computes a bfloat16 model in float16 below compute capability 8.0 (extraArgs: --dtype)"
        yield _Finding(LESS_PRECISION, needs, has, fatal=False)


def _rocm(question: _Question, gpu: GPU) -> Iterator[_Finding]:
    (name, method), dtype = question.named, question.spec.quantization.kv_cache_dtype
    if method is not None and not method.rocm:
        needs = f"quantization.method {name} is not there in the engine's ROCm build"
        yield _Finding(WRONG_GPU, needs, f"{_name(gpu)} is an AMD GPU")
    elif method is not None and not method.rocm_native:
        needs = f"quantization.method {name} is emulated with 16 bits below gfx950: it saves memory alone"
        yield _Finding(WEIGHT_ONLY, needs, f"{_name(gpu)} has no arithmetic for it", fatal=False)
    if dtype not in ROCM_KV_DTYPES:
        needs = f"quantization.kvCacheDtype {dtype} has no attention backend in the engine's ROCm build"
        yield _Finding(WRONG_GPU, needs, f"{_name(gpu)} is an AMD GPU")


def _memory(question: _Question, gpu: GPU) -> Iterator[_Finding]:
    needed, mib = _needed(question, gpu), memory_mib(gpu, question.spec.resources.resource_name)
    if needed is None or mib is None:
        return
    extra, memory = question.spec.extra_args, mib * 1024 * 1024
    share = arg_values.memory_share(extra, question.release.hardware.memory_share)
    fixed = arg_values.kv_cache_bytes(extra)
    room = memory if fixed is not None else int(memory * share)
    has = f"{_name(gpu)} has {_gib(room)} for both" if fixed is None else f"{_name(gpu)} has {_gib(room)}"
    left = room - CERTAIN_OVERHEAD - needed.weights
    cache = left if fixed is None else fixed
    if left <= 0:
        yield _Finding(
            WEIGHTS_DO_NOT_FIT,
            f"the weights take at least {_gib(needed.weights)} on each GPU: quantize with quantization.method, "
            "or raise parallelism.tensor",
            f"{_name(gpu)} has {_gib(room)} for the engine",
        )
    elif needed.kv > cache or (fixed is not None and fixed > left):
        yield _Finding(
            CONTEXT_DOES_NOT_FIT,
            _context_words(needed, fixed),
            f"{has}, room for about {needed.tokens_in(cache):,} tokens",
        )
    elif room - USUAL_OVERHEAD - needed.weights < (needed.kv if fixed is None else fixed):
        yield _Finding(
            TIGHT_MEMORY,
            f"{_gib(needed.weights)} of weights and {_gib(needed.kv)} of KV cache for contextLength "
            f"{needed.context} leave the engine less than {_gib(USUAL_OVERHEAD)} for itself",
            f"{_name(gpu)} has {_gib(room)}",
            fatal=False,
        )


def _needed(question: _Question, gpu: GPU) -> Need | None:
    """What a GPU has to hold; plain weights, and a cache as the model, take twice as much in float32."""
    needed, spec = question.need, question.spec
    drafts = spec.speculation.mode != "Disabled"
    if needed is None or question.named[1] is not None or drafts or question.computed(gpu) != "float32":
        return needed
    cache = 2 if spec.quantization.kv_cache_dtype == "auto" else 1
    return replace(needed, weights=needed.weights * 2, per_token=needed.per_token * cache, window=needed.window * cache)


def _context_words(needed: Need, fixed: int | None) -> str:
    given = "" if fixed is None else f", given {_gib(fixed)} by extraArgs --kv-cache-memory-bytes"
    return (
        f"contextLength {needed.context} needs {_gib(needed.kv)} of KV cache on each GPU{given}, beside at least "
        f"{_gib(needed.weights)} of weights: lower contextLength, or change quantization or parallelism.tensor"
    )


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
