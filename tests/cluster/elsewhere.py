"""Lets the tests run on a cluster that is there already, such as kind with KServe.

TIERWISE_TEST_KUBECONFIG names its kubeconfig. Of the playground such a cluster has the API server only: a test that
asks for anything else (the audit log, Prometheus, a component to stop) is skipped, and the skip names it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from playground.binaries import ensure
from playground.errors import PlaygroundError

VARIABLE = "TIERWISE_TEST_KUBECONFIG"


@dataclass(frozen=True)
class Elsewhere:
    """What the playground's handle and another cluster have in common."""

    kubeconfig: Path
    binaries: Path

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl; return its output. Raises PlaygroundError with its complaint."""
        done = subprocess.run(
            [str(self.binaries / "kubectl"), "--kubeconfig", str(self.kubeconfig), *arguments],
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            raise PlaygroundError(f"kubectl {' '.join(arguments)} failed", (done.stderr or done.stdout).strip())
        return done.stdout

    def __getattr__(self, name: str) -> object:
        """Skip the test that asks for more."""
        if name.startswith("_"):
            raise AttributeError(name)
        pytest.skip(f"needs the playground's own {name}, and {VARIABLE} is set")


def elsewhere(env: Mapping[str, str] = os.environ) -> Elsewhere | None:
    """Return the cluster that the environment names, None without. Raises PlaygroundError if there is no such file."""
    named = env.get(VARIABLE, "")
    if not named:
        return None
    if not Path(named).is_file():
        raise PlaygroundError(f"{VARIABLE} names no file: {named}")
    return Elsewhere(Path(named).absolute(), ensure())
