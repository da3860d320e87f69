"""Quantization methods: where each runs, which types of numbers it computes with, which checkpoints are read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.engines.test_refusals import (
    A100,
    B200,
    GPT_OSS,
    H100,
    L4,
    LLAMA_8B,
    T4,
    advice,
    refusal,
    said,
)
from tierwise import reasons
from tierwise.engines import GPU, ModelShape, model_shape, profiles
from tierwise.engines.methods import METHODS, method_in_use, of_checkpoint

A10G = GPU("NVIDIA-A10G", (8, 6), 23028, 580)
GEMMA = ModelShape(model_type="gemma3", dtype="bfloat16")
PLAIN, HALF = ModelShape(model_type="llama", dtype="bfloat16"), ModelShape(model_type="llama", dtype="float16")
RELEASES = [each.release for each in profiles()]


def quantized(method: str, **fields: Any) -> dict[str, Any]:
    return {"quantization": {"method": method}, "extraArgs": ["--dtype=half"], **fields}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("gpu", [T4, A10G, A100])
def test_fp8_by_channel_needs_fp8_arithmetic(gpu: GPU, release: str) -> None:
    found = refusal(gpu, engine={"version": f"{release}.0"}, **quantized("fp8_per_channel"))
    assert found.reason == reasons.WRONG_GPU
    assert "quantization.method fp8_per_channel needs compute capability 8.9 or more" in found.message
    assert said(L4, engine={"version": f"{release}.0"}, **quantized("fp8_per_channel")) == []
    # The engine refuses one kernel, and another may be asked for.
    other = ["--dtype=half", "--linear-backend=Humming"]
    assert not [each for each in said(gpu, quantization={"method": "fp8_per_channel"}, extraArgs=other) if each.fatal]
    auto = ["--dtype=half", "--linear-backend=AUTO"]
    assert refusal(gpu, quantization={"method": "fp8_per_channel"}, extraArgs=auto).reason == reasons.WRONG_GPU


@pytest.mark.parametrize("gpu", [T4, A10G, A100])
def test_the_oldest_release_has_no_fallback_for_plain_fp8(gpu: GPU) -> None:
    old: dict[str, Any] = {"engine": {"version": "0.30.0"}}
    found = refusal(gpu, **old, **quantized("fp8_per_tensor"))
    assert found.reason == reasons.WRONG_GPU
    assert "use fp8_per_block, extraArgs --linear-backend=marlin or engine.version 0.32" in found.message
    assert advice(gpu, **quantized("fp8_per_tensor")).reason == reasons.WEIGHT_ONLY
    assert advice(gpu, **old, **quantized("fp8_per_block")).reason == reasons.WEIGHT_ONLY
    marlin = ["--dtype=half", "--linear-backend=marlin"]
    chosen = advice(gpu, quantization={"method": "fp8_per_tensor"}, extraArgs=marlin, **old)
    assert chosen.reason == reasons.WEIGHT_ONLY
    # A checkpoint of fp8 may be quantized by blocks, which works.
    perhaps = said(gpu, **old, **quantized("fp8"))
    assert [(each.reason, each.fatal) for each in perhaps] == [(reasons.WRONG_GPU, False)]
    assert "unless the checkpoint is quantized by blocks" in perhaps[0].message


def test_a_remedy_runs_where_the_old_method_ran() -> None:
    for each in profiles():
        for remedy in each.removed.values():
            assert "fp8_per_channel" not in remedy


@pytest.mark.parametrize("real", ["fbgemm_fp8", "fp_quant"])
@pytest.mark.parametrize("release", RELEASES)
def test_checkpoints_that_the_engine_calls_deprecated(real: str, release: str) -> None:
    shape = replace(PLAIN, quantization=real)
    found = refusal(H100, shape=shape, engine={"version": f"{release}.0"})
    assert found.reason == reasons.UNSUPPORTED
    assert f"vllm {release} refuses {real} checkpoints as deprecated: use a" in found.message


@pytest.mark.parametrize("real", ["experts_int8", "modelopt_mxfp8", "mxfp8", "gpt_oss_mxfp4", "mxfp4"])
def test_methods_that_only_a_checkpoint_names_have_minima(real: str) -> None:
    shape = replace(PLAIN, quantization=real)
    assert refusal(T4, shape=shape).reason == reasons.WRONG_GPU
    assert not [each for each in said(A100, shape=shape) if each.fatal]
    assert not [each for each in said(T4, shape=replace(HALF, quantization="modelopt_mixed")) if each.fatal]


def test_every_known_method_has_an_entry() -> None:
    for each in profiles():
        assert {name for name in each.known_quantization if of_checkpoint(name) is None} == set()
        assert not each.known_quantization & set(each.deprecated)
    assert of_checkpoint("gguf") is None


def test_a_checkpoint_knows_its_own_method() -> None:
    assert method_in_use("none", "") == ("none", None)
    assert method_in_use("modelopt", "modelopt_fp4")[0] == "modelopt_fp4"
    name, online = method_in_use("mxfp4", "")
    assert (name, online) == ("mxfp4", METHODS["mxfp4"])
    assert method_in_use("none", "gpt_oss_mxfp4") == ("mxfp4", of_checkpoint("mxfp4"))
    assert of_checkpoint("mxfp4") != online


def test_few_bits_are_those_of_the_checkpoint_where_it_tells_them() -> None:
    long: dict[str, Any] = {"contextLength": 131072}
    eight = replace(LLAMA_8B, quantization="gptq", weight_bits=8)
    four = replace(LLAMA_8B, quantization="compressed-tensors", weight_bits=4)
    assert said(H100, shape=eight, **long) == []
    assert [each.reason for each in said(H100, shape=four, **long)] == [reasons.FEW_BITS_LONG_CONTEXT]
    untold = replace(LLAMA_8B, quantization="awq")
    assert [each.reason for each in said(H100, shape=untold, **long)] == [reasons.FEW_BITS_LONG_CONTEXT]
    assert said(H100, shape=replace(LLAMA_8B, quantization="compressed-tensors"), **long) == []


def test_a_method_that_takes_only_bfloat16() -> None:
    gpt = replace(model_shape(GPT_OSS), dtype="bfloat16")
    found = refusal(H100, shape=gpt, contextLength=4096, extraArgs=["--dtype=float16"])
    assert found.reason == reasons.INVALID_SPEC
    assert found.message == (
        "extraArgs: --dtype=float16 is not possible with quantization.method mxfp4, which computes in bfloat16: "
        "remove it"
    )
    assert not [each for each in said(H100, shape=gpt, contextLength=4096) if each.fatal]
    half = replace(gpt, dtype="float16")
    assert (
        "the model is float16, and quantization.method mxfp4 computes in bfloat16: set extraArgs --dtype=bfloat16"
        in (refusal(H100, shape=half, contextLength=4096).message)
    )
    assert not [each for each in said(B200, shape=PLAIN, **quantized("mxfp4")) if each.fatal]  # the online method


def test_a_model_that_is_computed_in_float32_on_an_old_gpu() -> None:
    words = advice(T4, shape=GEMMA)
    assert words.reason == reasons.LESS_PRECISION
    expected = "model.uri: the engine computes gemma3 models in float32 below compute capability 8.0"
    assert words.message.startswith(expected)
    found = refusal(T4, shape=GEMMA, quantization={"method": "fp8_per_tensor"})
    assert found.reason == reasons.WRONG_GPU
    assert "quantization.method fp8_per_tensor does not compute in float32" in found.message
    assert said(L4, shape=GEMMA, quantization={"method": "fp8_per_tensor"}) == []
    plain = replace(GEMMA, dtype="")
    assert refusal(T4, shape=plain, quantization={"method": "fp8_per_tensor"}).reason == reasons.WRONG_GPU
    tensors = replace(GEMMA, quantization="compressed-tensors")
    assert [each.fatal for each in said(T4, shape=tensors)] == [False]


def test_weights_in_float32_take_twice_the_memory() -> None:
    sized = replace(LLAMA_8B, model_type="gemma3")
    two: dict[str, Any] = {"parallelism": {"tensor": 2}, "resources": {"gpus": 2}, "contextLength": 64}
    assert refusal(T4, shape=sized, **two).reason == reasons.WEIGHTS_DO_NOT_FIT
    assert advice(T4, shape=LLAMA_8B, **two).reason == reasons.LESS_PRECISION
    assert "29.9 GiB" in refusal(L4, shape=LLAMA_8B, contextLength=64, extraArgs=["--dtype=float32"]).message
