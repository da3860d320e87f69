"""What the engine would refuse on the GPUs and with the model that are known, is refused before a GPU is taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.engines.test_arguments import spec
from tests.unit.engines.test_shape import DEEPSEEK, LLAMA, MIXTRAL, QWEN
from tierwise import reasons
from tierwise.engines import GPU, Facts, Finding, ModelShape, check, model_shape
from tierwise.engines.gpu_memory import GIB, Need

T4 = GPU("Tesla-T4", (7, 5), 15360, 580)
L4 = GPU("NVIDIA-L4", (8, 9), 23034, 580)
A100 = GPU("NVIDIA-A100-SXM4-80GB", (8, 0), 81920, 580)
H100 = GPU("NVIDIA-H100-80GB-HBM3", (9, 0), 81559, 580)
B200 = GPU("NVIDIA-B200", (10, 0), 183359, 580)
MI300X = GPU("AMD_Instinct_MI300X_OAM", None, 196592)
LLAMA_8B, QWEN_8B = model_shape(LLAMA), model_shape(QWEN)
QUANTIZED = replace(LLAMA_8B, quantization="awq", weight_bits=4)


def said(*gpus: GPU, shape: ModelShape | None = None, draft: ModelShape | None = None, **fields: Any) -> list[Finding]:
    """The findings, but for the one that every speculation has."""
    found = check(spec(**fields), Facts(gpus=gpus, model=shape, draft=draft))
    return [problem for problem in found if problem.reason != reasons.CONTRACT_CHANGES]


def refusal(*gpus: GPU, **given: Any) -> Finding:
    fatal = [problem for problem in said(*gpus, **given) if problem.fatal]
    assert len(fatal) == 1, fatal
    return fatal[0]


def advice(*gpus: GPU, **given: Any) -> Finding:
    found = said(*gpus, **given)
    assert [problem.fatal for problem in found] == [False], found
    return found[0]


MODELOPT: dict[str, Any] = {"quantization": {"method": "modelopt"}, "extraArgs": ["--dtype=half"]}


def test_a_gpu_that_is_too_old_for_the_method() -> None:
    found = refusal(T4, **MODELOPT)
    assert found.reason == reasons.WRONG_GPU
    assert found.message == "quantization.method modelopt needs compute capability 8.0 or more; Tesla-T4 has 7.5"


def test_only_some_of_the_gpus_are_too_old() -> None:
    found = said(H100, T4, **MODELOPT)
    assert [(problem.reason, problem.fatal) for problem in found] == [(reasons.WRONG_GPU, False)]
    assert "Tesla-T4 has 7.5" in found[0].message
    assert "H100" not in found[0].message
    assert said(H100, GPU("unlabelled"), **MODELOPT) == []


def test_every_gpu_may_have_a_reason_of_its_own() -> None:
    small = GPU("NVIDIA-A100-MIG", (8, 0), 4096, 580)
    found = [problem for problem in said(T4, small, shape=LLAMA_8B, **MODELOPT_NONE) if problem.fatal]
    assert {problem.reason for problem in found} == {reasons.WRONG_GPU, reasons.WEIGHTS_DO_NOT_FIT}


MODELOPT_NONE: dict[str, Any] = {"contextLength": 64, "extraArgs": ["--dtype=bfloat16"]}


def test_a_gpu_that_no_release_knows_any_more() -> None:
    found = refusal(GPU("Tesla-V100", (7, 0)), extraArgs=["--dtype=half"])
    assert found.message == "engine.version 0.33 needs compute capability 7.5 or more; Tesla-V100 has 7.0"


def test_weights_without_arithmetic_of_their_own() -> None:
    found = advice(A100, quantization={"method": "fp8_per_tensor"})
    assert found.reason == reasons.WEIGHT_ONLY
    assert "below compute capability 8.9; NVIDIA-A100-SXM4-80GB has 8.0" in found.message
    assert said(L4, quantization={"method": "fp8_per_tensor"}) == []
    assert said(B200, quantization={"method": "mxfp8"}) == []


def test_a_method_of_one_family() -> None:
    method: dict[str, Any] = {"quantization": {"method": "nvfp4_per_token"}}
    assert refusal(H100, **method).message.startswith("quantization.method nvfp4_per_token needs compute capability 10")
    assert refusal(H100, shape=model_shape(MIXTRAL), contextLength=64, **method).reason == reasons.WRONG_GPU
    dense = said(B200, shape=LLAMA_8B, contextLength=64, **method)
    assert [(problem.reason, problem.fatal) for problem in dense] == [(reasons.EXPERTS_ONLY, False)]
    assert said(B200, shape=model_shape(MIXTRAL), contextLength=4096, **method) == []


@pytest.mark.parametrize("dtype", ["fp8", "fp8_e5m2", "nvfp4", "bfloat16"])
def test_a_cache_type_that_no_backend_takes(dtype: str) -> None:
    found = refusal(T4, quantization={"kvCacheDtype": dtype}, extraArgs=["--dtype=half"])
    assert found.reason == reasons.WRONG_GPU
    assert f"quantization.kvCacheDtype {dtype} has no attention backend" in found.message
    assert not [each for each in said(B200, quantization={"kvCacheDtype": dtype}) if each.fatal]


def test_a_cache_type_depends_on_the_release_and_the_size_of_heads() -> None:
    nvfp4: dict[str, Any] = {"quantization": {"kvCacheDtype": "nvfp4"}}
    assert refusal(H100, engine={"version": "0.30.0"}, **nvfp4).reason == reasons.WRONG_GPU
    assert said(H100, engine={"version": "0.32.0"}, **nvfp4) == []
    odd = ModelShape(head_dim=96, kv_heads=8, model_type="phi3")
    assert "(with heads of 96)" in refusal(A100, shape=odd, quantization={"kvCacheDtype": "fp8"}).message
    assert not [each for each in said(A100, shape=LLAMA_8B, quantization={"kvCacheDtype": "fp8"}) if each.fatal]
    latent = model_shape(DEEPSEEK)
    assert "(with latent attention)" in said(B200, shape=latent, **nvfp4, **EIGHT)[0].message
    chosen = ["--attention-backend=FLASH_ATTN"]
    assert [
        each for each in said(A100, shape=odd, quantization={"kvCacheDtype": "fp8"}, extraArgs=chosen) if each.fatal
    ] == []


EIGHT: dict[str, Any] = {"parallelism": {"tensor": 8}, "resources": {"gpus": 8}, "contextLength": 4096}


def test_a_gpu_without_bfloat16() -> None:
    assert advice(T4).reason == reasons.LESS_PRECISION
    assert refusal(T4, extraArgs=["--dtype=bfloat16"]).reason == reasons.WRONG_GPU
    assert said(T4, extraArgs=["--dtype=half"]) == []
    half = ModelShape(dtype="float16", model_type="llama")
    assert said(T4, shape=half) == []


def test_an_amd_gpu_has_other_methods() -> None:
    amd: dict[str, Any] = {"resources": {"resourceName": "amd.com/gpu"}, "engine": {"image": "rocm/vllm:1"}}
    assert said(MI300X, **amd) == []
    assert refusal(MI300X, quantization={"method": "int8_per_channel_weight_only"}, **amd).reason == reasons.WRONG_GPU
    assert advice(MI300X, quantization={"method": "mxfp4"}, **amd).reason == reasons.WEIGHT_ONLY
    assert refusal(MI300X, quantization={"kvCacheDtype": "nvfp4"}, **amd).reason == reasons.WRONG_GPU
    assert said(H100, T4, **amd) == []  # not the GPUs that it asks for
    assert refusal(GPU(memory_mib=8192), shape=LLAMA_8B, **amd).reason == reasons.WEIGHTS_DO_NOT_FIT  # no name
    assert advice(MI300X, resources={"resourceName": "amd.com/gpu"}).reason == reasons.NEEDS_PACKAGE


def test_a_tier_without_gpus_is_not_held_against_any() -> None:
    built: dict[str, Any] = {"engine": {"image": "registry.example.com/vllm:1"}}
    assert said(T4, resources={"gpus": 0}, **built, **MODELOPT) == []
    assert said(T4, resources={"resourceName": "example.com/accelerator"}, **built, **MODELOPT) == []


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ({"gpus": 0}, "without GPUs name a CPU build in engine.image"),
        ({"resourceName": "amd.com/gpu"}, "with amd.com/gpu name a build for it"),
        ({"resourceName": "habana.ai/gaudi"}, "with habana.ai/gaudi name a build for it"),
        ({"resourceName": "gpu.intel.com/i915"}, "with gpu.intel.com/i915 name a build for it"),
    ],
)
def test_what_is_no_nvidia_gpu_needs_an_image_of_its_own(resources: dict[str, Any], words: str) -> None:
    found = advice(resources=resources)
    assert (found.reason, words in found.message) == (reasons.NEEDS_PACKAGE, True)
    assert said(resources=resources, engine={"image": "registry.example.com/vllm:1"}) == []


@pytest.mark.parametrize("resource", ["nvidia.com/gpu", "nvidia.com/mig-1g.10gb", "nvidia.com/gpu.shared"])
def test_the_engines_own_image_is_for_nvidia_gpus(resource: str) -> None:
    assert [each for each in said(resources={"resourceName": resource}) if each.reason == reasons.NEEDS_PACKAGE] == []


def test_weights_that_are_too_large() -> None:
    found = refusal(T4, shape=LLAMA_8B, extraArgs=["--dtype=half"], contextLength=1024)
    assert found.reason == reasons.WEIGHTS_DO_NOT_FIT
    assert found.message == (
        "the weights take at least 15.0 GiB on each GPU: quantize with quantization.method, or raise "
        "parallelism.tensor; Tesla-T4 has 13.8 GiB for the engine"
    )
    two: dict[str, Any] = {"parallelism": {"tensor": 2}, "resources": {"gpus": 2}, "extraArgs": ["--dtype=half"]}
    assert said(T4, shape=LLAMA_8B, contextLength=1024, **two) == []


def test_a_context_that_does_not_fit() -> None:
    """Llama 3.1 8B on an L4: 22.5 GiB x 0.92 - 0.5 - 15.0 GiB of weights leave 5.2 GiB, 131,072 bytes a token."""
    found = refusal(L4, shape=LLAMA_8B)
    assert found.reason == reasons.CONTEXT_DOES_NOT_FIT
    assert found.message == (
        "contextLength 131072 needs 16.0 GiB of KV cache on each GPU, beside at least 15.0 GiB of weights: lower "
        "contextLength, or change quantization or parallelism.tensor; NVIDIA-L4 has 20.7 GiB for both, room for about "
        "42,896 tokens"
    )
    assert refusal(L4, shape=LLAMA_8B, contextLength=43000).reason == reasons.CONTEXT_DOES_NOT_FIT
    assert advice(L4, shape=LLAMA_8B, contextLength=42896).reason == reasons.TIGHT_MEMORY
    assert said(L4, shape=LLAMA_8B, contextLength=16384) == []
    assert said(H100, shape=LLAMA_8B) == []


def test_what_makes_it_fit() -> None:
    long: dict[str, Any] = {"contextLength": 60000}
    assert refusal(L4, shape=LLAMA_8B, **long).fatal
    fp8_cache = said(L4, shape=LLAMA_8B, quantization={"kvCacheDtype": "fp8"}, **long)
    assert reasons.CONTEXT_DOES_NOT_FIT not in {each.reason for each in fp8_cache}
    assert said(L4, shape=LLAMA_8B, quantization={"method": "fp8_per_channel"}, **long) == []
    assert said(L4, shape=LLAMA_8B, parallelism={"tensor": 2}, resources={"gpus": 2}, **long) == []
    assert said(L4, shape=LLAMA_8B, parallelism={"pipeline": 2}, resources={"gpus": 2}, **long) == []
    share = advice(L4, shape=LLAMA_8B, contextLength=42896, extraArgs=["--gpu-memory-utilization=0.95"])
    assert share.reason == reasons.TIGHT_MEMORY
    assert refusal(L4, shape=LLAMA_8B, contextLength=16384, extraArgs=["--gpu-memory-utilization=0.7"]).fatal


def test_a_cache_of_a_fixed_size() -> None:
    fixed: dict[str, Any] = {"extraArgs": ["--kv-cache-memory-bytes=1G"]}
    assert refusal(L4, shape=LLAMA_8B, contextLength=16384, **fixed).message.startswith(
        "contextLength 16384 needs 2.0 GiB of KV cache on each GPU, given 1.0 GiB by extraArgs --kv-cache-memory-bytes"
    )
    assert said(L4, shape=LLAMA_8B, contextLength=4096, **fixed) == []
    large = ["--kv-cache-memory-bytes=64G"]
    assert refusal(L4, shape=LLAMA_8B, contextLength=4096, extraArgs=large).reason == reasons.CONTEXT_DOES_NOT_FIT


def test_a_slice_of_a_gpu_has_its_memory() -> None:
    sliced: dict[str, Any] = {"resources": {"resourceName": "nvidia.com/mig-1g.10gb"}, "contextLength": 1024}
    assert refusal(H100, shape=LLAMA_8B, **sliced).reason == reasons.WEIGHTS_DO_NOT_FIT
    assert said(H100, shape=LLAMA_8B, contextLength=1024) == []


def test_latent_attention_and_windows_take_less() -> None:
    """DeepSeek-V3, 8 GPUs: 61 layers x 576 elements x 1 byte a token (an FP8 checkpoint may bring an FP8 cache)."""
    deepseek = model_shape(DEEPSEEK)
    h200 = GPU("NVIDIA-H200", (9, 0), 143771, 580)
    assert said(h200, shape=deepseek, **EIGHT) == []
    assert refusal(H100, shape=deepseek, **EIGHT).reason == reasons.WEIGHTS_DO_NOT_FIT
    kinds = ["sliding_attention"] * 28 + ["full_attention"] * 4
    windowed = model_shape(LLAMA | {"sliding_window": 1024, "layer_types": kinds})
    assert said(L4, shape=windowed) == []


def test_a_draft_takes_memory_too() -> None:
    draft: dict[str, Any] = {
        "speculation": {"mode": "Enabled", "method": "draft_model", "draftModel": "a/b"},
        "contextLength": 32768,
    }
    small = replace(LLAMA_8B, parameters=3 * 10**9)
    found = said(L4, shape=LLAMA_8B, draft=small, **draft)
    assert [each.reason for each in found if each.fatal] == [reasons.WEIGHTS_DO_NOT_FIT]
    assert [each.reason for each in said(L4, shape=LLAMA_8B, **draft) if each.fatal] == []


def test_the_figure_that_the_engine_documents() -> None:
    """Qwen3-4B on an L4: 11.47 GiB of KV cache hold 83,488 tokens (the engine rounds each layer to its blocks)."""
    need = Need(weights=0, per_token=2 * 36 * 8 * 128 * 2, context=1)
    assert abs(need.tokens_in(int(11.47 * GIB)) - 83488) <= 48


def _sized(config: dict[str, Any], **changes: Any) -> ModelShape:
    return replace(model_shape(config), **changes)


LLAMA_70B: dict[str, Any] = LLAMA | {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
}
QWEN_4B: dict[str, Any] = QWEN | {
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "tie_word_embeddings": True,
    "max_position_embeddings": 262144,
}
GPT_OSS: dict[str, Any] = {
    "model_type": "gpt_oss",
    "hidden_size": 2880,
    "num_hidden_layers": 36,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 201088,
    "num_local_experts": 128,
    "sliding_window": 128,
    "layer_types": ["sliding_attention", "full_attention"] * 18,
    "max_position_embeddings": 131072,
    "quantization_config": {"quant_method": "mxfp4"},
}


@pytest.mark.parametrize(
    ("gpu", "gpus", "shape", "context"),
    [
        (L4, 1, _sized(QWEN_4B), 83488),  # vLLM's own page on this pair
        (H100, 1, _sized(GPT_OSS, weight_bytes=65_248_815_744), None),  # gpt-oss-120b is made for one H100
        (H100, 4, _sized(LLAMA_70B), None),
        (H100, 2, _sized(LLAMA_70B), 8192),
        (GPU("NVIDIA-H200", (9, 0), 143771, 580), 8, _sized(DEEPSEEK, weight_bytes=688_586_727_753), 131072),
        (T4, 1, _sized(QWEN_4B), 16384),
        (A100, 1, _sized(LLAMA_70B, quantization="awq", weight_bytes=39_761_000_000), 32768),
    ],
)
def test_what_people_run_is_not_refused(gpu: GPU, gpus: int, shape: ModelShape, context: int | None) -> None:
    given: dict[str, Any] = {"parallelism": {"tensor": gpus}, "resources": {"gpus": gpus}}
    if context is not None:
        given["contextLength"] = context
    found = said(gpu, shape=shape, **given)
    assert [problem for problem in found if problem.fatal] == []
