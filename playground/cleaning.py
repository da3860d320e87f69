"""Gives the disk space back.

`make clean-cache` removes the project's folder in the user's cache, all of it, and says how much that was. Not while
something runs from there, and nothing outside: Go's own caches are the user's.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from playground.cache import cache_root
from playground.errors import PlaygroundError


def clean(root: Path) -> int:
    """Remove a cache folder; return how many bytes that freed. Raises PlaygroundError if it is in use, OSError."""
    if not root.is_dir():
        return 0
    with (root / "build.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PlaygroundError(f"a build is running into {root}", "Wait for it, or stop it.") from error
        users = running_from(root)
        if users:
            numbers = ", ".join(map(str, users))
            raise PlaygroundError(f"{root} is in use by process {numbers}", "Stop the playground or the tests first.")
        freed = _size(root)
        shutil.rmtree(root)
    return freed


def running_from(root: Path) -> list[int]:
    """Return the processes whose program lies in a folder, as far as this user may see."""
    inside = f"{root.resolve()}{os.sep}"
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.readlink(process / "exe").startswith(inside):
                found.append(int(process.name))
    return sorted(found)


def _size(root: Path) -> int:
    total = 0
    for path in root.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_blocks * 512
    return total


def main() -> int:
    """Clean the user's cache; return the exit code."""
    root = cache_root()
    try:
        freed = clean(root)
    except (OSError, PlaygroundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"removed {root}: {freed / 1e6:,.0f} MB" if freed else f"there is nothing in {root}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
