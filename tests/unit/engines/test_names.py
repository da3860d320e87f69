"""A parser or a backend that the release does not have is refused with the engine's own image, and told of with another
one; the lists say what each release has. That they are vLLM's own lists is asked in tests/conformance."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.engines.test_arguments import spec
from tierwise import reasons
from tierwise.engines import Finding, check
from tierwise.engines.closed_lists import WHAT, known_name, known_names

OTHER = "registry.example.com/team/vllm:1"
AUTO = "--enable-auto-tool-choice"


def found(*extra: str, version: str = "0.33.0", image: str | None = None) -> list[Finding]:
    fields: dict[str, Any] = {"extraArgs": list(extra), "engine": {"version": version, "image": image}}
    return list(check(spec(**fields)))


@pytest.mark.parametrize(
    ("extra", "nearest"),
    [
        ([AUTO, "--tool-call-parser=qwen"], "it has qwen3_coder, qwen3_json, qwen3_xml"),
        (["--reasoning-parser=deepseek-r1"], "it has deepseek_r1, "),
        (["--attention-backend=FLASHATTN"], "it has FLASH_ATTN, "),
        (["--moe-backend=cutlas"], "it has cutlass, "),
        (["--linear-backend=deepgem"], "it has deep_gemm"),
        (["--reasoning-parser=zzzzzz"], "of this name; docs/engines.md lists all"),
    ],
)
def test_a_name_that_the_release_does_not_have(extra: list[str], nearest: str) -> None:
    (refused,) = found(*extra)
    assert (refused.reason, refused.fatal) == (reasons.UNSUPPORTED, True)
    assert nearest in refused.message
    assert extra[-1] in refused.message
    assert "vllm 0.33 has no " in refused.message
    (told,) = found(*extra, image=OTHER)
    assert (told.reason, told.fatal) == (reasons.NAME_UNKNOWN, False)
    assert f"{OTHER} must have it" in told.message


def of_variables(*env: tuple[str, str], version: str = "0.33.0", image: str | None = None) -> list[Finding]:
    given = [{"name": name, "value": value} for name, value in env]
    fields: dict[str, Any] = {"env": given, "engine": {"version": version, "image": image}}
    return list(check(spec(**fields)))


@pytest.mark.parametrize(
    ("name", "value", "takes"),
    [
        ("VLLM_WORKER_MULTIPROC_METHOD", "nope", "one of spawn, fork"),
        ("VLLM_DEEP_GEMM_WARMUP", "", "one of skip, full, relax"),
        ("VLLM_KV_CACHE_LAYOUT", "hnd", "one of LBNHC, LBHNC, LHBNC, NHD, HND, BLHNC, BLNHC, BHLNC"),
        ("VLLM_GPT_OSS_SYSTEM_TOOL_MCP_LABELS", "container,shell", "some of container, code_interpreter, "),
    ],
)
def test_a_value_that_a_variable_does_not_take(name: str, value: str, takes: str) -> None:
    (refused,) = of_variables(("SEED", "nope"), (name, value))
    assert (refused.reason, refused.fatal) == (reasons.UNSUPPORTED, True)
    assert refused.message.startswith(f"env: {name}={value}: vllm 0.33 takes {takes}")
    (told,) = of_variables((name, value), image=OTHER)
    assert (told.reason, told.fatal) == (reasons.NAME_UNKNOWN, False)
    assert told.message.endswith(f"{OTHER} must take it")


def test_a_value_that_it_takes_and_one_that_the_spec_does_not_show() -> None:
    well = (("VLLM_FLOAT32_MATMUL_PRECISION", "High"), ("VLLM_KV_CACHE_LAYOUT", "HND"))
    assert of_variables(*well, ("VLLM_GPT_OSS_SYSTEM_TOOL_MCP_LABELS", "container, code_interpreter,")) == []
    hidden = {"name": "VLLM_KV_CACHE_LAYOUT", "secretKeyRef": {"name": "s", "key": "k"}}
    assert list(check(spec(env=[hidden]))) == []


def test_of_a_variable_that_the_release_does_not_read_nothing_is_said() -> None:
    name = "VLLM_ROCM_AITER_MLA_DCP_VERIFY"
    for version, many in (("0.30.0", 0), ("0.32.0", 1), ("0.33.0", 0)):
        assert len(of_variables((name, "nope"), version=version)) == many


@pytest.mark.parametrize(
    "extra",
    [
        [AUTO, "--tool-call-parser=hermes"],
        ["--reasoning-parser=deepseek_r1", "--attention-backend=FLASH_ATTN"],
        ["--moe-backend=Deep-GEMM", "--linear-backend=auto"],
        ["--seed=7"],
    ],
)
def test_a_name_that_it_has(extra: list[str]) -> None:
    assert found(*extra) == []


def test_a_name_of_a_later_release() -> None:
    assert found("--reasoning-parser=muse") == []
    (refused,) = found("--reasoning-parser=muse", version="0.32.0")
    assert "vllm 0.32 has no reasoning parser of this name" in refused.message
    assert found("--reasoning-parser=minicpmv", version="0.32.0") == []
    assert found("--reasoning-parser=minicpmv", version="0.30.0") != []
    gone = "--moe-backend=flashinfer_moe_ep_mega_cutedsl"
    assert found(gone, version="0.30.0") == []
    assert found(gone, version="0.32.0") != []


def test_a_parser_that_is_not_used_stops_nothing() -> None:
    (told,) = found("--tool-call-parser=qwen")
    assert (told.reason, told.fatal) == (reasons.NAME_UNKNOWN, False)
    assert "without --enable-auto-tool-choice it does nothing" in told.message


def test_several_unknown_names_are_all_told() -> None:
    assert len(found(AUTO, "--tool-call-parser=qwen", "--reasoning-parser=deepseek-r1")) == 2


@given(st.sampled_from(sorted(WHAT)), st.sampled_from([(0, 30), (0, 32), (0, 33)]), st.text("abcdefgh_0123456789"))
def test_a_list_knows_its_own_names_and_no_others(option: str, release: tuple[int, int], extra: str) -> None:
    names = known_names(option, release)
    assert len(names) > 15
    assert all(known_name(option, release, name) for name in names)
    assert known_name(option, release, f"nobody{extra}") is False
    assert known_names("--seed", release) == ()
