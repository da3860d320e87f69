"""Makes environments for programs that tests start but cannot import.

What pins other packages than ours (the kserve SDK, vLLM) gets a folder of its own in the per-user cache, made from a
lock on first use and found again by the hash of what it was made from.
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
from tools.locks import check_environment

REPO = Path(__file__).resolve().parents[1]
REQUIREMENTS = REPO / "requirements"
_READY = ".ready"


def environment(kind: str, name: str, lock: Path) -> Path:
    """The interpreter of a virtual environment that holds exactly what a lock names.

    Raises RuntimeError when the installation fails, or when something installed requires what the lock lacks.
    """
    place = folder(kind, name, lock)
    python = place / "bin/python"
    with made_once(place) as make:
        if make:
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
            install(f"{kind} {name}", "sync", "--python", str(python), str(lock))
            if findings := check_environment(lock, python):
                raise RuntimeError("\n".join(findings))
    return python


def wheel_folder(kind: str, name: str, lock: Path) -> Path:
    """A folder that holds the one wheel of a lock, without what it requires."""
    place = folder(kind, name, lock)
    with made_once(place) as make:
        if make:
            install(f"{kind} {name}", "install", "--no-deps", "--target", str(place), "--requirement", str(lock))
    return place


def folder(kind: str, name: str, lock: Path) -> Path:
    """Where something made from this lock lies, made or not."""
    made_from = f"{sys.version_info[:3]} {lock.read_text(encoding='utf-8')}"
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


def uv() -> str:
    """The installer beside the interpreter that runs the tests."""
    return str(Path(sys.executable).with_name("uv"))


def install(what: str, verb: str, *arguments: str) -> None:
    """Install wheels by hash, with a line of progress every 15 s. Raises RuntimeError when uv fails."""
    began = time.monotonic()
    print(f"{what}: installing, once", flush=True)
    # A copy: the cache of uv may lie on another file system, and some of these folders are stripped of files.
    command = [uv(), "pip", verb, "--quiet", "--require-hashes", "--no-build", "--link-mode=copy", *arguments]
    code = _wait(what, command, began)
    if code != 0:
        raise RuntimeError(f"{what}: uv ended with {code}; its message is above. Try again, or check the network")
    print(f"{what}: ready after {time.monotonic() - began:.0f} s", flush=True)


def _wait(what: str, command: Sequence[str], began: float) -> int:
    with subprocess.Popen(command) as process:
        while True:
            try:
                return process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                print(f"{what}: still installing, {time.monotonic() - began:.0f} s", flush=True)
