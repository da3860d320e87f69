"""Checks that the image's build finds a library that the engine's kernels need and the base lacks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.vllm.environment import IMAGE, RELEASES, installed

pytestmark = pytest.mark.vllm


def _checked(release: str, home: Path, **variables: str) -> tuple[int, list[str]]:
    engine = installed(release)
    environment = {**engine.surroundings(home), **variables}
    command = [str(engine.python), str(IMAGE / "kernels.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).splitlines()


@pytest.mark.parametrize("release", RELEASES)
def test_every_kernel_library_can_be_loaded_here(release: str, tmp_path: Path) -> None:
    assert _checked(release, tmp_path) == (0, ["3 kernel libraries can be loaded"])


@pytest.mark.parametrize("release", RELEASES)
def test_a_library_that_is_missing_ends_the_build_and_is_named(release: str, tmp_path: Path) -> None:
    (tmp_path / "libnuma.so.1").touch()  # found first, and no library
    code, lines = _checked(release, tmp_path, LD_LIBRARY_PATH=str(tmp_path))
    assert code == 1
    assert [line.split(":")[0] for line in lines] == ["_C.abi3.so", "_C_AVX2.abi3.so", "_C_AVX512.abi3.so"]
    assert all("libnuma.so.1" in line for line in lines), lines


def test_an_engine_without_kernels_ends_the_build(tmp_path: Path) -> None:
    package = tmp_path / "vllm"
    package.mkdir()
    (package / "__init__.py").touch()
    assert _checked(RELEASES[0], tmp_path, PYTHONPATH=str(tmp_path)) == (1, [f"no kernel library in {package}"])
