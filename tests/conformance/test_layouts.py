"""The types of models whose cache is sized are those that each release builds of attention alone.

For each type the model file of its class is read, with the model files that it takes layers from: none may hold a
layer whose state does not grow, that shares the cache of another, or that is of a kind of its own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conformance.sources import Source
from tierwise.engines.layers import ATTENTION, OPAQUE, TOLD

pytestmark = pytest.mark.conformance
MODELS = "model_executor/models"
OTHER = re.compile(
    r"IsHybrid|IsAttentionFree|HasInnerState|[Mm]amba|ShortConv|DeltaAttention|GatedDelta|GDN|linear_attn|"
    r"ChunkedLocalAttention|CrossAttention|SinkAttention|kv_sharing|block_configs|hybrid_layer_pattern"
)
# Where layers do not come from: helpers of all models, which name every kind.
HELPERS = frozenset({"interfaces", "interfaces_base", "utils", "vision", "registry", "adapters", "config"})
# model_type -> class in config.json; where several are in use, all of them.
CLASSES: Mapping[str, tuple[str, ...]] = {
    "apertus": ("ApertusForCausalLM",),
    "arcee": ("ArceeForCausalLM",),
    "bloom": ("BloomForCausalLM",),
    "cohere": ("CohereForCausalLM",),
    "cohere2": ("Cohere2ForCausalLM",),
    "deepseek_v2": ("DeepseekV2ForCausalLM",),
    "deepseek_v3": ("DeepseekV3ForCausalLM",),
    "ernie4_5": ("Ernie4_5ForCausalLM",),
    "exaone": ("ExaoneForCausalLM",),
    "exaone4": ("Exaone4ForCausalLM",),
    "falcon": ("FalconForCausalLM",),
    "gemma": ("GemmaForCausalLM",),
    "gemma2": ("Gemma2ForCausalLM",),
    "gemma3_text": ("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"),
    "glm": ("GlmForCausalLM",),
    "glm4": ("Glm4ForCausalLM",),
    "glm4_moe": ("Glm4MoeForCausalLM",),
    "gpt2": ("GPT2LMHeadModel",),
    "gpt_neox": ("GPTNeoXForCausalLM",),
    "gpt_oss": ("GptOssForCausalLM",),
    "gptj": ("GPTJForCausalLM",),
    "granite": ("GraniteForCausalLM",),
    "granitemoe": ("GraniteMoeForCausalLM",),
    "internlm2": ("InternLM2ForCausalLM",),
    "internlm3": ("InternLM3ForCausalLM",),
    "kimi_k2": ("DeepseekV3ForCausalLM",),
    "llama": ("LlamaForCausalLM", "LLaMAForCausalLM"),
    "mimo": ("MiMoForCausalLM",),
    "minimax_m2": ("MiniMaxM2ForCausalLM",),
    "ministral3": ("Ministral3ForCausalLM",),
    "mistral": ("MistralForCausalLM", "Mistral3ForConditionalGeneration"),
    "mixtral": ("MixtralForCausalLM",),
    "nemotron": ("NemotronForCausalLM",),
    "olmo": ("OlmoForCausalLM",),
    "olmo2": ("Olmo2ForCausalLM",),
    "olmo3": ("Olmo3ForCausalLM",),
    "olmoe": ("OlmoeForCausalLM",),
    "opt": ("OPTForCausalLM",),
    "orion": ("OrionForCausalLM",),
    "phi": ("PhiForCausalLM",),
    "phi3": ("Phi3ForCausalLM",),
    "phimoe": ("PhiMoEForCausalLM",),
    "qwen2": ("Qwen2ForCausalLM",),
    "qwen2_moe": ("Qwen2MoeForCausalLM",),
    "qwen2_vl": ("Qwen2VLForConditionalGeneration",),
    "qwen2_vl_text": ("Qwen2VLForConditionalGeneration", "Qwen2ForCausalLM"),
    "qwen2_5_vl": ("Qwen2_5_VLForConditionalGeneration",),
    "qwen2_5_vl_text": ("Qwen2_5_VLForConditionalGeneration", "Qwen2ForCausalLM"),
    "qwen3": ("Qwen3ForCausalLM",),
    "qwen3_moe": ("Qwen3MoeForCausalLM",),
    "qwen3_vl_text": ("Qwen3VLForConditionalGeneration",),
    "qwen3_vl_moe_text": ("Qwen3VLMoeForConditionalGeneration",),
    "seed_oss": ("SeedOssForCausalLM",),
    "smollm3": ("SmolLM3ForCausalLM",),
    "solar": ("SolarForCausalLM",),
    "stablelm": ("StableLmForCausalLM",),
    "starcoder2": ("Starcoder2ForCausalLM",),
}


@pytest.fixture(scope="module")
def registry(code: Path) -> dict[str, str]:
    """Class of a model -> its file; the package `transformers` is the backend for models without one."""
    found = {}
    source = Source(code, f"{MODELS}/registry.py")
    for table in ("_TEXT_GENERATION_MODELS", "_MULTIMODAL_MODELS", "_TRANSFORMERS_SUPPORTED_MODELS"):
        value = source.value(table)
        assert isinstance(value, ast.Dict)
        for key, place in zip(value.keys, value.values, strict=True):
            if (
                isinstance(key, ast.Constant)
                and isinstance(place, ast.Tuple)
                and isinstance(place.elts[0], ast.Constant)
            ):
                found[str(key.value)] = str(place.elts[0].value)
    return found


def others(code: Path, module: str, seen: set[str]) -> set[str]:
    """The words for other kinds of layers in a model file and in those that it imports."""
    if module in seen or module.split(".")[0] in HELPERS:
        return set()
    seen.add(module)
    folder = code / "vllm" / MODELS / module
    if folder.is_dir():
        inner = [f"{module}.{path.stem}" for path in sorted(folder.glob("*.py")) if path.stem != "__init__"]
        return {word for each in inner for word in others(code, each, seen)}
    source = Source(code, f"{MODELS}/{module.replace('.', '/')}.py")
    words = set(OTHER.findall(source.text()))
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and node.module and "." not in module:
            inner_name = node.module.removeprefix("vllm.model_executor.models.")
            if node.level == 1 or inner_name != node.module:
                words |= others(code, inner_name, seen)
    return words


def test_the_types_that_are_sized_hold_attention_alone(code: Path, registry: dict[str, str]) -> None:
    assert set(CLASSES) == ATTENTION
    for kind, classes in CLASSES.items():
        for each in classes:
            assert others(code, registry[each], set()) == set(), (kind, each)


def test_the_words_find_what_is_not_attention(code: Path, registry: dict[str, str]) -> None:
    for each in ("Mamba2ForCausalLM", "BailingMoeV2_5ForCausalLM", "NemotronHForCausalLM", "Zamba2ForCausalLM"):
        assert others(code, registry[each], set()), each
    for each in ("Gemma3nForCausalLM", "Llama4ForCausalLM", "JambaForCausalLM", "Lfm2ForCausalLM", "DeciLMForCausalLM"):
        assert others(code, registry[each], set()), each


def test_no_file_of_a_hybrid_model_is_the_file_of_a_sized_one(code: Path, registry: dict[str, str]) -> None:
    sized = {registry[each] for classes in CLASSES.values() for each in classes}
    for path in sorted((code / "vllm" / MODELS).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and path.stem not in HELPERS:
                bases = {ast.unparse(base) for base in node.bases}
                assert not (bases & {"IsHybrid", "IsAttentionFree", "HasInnerState"} and path.stem in sized), path


def test_mixtures_are_built_as_their_files_tell(code: Path) -> None:
    assert {"qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"} == TOLD
    for module in ("qwen3_next", "qwen3_5"):
        text = Source(code, f"{MODELS}/{module}.py").text()
        assert "layer_type=config.layer_types[extract_layer_index(prefix)]" in text
        assert "self.layer_type == 'full_attention'" in text


def test_keys_that_change_the_layers_of_a_type_that_is_sized(code: Path) -> None:
    deepseek = Source(code, f"{MODELS}/deepseek_v2.py").strings()
    assert {"index_topk", "rswa_window"} <= deepseek & set(OPAQUE)
    for module in ("llama", "qwen2", "qwen3"):
        assert "is_causal" in Source(code, f"{MODELS}/{module}.py").strings()
