"""The tables about GPUs say what each release's own code says: read, since it cannot run here."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from tests.conformance.sources import Source
from tierwise.api.modeltier import Engine, KVCacheDtype
from tierwise.engines import config_keys, profile, shape
from tierwise.engines.check_drafts import NEVER_MTP
from tierwise.engines.hardware import (
    FLASH_ATTN,
    FLASH_ATTN_SINKS,
    FLASHINFER,
    FLASHINFER_SINKS,
    NATIVE_BFLOAT16,
    ROCM_KV_DTYPES,
    SINKS,
    TRITON_ATTN,
    TRITON_FP8,
    Hardware,
)
from tierwise.engines.methods import Capability

pytestmark = pytest.mark.conformance
BACKENDS = "v1/attention/backends"


def number(capability: Capability) -> int:
    """As vLLM writes it: 8.9 is 89."""
    return capability[0] * 10 + capability[1]


@pytest.fixture(scope="module")
def hardware(release: str) -> Hardware:
    return profile(Engine(version=f"{release}.0")).hardware


def test_the_caches_of_the_rocm_build(code: Path) -> None:
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


def test_attention_sinks(code: Path, hardware: Hardware) -> None:
    flash, infer = Source(code, f"{BACKENDS}/flash_attn.py"), Source(code, f"{BACKENDS}/flashinfer.py")
    least = f"has_sink and device_capability < DeviceCapability{FLASH_ATTN_SINKS}"
    assert least in flash.text("FlashAttentionBackend", "supports_combination")
    majors = infer.arguments("is_device_capability", "supports_sink")
    majors += infer.arguments("is_device_capability_family", "supports_sink")
    assert {each // 10 for each in majors} == FLASHINFER_SINKS
    if hardware.nvfp4_cache != {10}:
        refused = infer.text("supports_combination")
        assert "device_capability.major in (8, 9, 12)" in refused
        assert "if has_sink:\n" in refused
    assert Source(code, f"{BACKENDS}/triton_attn.py").returned("TritonAttentionBackend", "supports_sink") is True
    for name in SINKS:
        assert "sinks=self.sinks" in Source(code, f"model_executor/models/{name}.py").text()


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
    auto = config.text("_resolve_auto_dtype")
    assert "if _is_valid_dtype(model_type, dtype)" in auto
    assert "preferred_dtype = supported_dtypes[0]" in auto
    refuses = Source(code, "config/vllm.py").has("_reject_mismatched_float_kv_cache")
    assert refuses == hardware.refuses_other_float_cache


def test_memory_driver_and_batches(code: Path, hardware: Hardware) -> None:
    cache = Source(code, "config/cache.py").value("gpu_memory_utilization", "CacheConfig")
    assert isinstance(cache, ast.Call)
    shares = [ast.literal_eval(keyword.value) for keyword in cache.keywords if keyword.arg == "default"]
    assert shares == [hardware.memory_share]
    assert Source(code, "envs.py").assigned("VLLM_MAIN_CUDA_VERSION") == "13.0"  # driver 580 and above
    assert hardware.driver == 580
    assert hardware.compatible_driver < hardware.driver
    assert "VLLM_ENABLE_CUDA_COMPATIBILITY" in Source(code, "env_override.py").strings()
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
    assert set(keys) - {"model_max_length"} == set(config_keys.CONTEXT)
    scaled = Source(code, "config/model.py").strings("_get_and_verify_max_len")
    assert scaled >= shape.UNSCALED
    config = Source(code, "transformers_utils/config.py")
    if "CONFIG_FIELD_ALIASES" in config.text():  # since 0.33
        aliases = config.assigned("CONFIG_FIELD_ALIASES")
        assert aliases["num_shared_experts"] == config_keys.SHARED_EXPERTS
        heads, experts = aliases["total_num_kv_heads"], aliases["num_experts"]
    else:
        base = "ModelArchConfigConvertorBase"
        heads = reader.assigned("attributes", base, "get_total_num_kv_heads")
        experts = reader.assigned("num_expert_names", base, "get_num_experts")
    assert (tuple(heads), tuple(experts)) == (config_keys.KV_HEADS, config_keys.EXPERTS)
    asked = reader.strings("ModelArchConfigConvertorBase", "get_total_num_attention_heads")
    assert asked & {*config_keys.HEADS, "num_heads"} == {"num_attention_heads"}


def test_a_mistral_repository_is_read_from_a_file_of_its_own(code: Path) -> None:
    source = Source(code, "transformers_utils/config.py")
    assert source.assigned("MISTRAL_CONFIG_NAME") == "params.json"
    chosen = source.text("get_config")
    assert chosen.index("is_mistral_model_repo(") < chosen.index("config_format = 'mistral'")
    assert chosen.index("if config_format == 'auto'") < chosen.index("is_mistral_model_repo(")
    assert "_maybe_retrieve_max_pos_from_hf(" in source.text("MistralConfigParser", "parse")


def test_gptq_checkpoints_that_are_refused(code: Path) -> None:
    folder = "model_executor/layers/quantization"
    source = Source(code, f"{folder}/auto_gptq.py")
    table = source.value("TYPE_MAP", "AutoGPTQConfig")
    assert isinstance(table, ast.Dict)
    assert {ast.literal_eval(key) for key in table.keys if key is not None} == {
        (bits, True) for bits in shape.GPTQ_BITS
    }
    start = source.text("AutoGPTQConfig", "__init__")
    assert "if (weight_bits, is_sym) not in self.TYPE_MAP:\n        raise ValueError" in start
    assert "normalize_and_validate_gptq_desc_act(desc_act, group_size, dynamic)" in start
    rule = Source(code, f"{folder}/utils/gptq_utils.py").text("normalize_and_validate_gptq_desc_act")
    assert (
        "if desc_act and group_size == -1:\n        desc_act = False\n    if desc_act:\n        raise ValueError"
        in rule
    )
    readers = Source(code, f"{folder}/__init__.py").text("get_quantization_config")
    assert {name for name in shape.GPTQ if f"'{name}': AutoGPTQConfig" in readers} == shape.GPTQ


def test_drafting(code: Path) -> None:
    source = Source(code, "config/speculative.py")
    named = source.strings("SpeculativeConfig", "hf_config_override")
    listed = ast.unparse(source.value("MTPModelTypes"))
    assert not {name for name in NEVER_MTP if f"'{name}'" in listed}
    assert not named & NEVER_MTP
    assert {"deepseek_v41", *config_keys.DRAFT_LAYERS} <= source.strings()
    assert "target_vocab_size != draft_vocab_size" in source.text("verify_equal_vocab_size_if_draft_model")
    assert "self.num_speculative_tokens % n_predict != 0" in source.text("SpeculativeConfig")
    assert "self.min_p > _SAMPLING_EPS or self.logit_bias" in Source(code, "sampling_params.py").text()
