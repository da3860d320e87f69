"""Lists the names that engine options take from a closed list: what each release looks up in a table of its own.

A name that is not in the table ends the engine at its start, after its image was pulled and its GPUs were taken. The
tables stand in vLLM's sources (tool_parsers/__init__.py, reasoning/__init__.py, v1/attention/backends/registry.py,
config/kernel.py); the test-suite asks each release for them again. Data alone, so that the simulated engine refuses
the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

Release = tuple[int, int]

WHAT: Mapping[str, str] = MappingProxyType(
    {
        "--attention-backend": "attention backend",
        "--linear-backend": "backend of linear layers",
        "--moe-backend": "backend of experts",
        "--reasoning-parser": "reasoning parser",
        "--tool-call-parser": "tool-call parser",
    }
)
"""The options that take such a name, and what the name is of."""

_NEWEST: dict[str, str] = {
    "--attention-backend": """
    AMX_MLA B12X CPU_ATTN CPU_MLA CUSTOM CUTLASS_MLA CUTLASS_MSA FLASHINFER FLASHINFER_MLA FLASHINFER_MLA_SPARSE
    FLASHINFER_MLA_SPARSE_DSV4 FLASHINFER_MLA_SPARSE_DSV41 FLASHINFER_MLA_SPARSE_SM120
    FLASHINFER_MLA_SPARSE_SM90 FLASHMLA FLASHMLA_MEGA_ATTN_DSV41 FLASHMLA_SPARSE FLASHMLA_SPARSE_DSV4
    FLASHMLA_SPARSE_DSV41 FLASH_ATTN FLASH_ATTN_DIFFKV FLASH_ATTN_MLA FLASH_ATTN_MLA_SPARSE
    FLASH_ATTN_MLA_SPARSE_FA4 FLEX_ATTENTION HPC_ATTN MINIMAX_M3_SPARSE NO_ATTENTION ROCM_AITER_FA
    ROCM_AITER_MLA ROCM_AITER_MLA_SPARSE ROCM_AITER_TRITON_MLA ROCM_AITER_UNIFIED_ATTN ROCM_ATTN
    ROCM_FLASHMLA_SPARSE_DSV4 ROCM_FLASHMLA_SPARSE_DSV41 ROCM_OCTAVE ROCM_SEGMENTED_ATTN STEP5_DSA
    TOKENSPEED_MLA TORCH_SDPA TRITON_ATTN TRITON_ATTN_DIFFKV TRITON_FLASHINFER TRITON_FLASH_ATTN TRITON_MLA
    TRITON_MSA TURBOQUANT ULTRAQUANT XPU_MLA_SPARSE
    """,
    "--linear-backend": """
    aiter auto b12x conch cutlass deep_gemm emulation exllama fbgemm flashinfer_b12x flashinfer_cudnn
    flashinfer_cutedsl flashinfer_cutlass flashinfer_trtllm humming machete marlin torch triton xpu xpu_woq
    """,
    "--moe-backend": """
    aiter aiter_mega_moe aiter_triton_mxfp4_bf16 aiter_triton_mxfp4_mxfp4 auto b12x batched_triton cutlass
    deep_gemm deep_gemm_mega_moe emulation flashinfer_b12x flashinfer_cutedsl flashinfer_cutlass
    flashinfer_moe_ep_cutedsl flashinfer_moe_ep_mega_deep_gemm flashinfer_trtllm flydsl hpc humming marlin rdna3
    triton triton_unfused
    """,
    "--reasoning-parser": """
    beam cohere_command3 cohere_command4 deepseek_r1 deepseek_v3 deepseek_v4 deepseek_v41 ernie45 gemma4 glm45
    glm47 granite granite_thinking_parser hf holo2 hunyuan_a13b hy_v3 hy_v4 inkling k2_horizon kimi_k2 kimi_k3
    ling3 mimo minicpmv minimax_m2 minimax_m2_append_think minimax_m3 mistral muse muse_glimmer musespark1x
    nemotron_v3 olmo3 openai_gptoss plamo3 poolside_v1 qwen3 seed_oss step3 step3p5 step5
    """,
    "--tool-call-parser": """
    apertus beam cohere_command3 cohere_command4 deepseek_v3 deepseek_v31 deepseek_v32 deepseek_v4 deepseek_v41
    dots ernie45 functiongemma gemma4 gigachat3 glm45 glm47 granite granite-20b-fc granite4 hermes hf
    hunyuan_a13b hy_v3 hy_v4 inkling internlm jamba k2_horizon kimi_k2 kimi_k3 lfm2 ling3 llama3_json
    llama4_json llama4_pythonic longcat mimo minicpm5 minimax_m2 minimax_m3 mistral muse muse_glimmer
    musespark1x olmo3 openai phi4_mini_json plamo3 poolside_v1 pythonic qwen3_coder qwen3_json qwen3_xml
    seed_oss step3 step3p5 step5 xlam
    """,
}
# Names that came with a release, and names that went with one.
_CAME: dict[Release, dict[str, str]] = {
    (0, 33): {
        "--attention-backend": "FLASH_ATTN_MLA_SPARSE_FA4 ROCM_FLASHMLA_SPARSE_DSV41 ROCM_OCTAVE STEP5_DSA",
        "--moe-backend": "aiter_triton_mxfp4_mxfp4",
        "--reasoning-parser": "beam muse musespark1x step5",
        "--tool-call-parser": "beam muse musespark1x step5",
    },
    (0, 32): {
        "--attention-backend": "FLASHMLA_MEGA_ATTN_DSV41 ROCM_SEGMENTED_ATTN ULTRAQUANT",
        "--moe-backend": "aiter_mega_moe flashinfer_moe_ep_cutedsl",
        "--reasoning-parser": "granite_thinking_parser hf minicpmv plamo3",
        "--tool-call-parser": "hf plamo3 qwen3_json",
    },
}
_WENT: dict[Release, dict[str, str]] = {
    (0, 33): {},
    (0, 32): {
        "--moe-backend": "flashinfer_moe_ep_mega_cutedsl",
    },
}


def known_names(option: str, release: Release) -> tuple[str, ...]:
    """The names that this option takes in a release, sorted; () for an option that takes no name from a list."""
    names = set(_NEWEST.get(option, "").split())
    for changed in sorted(_CAME, reverse=True):
        if release < changed:
            names -= set(_CAME[changed].get(option, "").split())
            names |= set(_WENT[changed].get(option, "").split())
    return tuple(sorted(names))


def known_name(option: str, release: Release, name: str) -> bool:
    """Whether a release knows the name, written as its command line lets people write it."""
    names = known_names(option, release)
    if option == "--attention-backend":
        return name.upper() in names or name.lower() == "auto"
    if option in ("--linear-backend", "--moe-backend"):
        return name.lower().replace("-", "_") in names
    return name in names
