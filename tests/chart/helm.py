"""Calls the real helm for the chart's tests, and keeps renderings of the chart as golden files.

The real helm, built with the playground's binaries: a golden file is what a user's `helm template` prints. The cases
are values files beside this module; `make verify` renders them again and fails when a golden file changed.
"""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

from playground.binaries import ensure
from playground.versions import KUBERNETES, release
from tools.generated import Files

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
CHART = REPO / "charts/tierwise"
GOLDEN = Path("tests/golden/chart")
APIS = (
    "monitoring.coreos.com/v1/PodMonitor",
    "tierwise.io/v1alpha1/ModelTier",
    "serving.kserve.io/v1beta1/InferenceService",
)


@cache
def _helm() -> str:
    return str(ensure() / "helm")


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs helm without a cluster and without the caller's own helm settings."""
    return subprocess.run(
        [_helm(), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "KUBECONFIG": "/nonexistent"},
    )


def template(*arguments: str | Path, apis: tuple[str, ...] = APIS) -> subprocess.CompletedProcess[str]:
    """`helm template tierwise charts/tierwise` for the playground's Kubernetes with these kinds known."""
    known = [part for api in apis for part in ("--api-versions", api)]
    where = ("--namespace", "tierwise-system", "--kube-version", release(KUBERNETES))
    return helm("template", "tierwise", CHART, *where, *known, *arguments)


def goldens() -> Files:
    """Every golden file of the chart with what it must contain."""
    files = {}
    for case in sorted((HERE / "cases").glob("*.yaml")):
        done = template("--values", case, apis=() if case.stem == "bare" else APIS)
        if done.returncode != 0:
            raise RuntimeError(f"helm template refuses {case.name}: {done.stderr}")
        files[GOLDEN / case.name] = done.stdout
    return files
