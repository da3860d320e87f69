"""Checks what the CPU image's launcher adds to a rendered argument list, and what it leaves alone."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import arguments

LAUNCHER = Path(__file__).resolve().parents[3] / "runtime-images/vllm-cpu/bin/vllm"


@pytest.fixture(scope="module")
def launcher() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("launcher", str(LAUNCHER))
    spec = importlib.util.spec_from_loader("launcher", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def _rendered(**spec: object) -> list[str]:
    model = {"name": "m", "uri": "pvc://models/int8"}
    return ["serve", *arguments(ModelTierSpec.model_validate({"model": model, **spec}))]


PLAIN = ["--kv-cache-memory-bytes=64M", "--distributed-executor-backend=uni", "--enforce-eager"]


def test_a_rendered_list_gets_what_a_cpu_needs(launcher: ModuleType) -> None:
    assert launcher.additions(_rendered(), {}) == PLAIN


def test_what_is_given_is_not_added(launcher: ModuleType) -> None:
    given = [*_rendered(), "--kv-cache-memory-bytes", "1G", "--enforce-eager", "--distributed-executor-backend=mp"]
    assert launcher.additions(given, {}) == []


def test_the_environment_chooses(launcher: ModuleType) -> None:
    chosen = {"TIERWISE_CPU_KV_CACHE": "1G", "TIERWISE_CPU_LOAD_FORMAT": "dummy", "TIERWISE_CPU_COMPILE": "1"}
    assert launcher.additions(_rendered(), chosen) == [
        "--kv-cache-memory-bytes=1G",
        "--distributed-executor-backend=uni",
        "--load-format=dummy",
    ]


def test_speculation_is_at_temperature_zero(launcher: ModuleType) -> None:
    added = launcher.additions(_rendered(speculation={"mode": "Auto", "method": "ngram"}), {})
    assert '--override-generation-config={"temperature":0}' in added


def test_one_process_cannot_hold_two_ranks(launcher: ModuleType) -> None:
    two = _rendered(parallelism={"tensor": 2}, resources={"gpus": 2, "cpu": "1", "memory": "4Gi"})
    assert launcher.additions(two, {}) == [option for option in PLAIN if "executor" not in option]


def test_other_commands_stay_as_they_are(launcher: ModuleType) -> None:
    assert launcher.additions(["--version"], {}) == []


def test_the_environment_that_would_override_the_cache_size_goes(launcher: ModuleType) -> None:
    around = launcher.surroundings({"VLLM_CPU_KVCACHE_SPACE": "1", "HOME": "/tmp"})
    assert around == {"HOME": "/tmp", "TORCHDYNAMO_DISABLE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}


def test_an_image_without_a_compiler_never_needs_one(launcher: ModuleType) -> None:
    assert launcher.surroundings({})["TORCHDYNAMO_DISABLE"] == "1"
    assert "TORCHDYNAMO_DISABLE" not in launcher.surroundings({"TIERWISE_CPU_COMPILE": "1"})


def test_a_process_mode_that_was_chosen_stays(launcher: ModuleType) -> None:
    assert launcher.surroundings({"VLLM_ENABLE_V1_MULTIPROCESSING": "1"})["VLLM_ENABLE_V1_MULTIPROCESSING"] == "1"


def test_a_number_of_threads_holds_for_the_drafter_too(launcher: ModuleType) -> None:
    assert launcher.surroundings({"OMP_NUM_THREADS": "1"})["NUMBA_NUM_THREADS"] == "1"
    assert "NUMBA_NUM_THREADS" not in launcher.surroundings({})
