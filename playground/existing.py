"""Finds a program that is there already, of exactly the release that is pinned.

It need not be built then. envtest's folder (KUBEBUILDER_ASSETS) and PATH are searched, and each program found is asked
for its version. It is copied, so that nothing changes when it is upgraded in its place; the copy is asked again,
because a wrapper or a dispatcher may work only where it lies.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ANSWER_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Wanted:
    """A program by its name, its exact release, and the arguments with which it tells its release."""

    name: str
    release: str
    question: tuple[str, ...]


def adopt(wanted: Wanted, target: Path, env: Mapping[str, str] | None = None) -> Path | None:
    """Copy the program from this machine to `target`; return where it was, None if nowhere. Raises OSError."""
    for found in _candidates(wanted.name, os.environ if env is None else env):
        if not _answers(found, wanted):
            continue
        # Asked under its own name: some programs are several, told apart by it.
        partial = target.parent / ".existing" / wanted.name
        partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copy(found, partial)
            if _answers(partial, wanted):
                partial.replace(target)
                return found
        finally:
            shutil.rmtree(partial.parent)
    return None


def _candidates(name: str, env: Mapping[str, str]) -> Iterator[Path]:
    folders = [env.get("KUBEBUILDER_ASSETS", ""), *env.get("PATH", "").split(os.pathsep)]
    for folder in dict.fromkeys(folder for folder in folders if folder):
        path = Path(folder) / name
        if path.is_file() and os.access(path, os.X_OK):
            yield path


def _answers(program: Path, wanted: Wanted) -> bool:
    try:
        done = subprocess.run(
            [program, *wanted.question],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    # A vendor's build (1.2.3-gke.4) is another program; what follows a plus is only where it was built.
    exact = rf"(?<![\w.])v?{re.escape(wanted.release)}(?![\w.-])"
    first = done.stdout.lstrip().partition("\n")[0]
    return done.returncode == 0 and re.search(exact, first) is not None
