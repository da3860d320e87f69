"""The engine's own parser accepts the argument lists of tiers that were converted, and understands by them what it
understood by the command lines that they were made from."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.asking import ask
from tests.conformance.environments import vllm_code, vllm_python
from tests.render.convert_goldens import converted
from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import arguments, profile

pytestmark = pytest.mark.conformance


def _of_release(release: str) -> dict[str, list[str]]:
    """The argument lists of the tiers that name this release, by the tier's name."""
    found = {}
    for made in converted().values():
        for each in made:
            spec = ModelTierSpec.model_validate(each.manifest["spec"])
            if profile(spec.engine).release == release:
                found[each.manifest["metadata"]["name"]] = list(arguments(spec))
    return found


@pytest.fixture(scope="module")
def answers(release: str) -> dict[str, Any]:
    lists = _of_release(release)
    lists |= {"before: qwen": ["Qwen/Qwen3-30B", *WRITTEN], "after: qwen": ["Qwen/Qwen3-30B", *CARRIED]}
    return ask(vllm_python(), "vllm_parser.py", str(vllm_code(release)), question=lists)


# What somebody typed, and what `convert` makes of the same words.
WRITTEN = [
    "-tp",
    "2",
    "--max_model_len",
    "32k",
    "--max-num-seqs=64",
    "--kv-cache-dtype",
    "fp8",
    "--reasoning_parser=qwen3",
]
CARRIED = [
    "--tensor-parallel-size=2", "--max-model-len=32000", "--max-num-seqs=64", "--kv-cache-dtype=fp8",
    "--reasoning-parser=qwen3",
]  # fmt: skip


def test_there_is_a_tier_for_every_release() -> None:
    assert all(_of_release(release) for release in ("0.30", "0.32", "0.33"))


def test_every_argument_list_is_accepted(release: str, answers: dict[str, Any]) -> None:
    refused = {name: answer["error"] for name, answer in answers.items() if name and "error" in answer}
    assert refused == {}
    assert set(_of_release(release)) <= set(answers)


def test_short_forms_and_units_are_understood_as_the_engine_does(answers: dict[str, Any]) -> None:
    assert answers["before: qwen"]["values"] == answers["after: qwen"]["values"]
