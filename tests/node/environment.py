"""Installs the official Node client, exactly as package-lock.json names it.

Release 6 is the last one that runs on Node 20. The lock names packages and their hashes and no registry, so that npm
takes whichever its user has set. `python -m tests.node.environment` installs it; `make test-node` begins with it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.isolated import folder, made_once

HERE = Path(__file__).parent
OLDEST = 20
_KIND = "node"


def node() -> str:
    """The interpreter. Raises RuntimeError where there is none, or only one that is too old."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        raise RuntimeError(f"node and npm are not on PATH; the test of the Node client needs Node {OLDEST} or newer")
    told = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    if int(told.removeprefix("v").partition(".")[0]) < OLDEST:
        raise RuntimeError(f"this is Node {told}; the test of the Node client needs Node {OLDEST} or newer")
    return found


def modules() -> Path:
    """The folder in which the client is installed, after it was installed if it had to be. Raises RuntimeError."""
    node()
    lock = HERE / "package-lock.json"
    place = folder(_KIND, "client", lock)
    with made_once(place) as make:
        if make:
            place.mkdir(parents=True)
            for name in ("package.json", lock.name):
                shutil.copy(HERE / name, place)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
            done = subprocess.run(command, cwd=place, capture_output=True, text=True)
            if done.returncode != 0:
                raise RuntimeError(f"npm ci ended with {done.returncode}: {done.stderr[-2000:]}")
    return place


def main() -> int:
    """Install it if it is missing."""
    try:
        modules()
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
