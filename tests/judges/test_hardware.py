"""The tables about GPUs say what each release's own code says: read, since it cannot run here."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from tests.judges.environments import RELEASES, vllm_code
from tests.judges.sources import Source
from tierwise.api.v1alpha1 import Engine, KVCacheDtype
from tierwise.engines import profile, shape
from tierwise.engines.check_drafts import NEVER_MTP
from tierwise.engines.hardware import (
    FLASH_ATTN,
    FLASHINFER,
    METHODS,
    MXFP4_CHECKPOINT,
    NATIVE_BFLOAT16,
    ROCM_KV_DTYPES,
    TRITON_ATTN,
    TRITON_FP8,
    Capability,
    Hardware,
)
from tierwise.engines.layers import DRAFT_LAYERS

pytestmark = pytest.mark.judge
QUANTIZATION, BACKENDS = "model_executor/layers/quantization", "v1/attention/backends"
ONLINE = (f"{QUANTIZATION}/online/base.py", "OnlineQuantizationConfig")
CLASSES = {  # of the methods that a checkpoint names
    "compressed-tensors": (f"{QUANTIZATION}/compressed_tensors/compressed_tensors.py", "CompressedTensorsConfig"),
    "awq": (f"{QUANTIZATION}/auto_awq.py", "AutoAWQConfig"),
    "gptq": (f"{QUANTIZATION}/auto_gptq.py", "AutoGPTQConfig"),
    "fp8": (f"{QUANTIZATION}/fp8.py", "Fp8Config"),
    "modelopt": (f"{QUANTIZATION}/modelopt.py", "ModelOptFp8Config"),
    "modelopt_fp4": (f"{QUANTIZATION}/modelopt.py", "ModelOptNvFp4Config"),
    "quark": (f"{QUANTIZATION}/quark/quark.py", "QuarkConfig"),
    "torchao": (f"{QUANTIZATION}/torchao.py", "TorchAOConfig"),
}


def number(capability: Capability) -> int:
    """As vLLM writes it: 8.9 is 89."""
    return capability[0] * 10 + capability[1]


@pytest.fixture(scope="module", params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def code(release: str) -> Path:
    return vllm_code(release)


@pytest.fixture(scope="module")
def hardware(release: str) -> Hardware:
    return profile(Engine(version=f"{release}.0")).hardware


def test_the_least_capability_of_every_method(release: str, code: Path) -> None:
    listed = profile(Engine(version=f"{release}.0"))
    assert set(CLASSES) == listed.checkpoint_quantization
    assert set(METHODS) == listed.checkpoint_quantization | listed.online_quantization
    for name, method in METHODS.items():
        module, owner = CLASSES.get(name, ONLINE)
        assert Source(code, module).returned(owner, "get_min_capability") == number(method.minimum), name
    mxfp4 = Source(code, f"{QUANTIZATION}/mxfp4.py")
    assert mxfp4.returned("Mxfp4Config", "get_min_capability") == number(MXFP4_CHECKPOINT)


def test_the_method_of_one_family_and_what_is_native(code: Path) -> None:
    online = Source(code, f"{QUANTIZATION}/online/nvfp4.py")
    families = {name: method.family for name, method in METHODS.items() if method.family is not None}
    assert online.arguments("is_device_capability_family") == [10 * family for family in families.values()] == [100]
    assert Source(code, "platforms/cuda.py").arguments("has_device_capability", "supports_fp8") == [89]
    kernels = Source(code, "model_executor/kernels/linear/mxfp8/flashinfer.py")
    assert kernels.arguments("has_device_capability") == [100]
    kernels = Source(code, "model_executor/kernels/linear/mxfp4/flashinfer.py")
    assert kernels.arguments("has_device_capability") == [100]
    natives = {method.native for method in METHODS.values()}
    assert natives == {None, (8, 9), (10, 0)}
    fallbacks = Source(code, f"{QUANTIZATION}/utils/marlin_utils_fp8.py"), "is_fp8_marlin_supported"
    assert fallbacks[0].arguments("has_device_capability", fallbacks[1]) == [75]
    fallbacks = Source(code, f"{QUANTIZATION}/utils/marlin_utils_fp4.py"), "is_fp4_marlin_supported"
    assert fallbacks[0].arguments("has_device_capability", fallbacks[1]) == [75]


def test_the_methods_of_the_rocm_build(code: Path) -> None:
    supported = set(Source(code, "platforms/rocm.py").assigned("supported_quantization"))
    assert {name for name, method in METHODS.items() if method.rocm} == set(METHODS) & supported
    kernels = Source(code, "model_executor/kernels/linear/__init__.py")
    for table, ours in (("NVFP4", "modelopt_fp4"), ("MXFP8", "mxfp8"), ("MXFP4", "mxfp4")):
        value = kernels.value(f"_POSSIBLE_{table}_KERNELS")
        assert isinstance(value, ast.Dict)
        pairs = zip(value.keys, value.values, strict=True)
        kernels_of = {ast.unparse(key): ast.unparse(each) for key, each in pairs if key is not None}
        assert "Emulation" in kernels_of["PlatformEnum.ROCM"]
        assert not METHODS[ours].rocm_native
    for backend in ("rocm_attn", "rocm_aiter_fa", "rocm_aiter_unified_attn"):
        dtypes = set(Source(code, f"{BACKENDS}/{backend}.py").assigned("supported_kv_cache_dtypes"))
        assert dtypes & set(get_args(KVCacheDtype)) == ROCM_KV_DTYPES


def test_the_attention_backends(code: Path, hardware: Hardware) -> None:
    for backend, module in ((FLASH_ATTN, "flash_attn"), (FLASHINFER, "flashinfer"), (TRITON_ATTN, "triton_attn")):
        source = Source(code, f"{BACKENDS}/{module}.py")
        dtypes = set(source.assigned("supported_kv_cache_dtypes"))
        assert dtypes & set(get_args(KVCacheDtype)) == backend.kv_dtypes, module
    flash, infer = Source(code, f"{BACKENDS}/flash_attn.py"), Source(code, f"{BACKENDS}/flashinfer.py")
    assert flash.arguments("DeviceCapability", "supports_compute_capability") == [FLASH_ATTN.minimum]
    bounds = [FLASHINFER.minimum, FLASHINFER.maximum]
    assert infer.arguments("DeviceCapability", "supports_compute_capability") == bounds
    assert set(infer.returned("get_supported_head_sizes")) == FLASHINFER.head_dims
    versions = Source(code, f"{BACKENDS}/fa_utils.py")
    assert sorted(versions.arguments("is_device_capability_family", "flash_attn_supports_kv_cache_dtype")) == [90, 100]
    assert "kv_cache_dtype == 'fp8_e5m2'" in versions.text("flash_attn_supports_kv_cache_dtype")
    triton = Source(code, f"{BACKENDS}/triton_attn.py")
    refusals = triton.arguments("has_device_capability", "TritonAttentionImpl", "__init__")
    assert refusals == [number(TRITON_FP8), number(NATIVE_BFLOAT16)]
    families = {100}
    if infer.has("_nvfp4_kv_on_fa2"):
        families |= infer.numbers("_nvfp4_kv_on_fa2")
    assert {family // 10 for family in families} == hardware.nvfp4_cache


def test_the_order_of_the_backends(code: Path) -> None:
    text = Source(code, "platforms/cuda.py").text("_get_backend_priorities")
    plain = text[text.rindex("device_capability.major == 10 and (not use_non_causal)") :]
    newer, older = plain.split("else:", maxsplit=1)
    names = [FLASH_ATTN.name, FLASHINFER.name, TRITON_ATTN.name]

    def ours(part: str) -> list[str]:
        found = [re.match(r"[A-Z_]+", word) for word in part.split("AttentionBackendEnum.")[1:]]
        return [word[0] for word in found if word is not None and word[0] in names]

    assert ours(newer) == ["FLASHINFER", "FLASH_ATTN", "TRITON_ATTN"]
    assert ours(older) == ["FLASH_ATTN", "FLASHINFER", "TRITON_ATTN"]


def test_types_of_numbers(code: Path, hardware: Hardware) -> None:
    text = Source(code, "platforms/cuda.py").text("supported_dtypes")
    assert text.index("has_device_capability(80)") < text.index("[torch.bfloat16, torch.float16, torch.float32]")
    config = Source(code, "config/model.py")
    assert set(config.assigned("_FLOAT16_NOT_SUPPORTED_MODELS")) == hardware.no_float16
    whole = {
        name
        for name, (module, owner) in {**CLASSES, "online": ONLINE}.items()
        if "float32" in Source(code, module).text(owner, "get_supported_act_dtypes")
    }
    assert whole == hardware.float32_methods
    refuses = Source(code, "config/vllm.py").has("_reject_mismatched_float_kv_cache")
    assert refuses == hardware.refuses_other_float_cache


def test_memory_driver_and_batches(code: Path, hardware: Hardware) -> None:
    cache = Source(code, "config/cache.py").value("gpu_memory_utilization", "CacheConfig")
    assert isinstance(cache, ast.Call)
    shares = [ast.literal_eval(keyword.value) for keyword in cache.keywords if keyword.arg == "default"]
    assert shares == [hardware.memory_share]
    assert Source(code, "envs.py").assigned("VLLM_MAIN_CUDA_VERSION") == "13.0"  # driver 580 and above
    assert hardware.driver == 580
    limits = Source(code, "engine/arg_utils.py").text("get_batch_defaults")
    sizes = [each for each in hardware.batch_limits if each.memory_bytes]
    assert [f">= {each.memory_bytes // 1024**3} * GiB_bytes" in limits for each in sizes] == [True, True]
    for each in hardware.batch_limits:
        assert f"UsageContext.OPENAI_API_SERVER: {each.tokens}" in limits
        assert f"UsageContext.OPENAI_API_SERVER: {each.sequences}" in limits
        assert each.but in limits
    core = Source(code, "v1/core/kv_cache_utils.py")
    if not core.has("_check_enough_kv_cache_memory"):
        core = Source(code, "v1/core/kv_cache_planning.py")  # since 0.33
    needed = core.text("_check_enough_kv_cache_memory")
    assert "needed_memory > available_memory" in needed
    heads = Source(code, "config/model.py").text("get_num_kv_heads")
    assert "max(1, total_num_kv_heads // parallel_config.tensor_parallel_size)" in heads
    linear = Source(code, "model_executor/layers/linear.py").text("QKVParallelLinear", "__init__")
    assert "divide(tp_size, self.total_num_kv_heads)" in linear
    assert "divide(self.total_num_kv_heads, tp_size)" in linear


def test_how_a_config_is_read(code: Path) -> None:
    reader = Source(code, "transformers_utils/model_arch_config_convertor.py")
    keys = reader.assigned("possible_keys", "ModelArchConfigConvertorBase")
    assert set(keys) - {"model_max_length"} == set(shape.CONTEXT)
    scaled = Source(code, "config/model.py").strings("_get_and_verify_max_len")
    assert scaled >= shape.UNSCALED
    names = reader.strings() | Source(code, "transformers_utils/config.py").strings()
    assert set(shape.KV_HEADS) | set(shape.EXPERTS) <= names


def test_drafting(code: Path) -> None:
    source = Source(code, "config/speculative.py")
    named = source.strings("SpeculativeConfig", "hf_config_override")
    listed = ast.unparse(source.value("MTPModelTypes"))
    assert not {name for name in NEVER_MTP if f"'{name}'" in listed}
    assert not named & NEVER_MTP
    assert {"deepseek_v41", *DRAFT_LAYERS} <= source.strings()
    assert "target_vocab_size != draft_vocab_size" in source.text("verify_equal_vocab_size_if_draft_model")
    assert "self.num_speculative_tokens % n_predict != 0" in source.text("SpeculativeConfig")
    assert "self.min_p > _SAMPLING_EPS or self.logit_bias" in Source(code, "sampling_params.py").text()
