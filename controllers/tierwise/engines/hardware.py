"""Which GPU can run what, by release of the engine?

Read in the sources of vLLM 0.30.0, 0.32.0 and 0.33.0 and compared with them again by the test-suite
(tests/judges/test_hardware.py): `get_min_capability` of the quantization methods, `supported_quantization` of the ROCm
platform, the backends of the attention under v1/attention/backends and their order in platforms/cuda.py, the batch
limits of engine/arg_utils.py, the CUDA release of envs.py. Capabilities compare as (major, minor).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tierwise.facts import GPU

Capability = tuple[int, int]

NVIDIA, AMD = "nvidia", "amd"
NATIVE_BFLOAT16: Capability = (8, 0)  # platforms/cuda.py supported_dtypes: below it only float16 and float32
TRITON_FP8: Capability = (8, 9)  # v1/attention/backends/triton_attn.py refuses an FP8 cache below it
_SLICE = re.compile(r"mig-\d+g\.(\d+)gb", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Method:
    """What a quantization method needs: `minimum` to start, `native` for its own arithmetic (below it the weights are
    unpacked and computed in 16 bits; None: that is how the method always works), `family` when it runs on GPUs of one
    major capability alone. `bits` of a quantized weight, `word` for what a fall-back is called."""

    minimum: Capability
    bits: float
    native: Capability | None = None
    family: int | None = None
    rocm: bool = True
    rocm_native: bool = True  # MI300X (gfx942) has FP8 arithmetic and none for the formats of 4 bits and MX


# Kernels are built for 7.5 and above, so a minimum that the method itself sets lower does not help.
METHODS: Mapping[str, Method] = {
    "fp8_per_tensor": Method((7, 5), 8, native=(8, 9)),
    "fp8_per_channel": Method((7, 5), 8, native=(8, 9)),
    "fp8_per_block": Method((7, 5), 8, native=(8, 9)),
    "mxfp8": Method((7, 5), 8.25, native=(10, 0), rocm_native=False),
    "mxfp4": Method((7, 5), 4.25, native=(10, 0), rocm_native=False),
    "int8_per_channel_weight_only": Method((7, 5), 8, rocm=False),
    "nvfp4_per_token": Method((7, 5), 4.5, family=10, rocm=False),
    "compressed-tensors": Method((7, 0), 4),
    "awq": Method((7, 5), 4),
    "gptq": Method((6, 0), 2),
    "fp8": Method((7, 5), 8, native=(8, 9)),
    "modelopt": Method((8, 0), 8, native=(8, 9)),
    "modelopt_fp4": Method((7, 5), 4.5, native=(10, 0), rocm_native=False),
    "quark": Method((7, 0), 4),
    "torchao": Method((7, 5), 1),
}
MXFP4_CHECKPOINT: Capability = (8, 0)  # a checkpoint of mxfp4 is another class than the online method
# What a checkpoint calls its method -> what the spec calls it, where the engine takes one for the other.
SAME: Mapping[str, str] = {
    "auto_awq": "awq",
    "auto_gptq": "gptq",
    "awq_marlin": "awq",
    "deepseek_v4_fp8": "fp8",
    "gpt_oss_mxfp4": "mxfp4",
    "gptq_marlin": "gptq",
}


@dataclass(frozen=True, slots=True)
class Backend:
    """One attention backend: from which capability to which, and the types of the KV cache it takes."""

    name: str
    minimum: Capability
    maximum: Capability
    kv_dtypes: frozenset[str]
    head_dims: frozenset[int] = frozenset()  # empty: any


_PLAIN = frozenset({"auto", "float16", "bfloat16"})
_ANY: Capability = (99, 9)
FLASH_ATTN = Backend("FLASH_ATTN", (8, 0), _ANY, _PLAIN | {"fp8", "fp8_e4m3"})
FLASHINFER = Backend(
    "FLASHINFER",
    (8, 0),
    (12, 1),
    _PLAIN | {"fp8", "fp8_e4m3", "fp8_e5m2", "nvfp4"},
    frozenset({64, 128, 256, 512}),
)
TRITON_ATTN = Backend("TRITON_ATTN", (0, 0), _ANY, _PLAIN | {"fp8", "fp8_e4m3", "fp8_e5m2"})
ROCM_KV_DTYPES = _PLAIN | {"fp8", "fp8_e4m3", "fp8_e5m2"}  # of every ROCm backend


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """The engine's own batch limits from a memory on (bytes); `but` names products that get the next lower ones."""

    memory_bytes: int
    tokens: int
    sequences: int
    but: str = ""


