"""The table of what runs where is fresh, whole, and says the few things that everybody knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tierwise.engines import GPU, profiles
from tierwise.engines.arg_values import dtype, kv_cache_bytes, memory_share
from tierwise.engines.hardware import batch_limits
from tools.generated import stale
from tools.validity_page import DATA, GPUS, PAGE, Row, files, rows

REPO = Path(__file__).resolve().parents[3]
ROWS = {(row.method, row.release, row.gpu): row for row in rows()}


def test_the_page_and_the_data_are_fresh() -> None:
    assert stale(files(), REPO) == [], "run `make docs`"


def test_the_data_hold_every_row() -> None:
    listed = json.loads(files()[DATA])["rows"]
    assert len(listed) == len(rows()) == len({tuple(sorted((k, str(v)) for k, v in each.items())) for each in listed})
    assert all((each["verdict"] == "accepted") == (each["why"] == []) for each in listed)


def test_every_reason_on_the_page_is_led_to() -> None:
    table, _, why = files()[PAGE].partition("## Why")
    numbers = [line.split(".")[0] for line in why.splitlines() if line[:1].isdigit()]
    assert numbers == [str(number + 1) for number in range(len(numbers))]
    cells = " ".join(
        cell for line in table.splitlines() for cell in line.split("|") if cell.strip()[:3] in ("but", "no ")
    )
    assert [number for number in numbers if number not in cells.replace(",", " ").split()] == []


@pytest.mark.parametrize(
    ("method", "release", "gpu", "verdict"),
    [
        ("none", "0.33", "NVIDIA-H100-80GB-HBM3", "accepted"),
        ("none", "0.33", "Tesla-T4", "warned"),
        ("modelopt", "0.30", "Tesla-T4", "refused"),
        ("fp8_per_tensor", "0.33", "NVIDIA-A10G", "warned"),
        ("fp8_per_tensor", "0.33", "NVIDIA-L40S", "accepted"),
        ("fp8_per_tensor", "0.30", "NVIDIA-A10G", "refused"),
        ("fp8_per_block", "0.30", "NVIDIA-A10G", "warned"),
        ("fp8", "0.30", "NVIDIA-A10G", "warned"),
        ("fp8_per_channel", "0.33", "NVIDIA-A100-SXM4-80GB", "refused"),
        ("fp8_per_channel", "0.33", "NVIDIA-L4", "accepted"),
        ("nvfp4_per_token", "0.33", "NVIDIA-H200", "refused"),
        ("fp8_e4m3", "0.33", "Tesla-T4", "refused"),
        ("nvfp4", "0.30", "NVIDIA-H200", "refused"),
        ("nvfp4", "0.32", "NVIDIA-H200", "accepted"),
        ("medusa", "0.32", "NVIDIA-B200", "accepted"),
        ("medusa", "0.33", "NVIDIA-B200", "refused"),
        ("int8_per_channel_weight_only", "0.33", "AMD_Instinct_MI300X_OAM", "refused"),
    ],
)
def test_single_answers(method: str, release: str, gpu: str, verdict: str) -> None:
    row: Row = ROWS[method, release, gpu]
    assert (row.verdict, bool(row.why)) == (verdict, verdict != "accepted")


def test_suffix_always_needs_a_package() -> None:
    assert {(row.gpu, row.verdict) for row in rows() if row.method == "suffix" and not row.why} == set()


def test_batch_limits_by_gpu() -> None:
    hardware = profiles()[-1].hardware
    limits = {gpu.product: batch_limits(hardware, gpu) for gpu in GPUS}
    chosen = {name: (each.tokens, each.sequences) for name, each in limits.items() if each is not None}
    assert chosen["NVIDIA-A100-SXM4-80GB"] == chosen["NVIDIA-L4"] == (2048, 256)
    assert chosen["NVIDIA-H100-80GB-HBM3"] == (8192, 1024)
    assert chosen["NVIDIA-B200"] == (16384, 1024)
    assert batch_limits(hardware, GPU("NVIDIA-L4")) is None


def test_what_extra_arguments_say_of_memory_and_numbers() -> None:
    assert [dtype([f"--dtype={word}"]) for word in ("half", "float", "bfloat16")] == ["float16", "float32", "bfloat16"]
    assert dtype([]) == "auto"
    assert memory_share(["--gpu-memory-utilization=0.5"], 0.92) == 0.5
    assert memory_share(["--gpu-memory-utilization=much"], 0.92) == 0.92
    sizes = {"1k": 1000, "1K": 1024, "2m": 2 * 10**6, "1G": 1024**3, "7": 7}
    assert {text: kv_cache_bytes([f"--kv-cache-memory-bytes={text}"]) for text in sizes} == sizes
    assert kv_cache_bytes(["--kv-cache-memory-bytes=x"]) is None
    assert kv_cache_bytes([]) is None
