"""A model, a checkpoint or a draft that is not what the spec takes it for is refused in the words of the spec."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.engines.test_arguments import MODEL, spec
from tests.unit.engines.test_refusals import H100, L4, LLAMA_8B, QUANTIZED, QWEN_8B, T4, advice, refusal, said
from tests.unit.engines.test_shape import LLAMA, MIXTRAL
from tierwise import reasons
from tierwise.engines import ModelShape, check, model_shape


@pytest.mark.parametrize("tensor", [3, 5, 6])
def test_heads_that_cannot_be_shared(tensor: int) -> None:
    shared: dict[str, Any] = {"parallelism": {"tensor": tensor}, "resources": {"gpus": tensor}}
    found = refusal(shape=LLAMA_8B, **shared)
    assert found.reason == reasons.NOT_DIVISIBLE
    assert found.message == f"parallelism.tensor {tensor} does not divide the model's 32 attention heads"


def test_kv_heads_are_divided_or_repeated() -> None:
    odd = ModelShape(attention_heads=24, kv_heads=6, layers=32, model_type="llama")
    four: dict[str, Any] = {"parallelism": {"tensor": 4}, "resources": {"gpus": 4}}
    assert refusal(shape=odd, **four).message == (
        "parallelism.tensor 4 and the model's 6 KV heads do not divide each other"
    )
    assert said(shape=replace(odd, kv_heads=2), **four) == []
    assert said(shape=replace(odd, latent_size=576), **four) == []


def test_stages_of_different_length_are_advice() -> None:
    assert advice(shape=LLAMA_8B, parallelism={"pipeline": 3}, resources={"gpus": 3}).reason == reasons.UNEVEN_STAGES


def test_a_context_longer_than_the_model() -> None:
    found = refusal(shape=QWEN_8B, contextLength=40961)
    assert found.reason == reasons.CONTEXT_TOO_LONG
    assert found.message == "contextLength 40961 is longer than the model's 40960: lower it to that or less"
    assert said(shape=QWEN_8B, contextLength=40960) == []


def test_the_context_of_a_mistral_repository_may_stand_elsewhere() -> None:
    """The engine reads params.json there, which the operator does not; without a context of its own that one follows
    config.json."""
    shape = replace(QWEN_8B, model_type="mistral")
    found = advice(shape=shape, contextLength=65536)
    assert found.reason == reasons.CONTEXT_TOO_LONG
    assert found.message == (
        "contextLength 65536 is longer than the model's 40960: lower it to that or less, unless params.json of the "
        "repository allows it"
    )
    assert refusal(shape=shape, contextLength=65536, extraArgs=["--config-format=hf"]).fatal
    assert refusal(shape=QWEN_8B, contextLength=65536).fatal
    assert not advice(shape=QWEN_8B, contextLength=65536, extraArgs=["--config-format=mistral"]).fatal
    official = MODEL | {"uri": "hf://mistralai/Something-New"}
    assert not advice(shape=QWEN_8B, contextLength=65536, model=official).fatal


def test_a_context_that_may_stand_elsewhere_refuses_nothing() -> None:
    shape = replace(LLAMA_8B, model_type="mistral")
    assert refusal(L4, shape=LLAMA_8B).reason == reasons.CONTEXT_DOES_NOT_FIT  # 131,072 tokens of its own
    assert [each for each in said(L4, shape=shape) if each.fatal] == []
    assert [each for each in said(shape=shape, extraArgs=["--no-enable-chunked-prefill"]) if each.fatal] == []
    assert refusal(L4, shape=shape, contextLength=131072).reason == reasons.CONTEXT_DOES_NOT_FIT
    assert refusal(L4, shape=shape, extraArgs=["--config-format=hf"]).reason == reasons.CONTEXT_DOES_NOT_FIT


@pytest.mark.parametrize(
    ("method", "real", "words"),
    [
        ("awq", "", "quantization.method awq: the checkpoint is not quantized; use none or a awq checkpoint"),
        ("fp8", "", "use fp8_per_tensor, which quantizes while loading,"),
        ("gptq", "awq", "quantization.method gptq: the checkpoint is awq; say that, or none"),
        ("fp8_per_channel", "awq", "quantizes a plain checkpoint, and this one is awq already: use none"),
        ("none", "gguf", "model.uri: vllm 0.33 cannot read gguf checkpoints: use the original checkpoint"),
    ],
)
def test_a_checkpoint_that_is_something_else(method: str, real: str, words: str) -> None:
    found = refusal(shape=replace(LLAMA_8B, quantization=real), quantization={"method": method})
    assert found.reason in (reasons.CHECKPOINT_DIFFERS, reasons.UNSUPPORTED)
    assert words in found.message


@pytest.mark.parametrize(
    ("method", "real"),
    [("none", "awq"), ("awq", "auto_awq"), ("modelopt", ""), ("modelopt_fp4", "modelopt"), ("mxfp4", "mxfp4")],
)
def test_a_checkpoint_that_is_what_it_shall_be(method: str, real: str) -> None:
    shape = replace(LLAMA_8B, quantization=real)
    assert [each for each in said(shape=shape, quantization={"method": method}) if each.fatal] == []


GPTQ: dict[str, Any] = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True}


@pytest.mark.parametrize(
    ("said_of_it", "words"),
    [
        ({"desc_act": True}, "gptq checkpoints with desc_act: true and group_size 128"),
        (
            {"desc_act": True, "dynamic": {"+:.*": {"bits": 8}}},
            "gptq checkpoints with desc_act: true and group_size 128",
        ),
        ({"sym": False}, "gptq checkpoints with bits 4 and sym: false"),
        ({"bits": 3}, "gptq checkpoints with bits 3"),
        ({"quant_method": "gptq_marlin", "bits": 2, "sym": False}, "gptq_marlin checkpoints with bits 2"),
    ],
)
def test_a_gptq_checkpoint_that_no_release_reads(said_of_it: dict[str, Any], words: str) -> None:
    found = refusal(shape=model_shape(LLAMA | {"quantization_config": GPTQ | said_of_it}))
    assert found.reason == reasons.UNSUPPORTED
    assert found.message == f"model.uri: vllm 0.33 cannot read {words}: choose another checkpoint"


@pytest.mark.parametrize(
    "said_of_it",
    [
        {},
        {"bits": 8},
        {"desc_act": True, "group_size": -1},  # one group: the order does not matter
        {"desc_act": True, "group_size": "128"},
        {"dynamic": {"+:.*": {"bits": 3}}},
        {"sym": None, "desc_act": None},
        {"quant_method": "auto-round", "sym": False},
    ],
)
def test_a_gptq_checkpoint_that_may_be_read(said_of_it: dict[str, Any]) -> None:
    shape = model_shape(LLAMA | {"quantization_config": GPTQ | said_of_it})
    assert [each for each in said(shape=shape, contextLength=64) if each.fatal] == []


def test_a_checkpoint_is_judged_by_what_it_is() -> None:
    assert (
        refusal(T4, shape=replace(LLAMA_8B, quantization="gpt_oss_mxfp4"), contextLength=64).reason == reasons.WRONG_GPU
    )
    assert said(L4, shape=QUANTIZED, contextLength=16384) == []
    found = said(H100, shape=QUANTIZED)
    assert [each.reason for each in found] == [reasons.FEW_BITS_LONG_CONTEXT]  # 131,072 tokens of its own


def test_types_of_numbers_that_exclude_each_other() -> None:
    gemma = ModelShape(model_type="gemma3")
    assert "gemma3 models in float16" in refusal(shape=gemma, extraArgs=["--dtype=half"]).message
    awq: dict[str, Any] = {"quantization": {"method": "awq"}, "extraArgs": ["--dtype=float32"]}
    assert (
        "--dtype=float32 is not possible with quantization.method awq"
        in refusal(shape=QUANTIZED, contextLength=64, **awq).message
    )
    half = replace(LLAMA_8B, dtype="float16")
    other: dict[str, Any] = {"quantization": {"kvCacheDtype": "bfloat16"}}
    assert "is not the type of the model (float16): use auto" in refusal(shape=half, **other).message
    assert advice(shape=half, engine={"version": "0.32.0"}, **other).reason == reasons.NO_EFFECT
    # A bfloat16 model is computed in float16 on a T4, where this is right.
    assert advice(shape=LLAMA_8B, quantization={"kvCacheDtype": "float16"}).reason == reasons.NO_EFFECT


def test_experts_that_are_not_there() -> None:
    assert (
        advice(shape=LLAMA_8B, quantization={"method": "int8_per_channel_weight_only"}).reason == reasons.EXPERTS_ONLY
    )
    assert said(shape=model_shape(MIXTRAL), quantization={"method": "int8_per_channel_weight_only"}) == []
    parallel = ["--enable-expert-parallel"]
    assert "the model is dense" in refusal(shape=LLAMA_8B, extraArgs=parallel).message
    assert said(shape=model_shape(MIXTRAL), extraArgs=parallel) == []
    assert said(shape=ModelShape(), extraArgs=parallel) == []


DRAFTING: dict[str, Any] = {"speculation": {"mode": "Enabled", "method": "draft_model", "draftModel": "a/b"}}


def test_a_draft_of_another_vocabulary() -> None:
    found = refusal(shape=LLAMA_8B, draft=ModelShape(vocabulary=151936), **DRAFTING)
    assert found.reason == reasons.DRAFT_UNFIT
    assert found.message == (
        "speculation.draftModel has a vocabulary of 151,936 tokens and the model one of 128,256: use a draft of the "
        "same family"
    )
    assert said(shape=LLAMA_8B, draft=ModelShape(vocabulary=128256), **DRAFTING) == []
    eagle: dict[str, Any] = {"speculation": {"mode": "Enabled", "method": "eagle3", "draftModel": "a/b"}}
    assert said(shape=LLAMA_8B, draft=ModelShape(vocabulary=32000), **eagle) == []


def test_a_draft_whose_heads_cannot_be_shared() -> None:
    four: dict[str, Any] = {"parallelism": {"tensor": 4}, "resources": {"gpus": 4}}
    found = refusal(shape=LLAMA_8B, draft=ModelShape(attention_heads=14), **DRAFTING, **four)
    assert found.message == "parallelism.tensor 4 does not divide the 14 attention heads of speculation.draftModel"


def test_a_model_that_brings_its_own_drafts() -> None:
    def mtp(tokens: int) -> dict[str, Any]:
        return {"speculation": {"mode": "Enabled", "method": "mtp", "tokens": tokens}}

    assert refusal(shape=LLAMA_8B, **mtp(1)).message == (
        "speculation.method mtp: llama models have no layers for it; use eagle3 or ngram"
    )
    assert refusal(shape=ModelShape(model_type="deepseek_v41"), **mtp(1)).reason == reasons.DRAFT_UNFIT
    two = ModelShape(model_type="deepseek_v3", draft_layers=2)
    assert refusal(shape=two, **mtp(3)).message == (
        "speculation.tokens 3 must be a multiple of the 2 layers that the model drafts with"
    )
    assert said(shape=two, **mtp(1)) == said(shape=two, **mtp(4)) == []


def test_speculation_changes_what_requests_may_say() -> None:
    found = check(spec(speculation={"mode": "Auto", "method": "ngram"}))
    assert [(each.reason, each.fatal) for each in found] == [(reasons.CONTRACT_CHANGES, False)]
    assert "min_p and logit_bias" in found[0].message


SIZES: dict[str, Any] = {
    "parameters": "8.03B",
    "layers": 32,
    "fullAttentionLayers": 32,
    "attentionHeads": 32,
    "keyValueHeads": 8,
    "headDim": 128,
}


def test_declared_sizes_count_where_no_file_is_read() -> None:
    declared: dict[str, Any] = {"model": MODEL | {"uri": "pvc://weights/llama", "architecture": SIZES}}
    assert refusal(L4, contextLength=60000, **declared).reason == reasons.CONTEXT_DOES_NOT_FIT
    assert said(L4, contextLength=16384, **declared) == []
    assert said(L4, contextLength=16384, quantization={"method": "awq"}, **declared) == []
    long: dict[str, Any] = {"model": MODEL | {"architecture": {"contextLength": 8192}}, "contextLength": 8193}
    assert refusal(**long).reason == reasons.CONTEXT_TOO_LONG


@pytest.mark.parametrize("silent", ["keyValueHeads", "fullAttentionLayers"])
def test_a_cache_of_unknown_size_refuses_nothing(silent: str) -> None:
    """A model with few KV heads, or with windows, needs a fraction of what the other sizes make one think."""
    sizes = {name: size for name, size in SIZES.items() if name != silent}
    declared: dict[str, Any] = {"model": MODEL | {"uri": "pvc://weights/llama", "architecture": sizes}}
    assert [each for each in said(L4, contextLength=60000, **declared) if each.fatal] == []
    assert refusal(T4, contextLength=64, extraArgs=["--dtype=half"], **declared).reason == reasons.WEIGHTS_DO_NOT_FIT


def test_the_file_counts_where_it_contradicts() -> None:
    wrong: dict[str, Any] = {"model": MODEL | {"architecture": SIZES | {"layers": 2}}, "contextLength": 60000}
    found = said(L4, shape=LLAMA_8B, **wrong)
    assert [each.reason for each in found] == [reasons.CONTEXT_DOES_NOT_FIT, reasons.FILE_COUNTS]
    assert found[1].message == "model.architecture.layers: 2 is not what config.json says (32); the file counts"


def test_a_declared_draft() -> None:
    drafting: dict[str, Any] = {"mode": "Enabled", "method": "draft_model", "draftModel": "a/b"}
    sizes: dict[str, Any] = {"vocabularySize": 151936, "attentionHeads": 16, "parameters": "0.6B"}
    found = refusal(shape=LLAMA_8B, speculation=drafting | {"draftArchitecture": sizes})
    assert found.reason == reasons.DRAFT_UNFIT
