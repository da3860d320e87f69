"""Where do programs live that tests start but cannot import, and how do they get there?

What pins other packages than ours (the kserve SDK, vLLM) gets a folder of its own in the per-user cache, made from
requirements with hashes on first use and found again by the hash of what it was made from.
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

REPO = Path(__file__).resolve().parents[1]
REQUIREMENTS = REPO / "requirements"
_READY = ".ready"


def environment(kind: str, name: str, requirements: Path, *options: str) -> Path:
    """The interpreter of a virtual environment that holds these requirements; `options` go to pip."""
    place = folder(kind, name, requirements)
    python = place / "bin/python"
    with made_once(place) as make:
        if make:
            subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
            pip(f"{kind} {name}", str(python), (*options, "--requirement", str(requirements)))
    return python


def folder(kind: str, name: str, requirements: Path) -> Path:
    """Where something made from these requirements lies, made or not."""
    made_from = f"{sys.version_info[:3]} {requirements.read_text(encoding='utf-8')}"
    return cache_root() / kind / f"{name}-{hashlib.sha256(made_from.encode()).hexdigest()[:12]}"


@contextmanager
def made_once(folder: Path) -> Iterator[bool]:
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


def pip(what: str, python: str, arguments: Sequence[str]) -> None:
    """Install wheels by hash, with a line of progress every 15 s. Raises RuntimeError when pip fails."""
    began = time.monotonic()
    print(f"{what}: installing, once", flush=True)
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
    with subprocess.Popen([*command, "--require-hashes", *arguments]) as process:
        while True:
            try:
                code = process.wait(timeout=15)
                break
            except subprocess.TimeoutExpired:
                print(f"{what}: still installing, {time.monotonic() - began:.0f} s", flush=True)
    if code != 0:
        raise RuntimeError(f"{what}: pip ended with {code}; its message is above. Try again, or check the network")
    print(f"{what}: ready after {time.monotonic() - began:.0f} s", flush=True)
