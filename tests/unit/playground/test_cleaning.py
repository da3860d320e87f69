"""Checks that cleaning removes all that the project built, and nothing while it is in use."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from playground.cleaning import clean
from playground.errors import PlaygroundError

REPO = Path(__file__).parents[3]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A cache folder with one program."""
    root = tmp_path / "tierwise"
    (root / "bin/key").mkdir(parents=True)
    (root / "bin/key/program").write_bytes(b"x" * 100_000)
    return root


def test_the_folder_is_removed_and_its_size_told(root: Path) -> None:
    assert clean(root) >= 100_000
    assert not root.exists()
    assert clean(root) == 0


def test_nothing_is_removed_during_a_build(root: Path) -> None:
    with (root / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(PlaygroundError, match="a build is running"):
            clean(root)
    assert (root / "bin/key/program").exists()


def test_nothing_is_removed_while_a_program_runs_from_there(root: Path) -> None:
    sleep = root / "bin/key/sleep"
    shutil.copy(shutil.which("sleep") or "", sleep)
    with subprocess.Popen([sleep, "60"]) as process:
        try:
            with pytest.raises(PlaygroundError, match=f"in use by process {process.pid}"):
                clean(root)
        finally:
            process.kill()
    assert (root / "bin/key/program").exists()


def test_make_cleans_the_cache_without_an_environment(root: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "XDG_CACHE_HOME": str(root.parent)}
    command = ["make", "--no-print-directory", "clean-cache", f"PYTHON={sys.executable} -S"]
    done = subprocess.run(command, cwd=REPO, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"removed {root}: ")
    assert not root.exists()
