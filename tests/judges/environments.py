"""Where do the judges live that cannot share our environment, and how do they get there?

The kserve SDK wants an older Kubernetes client than ours, and vLLM's code has dependencies of gigabytes. Each judge
gets a folder of its own in the per-user cache, made from pinned requirements on first use and found again by the hash
of what it was made from. Of a vLLM release only the Python code is kept: 60 MB instead of 1 GB.

`python -m tests.judges.environments` makes all of them and shows progress; `make test-judges` begins with it.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playground.cache import cache_root

REPO = Path(__file__).resolve().parents[2]
REQUIREMENTS = REPO / "requirements"
RELEASES = ("0.30", "0.32", "0.33")
_READY = ".ready"
_KEPT = {".py", ".json"}


def kserve_python() -> Path:
    """The interpreter with the kserve SDK."""
    return _environment("kserve", REQUIREMENTS / "judge-kserve.txt")


def vllm_python() -> Path:
    """The interpreter with the few packages that vLLM's argument parser needs."""
    return _environment("vllm", REQUIREMENTS / "judge-vllm.txt")


def vllm_code(release: str) -> Path:
    """The folder that holds the package `vllm` of a minor release, without its binaries."""
    requirements = REQUIREMENTS / f"judge-vllm-{release}.txt"
    folder = _folder(f"vllm-{release}", requirements)
    with _made_once(folder) as make:
        if make:
            install = ("--no-deps", "--no-compile", "--no-cache-dir", "--target", str(folder))
            _pip(f"code of vLLM {release}", sys.executable, (*install, "--requirement", str(requirements)))
            _strip(folder)
    return folder


def _environment(name: str, requirements: Path) -> Path:
    folder = _folder(name, requirements)
    python = folder / "bin/python"
    with _made_once(folder) as make:
        if make:
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            _pip(f"judge {name}", str(python), ("--requirement", str(requirements)))
    return python


def _folder(name: str, requirements: Path) -> Path:
    made_from = f"{sys.version_info[:3]} {requirements.read_text(encoding='utf-8')}"
    return cache_root() / "judges" / f"{name}-{hashlib.sha256(made_from.encode()).hexdigest()[:12]}"


@contextmanager
def _made_once(folder: Path) -> Iterator[bool]:
    """True inside when the folder has to be made; afterwards it counts as made. One process at a time."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / _READY).exists():
            yield False
            return
        shutil.rmtree(folder, ignore_errors=True)
        yield True
        (folder / _READY).touch()


def _pip(what: str, python: str, arguments: Sequence[str]) -> None:
    began = time.monotonic()
    print(f"{what}: installing, once", flush=True)
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    with subprocess.Popen([*command, "--require-hashes", *arguments]) as pip:
        while True:
            try:
                code = pip.wait(timeout=15)
                break
            except subprocess.TimeoutExpired:
                print(f"{what}: still installing, {time.monotonic() - began:.0f} s", flush=True)
    if code != 0:
        raise RuntimeError(f"{what}: pip ended with {code}; its message is above. Try again, or check the network")
    print(f"{what}: ready after {time.monotonic() - began:.0f} s", flush=True)


def _strip(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix not in _KEPT:
            path.unlink()


def main() -> int:
    """Make everything that is missing."""
    kserve_python()
    vllm_python()
    for release in RELEASES:
        vllm_code(release)
    return 0


if __name__ == "__main__":
    sys.exit(main())
