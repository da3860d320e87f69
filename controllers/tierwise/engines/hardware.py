"""Lists what each GPU can run, by engine release.

Read in the sources of vLLM 0.30.0, 0.32.0 and 0.33.0 and compared with them again by the test-suite
(tests/conformance/test_hardware.py): the backends of the attention under v1/attention/backends and their order in
platforms/cuda.py, the batch limits of engine/arg_utils.py, the CUDA release of envs.py. The quantization methods stand
in `methods`. Capabilities compare as (major, minor).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tierwise.engines.methods import Capability
from tierwise.types.capabilities import GPU

NVIDIA, AMD = "nvidia", "amd"
NATIVE_BFLOAT16: Capability = (8, 0)  # platforms/cuda.py supported_dtypes: below it only float16 and float32
FP8_ARITHMETIC: Capability = (8, 9)  # platforms/cuda.py supports_fp8
TRITON_FP8: Capability = (8, 9)  # v1/attention/backends/triton_attn.py refuses an FP8 cache below it
_SLICE = re.compile(r"mig-\d+g\.(\d+)gb", re.IGNORECASE)


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
# Models whose attention has learned sinks in every file of theirs (model_executor/models/gpt_oss.py); of others that
# may have them (Granite, Laguna, MiMo) a file does not tell for certain.
SINKS = frozenset({"gpt_oss"})
FLASH_ATTN_SINKS: Capability = (9, 0)
FLASHINFER_SINKS = frozenset({9, 10, 12})  # major capabilities
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
    # From this one on CUDA's forward compatibility package may help (env_override.py), but not on GeForce GPUs.
    compatible_driver: int = 535
    memory_share: float = 0.92  # default of --gpu-memory-utilization
    # Major capabilities whose FlashInfer kernels read a cache of nvfp4 (flashinfer.py supports_kv_cache_dtype).
    nvfp4_cache: frozenset[int] = frozenset({8, 9, 10, 12})
    # A float16 or bfloat16 cache that is not the model's own type ends the engine (else it is ignored).
    refuses_other_float_cache: bool = True
    no_float16: frozenset[str] = frozenset({"gemma2", "gemma3", "gemma3_text", "glm4"})  # models not computed in it
    # Below 8.9 plain FP8 is unpacked by Marlin; else a CUTLASS kernel is chosen that takes INT8 alone on these GPUs.
    plain_fp8_falls_back: bool = True
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


def consumer(gpu: GPU) -> bool:
    """Whether NVIDIA's forward compatibility certainly leaves this GPU out."""
    return "GEFORCE" in gpu.product.upper()


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


def attention_backend(
    hardware: Hardware, capability: Capability, kv_dtype: str, head_dim: int | None, sinks: bool = False
) -> str | None:
    """The backend that the engine takes on an NVIDIA GPU for a model without latent attention; None: it would not
    start. An unknown head size counts as one that every backend takes; `sinks`: see SINKS.

    Order as in platforms/cuda.py `_get_backend_priorities`; conditions as in each backend's own checks."""
    order = (FLASH_ATTN, FLASHINFER, TRITON_ATTN)
    if capability[0] == 10:
        order = (FLASHINFER, FLASH_ATTN, TRITON_ATTN)
    for backend in order:
        if not backend.minimum <= capability <= backend.maximum or kv_dtype not in backend.kv_dtypes:
            continue
        if head_dim is not None and backend.head_dims and head_dim not in backend.head_dims:
            continue
        if sinks and not _takes_sinks(backend, capability, kv_dtype):
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


def _takes_sinks(backend: Backend, capability: Capability, kv_dtype: str) -> bool:
    """Where a backend may or may not, by what it finds at the start, it counts as one that does."""
    if backend is FLASH_ATTN:
        return capability >= FLASH_ATTN_SINKS
    if backend is FLASHINFER:
        return capability[0] == 10 if kv_dtype == "nvfp4" else capability[0] in FLASHINFER_SINKS
    return True
