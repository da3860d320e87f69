"""The measured kernels answer for the GPUs and models that are named, and the shipped roofline is near them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from statistics import median
from typing import Any

import pytest

from tests.conformance.environments import kernels_python
from tests.isolated import REPO

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.skipif(sys.version_info >= (3, 14), reason="the package has no wheel for Python 3.14"),
]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    variables = os.environ | {"PYTHONPATH": f"{REPO / 'simulator'}{os.pathsep}{REPO / 'controllers'}"}
    models = [
        "meta-llama/Llama-3.1-8B",
        "nvidia/Llama-3.1-8B-Instruct-FP8",
        "meta-llama/Llama-3.1-70B-FP8",
        "Qwen/Qwen3-32B",
    ]
    command = [str(kernels_python()), str(REPO / "tests/conformance/kernel_answers.py"), *models]
    told = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    found: list[dict[str, Any]] = json.loads(told.stdout)
    return found


def test_every_named_gpu_has_kernels_of_some_model(rows: list[dict[str, Any]]) -> None:
    assert {row["gpu"] for row in rows} == {row["gpu"] for row in rows if "kernels" in row}
    for row in rows:
        if row["gpu"] in ("NVIDIA-H100-80GB-HBM3", "NVIDIA-H200", "NVIDIA-B200", "NVIDIA-L40S"):
            assert "missing" not in row, row


def test_what_is_missing_is_told_with_the_kernel(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if "missing" in row:
            assert row["gpu"] == "NVIDIA-A100-SXM4-80GB", row
            assert "fp8" in row["missing"]


def test_a_run_of_steps_costs_what_single_steps_do_and_speed_divides(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if "kernels" in row:
            decode, chunk = row["kernels"]
            assert row["run"] == pytest.approx(decode)
            assert row["doubled"] == pytest.approx(chunk / 2)
            assert 0.001 < decode < chunk < 3, "2.4 s: a 70B on four L40S, whose all-reduces go over PCIe"


def test_the_shipped_roofline_is_near_the_kernels_it_was_fitted_to(rows: list[dict[str, Any]]) -> None:
    errors = [
        abs(said / measured - 1)
        for row in rows
        if "roofline" in row
        for said, measured in zip(row["roofline"], row["kernels"], strict=True)
    ]
    assert len(errors) > 40
    assert median(errors) < 0.12
