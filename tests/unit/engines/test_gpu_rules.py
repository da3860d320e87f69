"""Rules about single GPUs that depend on the model or on the node: attention sinks, and the driver."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.engines.test_refusals import A100, B200, GPT_OSS, H100, L4, advice, refusal, said
from tierwise import reasons
from tierwise.engines import GPU, ModelShape, model_shape

A10G = GPU("NVIDIA-A10G", (8, 6), 23028, 580)
RTX_PRO = GPU("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", (12, 0), 97887, 580)
SINKS, PLAIN = replace(model_shape(GPT_OSS), parameters=None), ModelShape(model_type="llama", head_dim=64)


def cached(dtype: str, **fields: Any) -> dict[str, Any]:
    return {"quantization": {"kvCacheDtype": dtype}, "contextLength": 4096, **fields}


def refused(*gpus: GPU, **given: Any) -> bool:
    return any(each.fatal for each in said(*gpus, **given))


@pytest.mark.parametrize("dtype", ["fp8", "fp8_e4m3", "fp8_e5m2"])
def test_attention_sinks_take_an_fp8_cache_only_from_ada_on(dtype: str) -> None:
    for old in (A10G, A100):
        found = refusal(old, shape=SINKS, **cached(dtype))
        assert found.reason == reasons.WRONG_GPU
        assert "(with heads of 64 and attention sinks)" in found.message
        assert not refused(old, shape=PLAIN, **cached(dtype))
    assert [gpu.product for gpu in (L4, H100, B200, RTX_PRO) if refused(gpu, shape=SINKS, **cached(dtype))] == []


def test_attention_sinks_and_a_cache_of_four_bits() -> None:
    wide = replace(SINKS, head_dim=128)
    nvfp4 = [gpu for gpu in (A100, L4, H100, B200, RTX_PRO) if refused(gpu, shape=wide, **cached("nvfp4"))]
    assert nvfp4 == [A100, L4, H100, RTX_PRO]
    assert not refused(H100, shape=replace(wide, model_type="llama"), **cached("nvfp4"))


def test_attention_sinks_with_a_plain_cache() -> None:
    assert [
        gpu.product for gpu in (A10G, A100, L4, H100, B200, RTX_PRO) if refused(gpu, shape=SINKS, contextLength=4096)
    ] == []


def test_an_older_driver_may_do_with_the_compatibility_package() -> None:
    old = replace(H100, driver_major=570)
    found = advice(old)
    assert found.reason == reasons.DRIVER_TOO_OLD
    assert found.message == (
        "engine.version 0.33 is built for driver 580 (CUDA 13) and starts on one from 535 on only with NVIDIA's "
        "forward compatibility; a node with NVIDIA-H100-80GB-HBM3 has 570"
    )
    assert advice(replace(H100, driver_major=535)).reason == reasons.DRIVER_TOO_OLD
    assert said(replace(H100, driver_major=580)) == []
    assert said(old, engine={"image": "registry.example.com/vllm-cu129:1"}) == []


@pytest.mark.parametrize("gpu", [replace(H100, driver_major=534), GPU("NVIDIA-GeForce-RTX-4090", (8, 9), 24564, 570)])
def test_a_driver_that_no_package_helps(gpu: GPU) -> None:
    found = refusal(gpu)
    assert found.reason == reasons.DRIVER_TOO_OLD
    assert found.message.startswith("engine.version 0.33 needs driver 580 or newer (CUDA 13); a node with ")
