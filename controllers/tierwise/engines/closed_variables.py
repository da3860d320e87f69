"""Lists the values of the engine's environment variables that take one from a closed list.

vLLM compares when it reads the variable, and another value ends it there: at its start, after its image was pulled and
its GPUs were taken. The lists stand in vLLM's envs.py (`env_with_choices` and its kin); the test-suite reads them again
from each release. Data alone, as in `closed_lists`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tierwise.engines.closed_lists import Release

_FOR_EVER: Release = (1 << 30, 0)


@dataclass(frozen=True, slots=True)
class Choices:
    """What a variable may be. `several`: more than one of them, with commas between; `since` and `until` (not any
    more): in which releases vLLM reads it."""

    values: tuple[str, ...]
    case_sensitive: bool = True
    several: bool = False
    since: Release = (0, 0)
    until: Release = _FOR_EVER

    def takes(self, value: str) -> bool:
        """Whether the engine takes this value."""
        parts = [part.strip() for part in value.split(",") if part.strip()] if self.several else [value]
        if self.case_sensitive:
            return all(part in self.values for part in parts)
        return all(part.lower() in (each.lower() for each in self.values) for part in parts)


_CHOICES: Mapping[str, Choices] = MappingProxyType(
    {
        "CMAKE_BUILD_TYPE": Choices(("Debug", "Release", "RelWithDebInfo")),
        "VLLM_COMPILE_CACHE_SAVE_FORMAT": Choices(("binary", "unpacked")),
        "VLLM_DEEP_GEMM_WARMUP": Choices(("skip", "full", "relax")),
        "VLLM_FLASHINFER_ALLREDUCE_BACKEND": Choices(("auto", "trtllm", "mnnvl")),
        "VLLM_FLOAT32_MATMUL_PRECISION": Choices(("highest", "high", "medium"), case_sensitive=False),
        "VLLM_GDN_DECODE_KERNEL": Choices(("cuda", "triton"), case_sensitive=False),
        "VLLM_GPT_OSS_SYSTEM_TOOL_MCP_LABELS": Choices(
            ("container", "code_interpreter", "web_search_preview"), several=True
        ),
        "VLLM_GPU_SYNC_CHECK": Choices(("warn", "error")),
        "VLLM_KV_CACHE_LAYOUT": Choices(("LBNHC", "LBHNC", "LHBNC", "NHD", "HND", "BLHNC", "BLNHC", "BHLNC")),
        "VLLM_MARLIN_INPUT_DTYPE": Choices(("int8", "fp8")),
        "VLLM_ROCM_AITER_MLA_ASM_PADDING": Choices(("auto", "gluon", "asm"), case_sensitive=False),
        "VLLM_ROCM_AITER_MLA_DCP_VERIFY": Choices(
            ("auto", "asm", "segmented"), case_sensitive=False, since=(0, 32), until=(0, 33)
        ),
        "VLLM_ROCM_QUICK_REDUCE_QUANTIZATION": Choices(("FP", "INT8", "INT6", "INT4", "INT3", "NONE")),
        "VLLM_ROCM_USE_AITER_MOE_SITUV2": Choices(
            ("auto", "a4w4", "a8w4", "a16w4", "0", "1"), case_sensitive=False, since=(0, 32)
        ),
        "VLLM_SSM_CONV_STATE_LAYOUT": Choices(("SD", "DS")),
        "VLLM_USE_RAY_COMPILED_DAG_CHANNEL_TYPE": Choices(("auto", "nccl", "shm"), until=(0, 33)),
        "VLLM_WORKER_MULTIPROC_METHOD": Choices(("spawn", "fork")),
        "VLLM_XPU_INC_WNA16_BACKEND": Choices(("auto", "ark", "w4a16", "w4a8")),
    }
)


def choices_of(release: Release) -> Mapping[str, Choices]:
    """The variables with a closed list that this release reads, by name."""
    return {name: each for name, each in sorted(_CHOICES.items()) if each.since <= release < each.until}
