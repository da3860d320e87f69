"""Checks that the tiny models are what their recipe says, byte for byte."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import pytest

from tests.vllm.environment import make_models

pytestmark = pytest.mark.vllm
QUANTIZED = ("awq", "fp8", "gptq", "int8", "w4a16")


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _header(file: Path) -> dict[str, dict[str, object]]:
    with file.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        found: dict[str, dict[str, object]] = json.loads(stream.read(length))
    return found


def test_equal_seeds_make_equal_files_and_another_seed_another_model(models: Path, tmp_path: Path) -> None:
    make_models(tmp_path / "again")
    assert _digests(tmp_path / "again") == _digests(models)
    make_models(tmp_path / "other", "--seed", "1")
    assert _digests(tmp_path / "other")["plain/model.safetensors"] != _digests(models)["plain/model.safetensors"]


@pytest.mark.parametrize("name", QUANTIZED)
def test_a_quantized_model_is_smaller_and_keeps_only_its_ends_in_sixteen_bits(models: Path, name: str) -> None:
    file = models / name / "model.safetensors"
    assert file.stat().st_size < 0.6 * (models / "plain/model.safetensors").stat().st_size
    whole = [tensor for tensor, facts in _header(file).items() if facts.get("dtype") == "BF16" and "proj" in tensor]
    assert all("scale" in tensor for tensor in whole), whole
    assert "quantization_config" in json.loads((models / name / "config.json").read_text())