_GIB = 1024**3
BATCH_LIMITS = (
    BatchLimits(160 * _GIB, 16384, 1024),
    BatchLimits(70 * _GIB, 8192, 1024, but="a100"),
    BatchLimits(0, 2048, 256),
)


@dataclass(frozen=True, slots=True)
class Hardware:
    """What one release asks of the machine."""

    minimum: Capability = (7, 5)  # its kernels are built from this capability on
    driver: int = 580  # the kernel driver of CUDA 13.0, which VLLM_MAIN_CUDA_VERSION of envs.py names
    memory_share: float = 0.92  # default of --gpu-memory-utilization
    # Major capabilities whose FlashInfer kernels read a cache of nvfp4 (flashinfer.py supports_kv_cache_dtype).
    nvfp4_cache: frozenset[int] = frozenset({8, 9, 10, 12})
    # A float16 or bfloat16 cache that is not the model's own type ends the engine (else it is ignored).
    refuses_other_float_cache: bool = True
    # Models that the engine does not compute in float16, and methods that need activations of 16 bits.
    no_float16: frozenset[str] = frozenset({"gemma2", "gemma3", "gemma3_text", "glm4"})
    float32_methods: frozenset[str] = frozenset({"compressed-tensors", "torchao"})
    batch_limits: tuple[BatchLimits, ...] = BATCH_LIMITS


def batch_limits(hardware: Hardware, gpu: GPU) -> BatchLimits | None:
    """What the engine would choose on this GPU, were it not told; None when the memory is unknown."""
    if gpu.memory_mib is None:
        return None
    size, name = gpu.memory_mib * 1024 * 1024, gpu.product.lower()
    fitting = (each for each in hardware.batch_limits if size >= each.memory_bytes)
    return next(each for each in fitting if not each.but or each.but not in name)


def vendor(gpu: GPU) -> str:
    """Whose GPU this is, by the name of the product."""
    return AMD if gpu.product.upper().startswith("AMD") else NVIDIA


def wanted_vendor(resource_name: str) -> str | None:
    """Whose GPUs the extended resource counts; None when nobody knows."""
    domain = resource_name.split("/", maxsplit=1)[0]
    return {"nvidia.com": NVIDIA, "amd.com": AMD}.get(domain)


def memory_mib(gpu: GPU, resource_name: str) -> int | None:
    """Memory of what a replica gets: the GPU's, or at most that of the MIG slice that the names tell."""
    if gpu.memory_mib is None:
        return None
    named = _SLICE.search(resource_name) or _SLICE.search(gpu.product)
    return min(gpu.memory_mib, int(named[1]) * 1024) if named else gpu.memory_mib


def attention_backend(hardware: Hardware, capability: Capability, kv_dtype: str, head_dim: int | None) -> str | None:
    """The backend that the engine takes on an NVIDIA GPU for a model without latent attention; None: it would not
    start. An unknown head size counts as one that every backend takes.

    Order as in platforms/cuda.py `_get_backend_priorities`; conditions as in each backend's own checks."""
    order = (FLASH_ATTN, FLASHINFER, TRITON_ATTN)
    if capability[0] == 10:
        order = (FLASHINFER, FLASH_ATTN, TRITON_ATTN)
    for backend in order:
        if not backend.minimum <= capability <= backend.maximum or kv_dtype not in backend.kv_dtypes:
            continue
        if head_dim is not None and backend.head_dims and head_dim not in backend.head_dims:
            continue
        if _takes(hardware, backend, capability, kv_dtype, head_dim):
            return backend.name
    return None


def _takes(hardware: Hardware, backend: Backend, capability: Capability, kv_dtype: str, head_dim: int | None) -> bool:
    fp8 = kv_dtype.startswith("fp8")
    if backend is FLASH_ATTN:
        return not fp8 or capability[0] in (9, 10)  # FlashAttention 3 and 4; version 2 has no FP8
    if backend is TRITON_ATTN:
        # It is chosen below that, too, and then ends the engine: no other backend follows.
        return (not fp8 or capability >= TRITON_FP8) and (kv_dtype != "bfloat16" or capability >= NATIVE_BFLOAT16)
    if kv_dtype == "nvfp4":
        return capability[0] in hardware.nvfp4_cache and (capability[0] == 10 or head_dim != 64)
    return True
