"""Reads which releases the playground runs.

`tools/go.mod` says it, once: everything else that names a release asks here. It is ONE Go module, because what the
programs share (client-go, the API types, grpc) is then compiled once; so the releases must agree on a minor of
Kubernetes' libraries.
"""

from __future__ import annotations

import re
from pathlib import Path

from playground.errors import PlaygroundError

TOOLS = Path(__file__).parent / "tools"
KUBERNETES = "k8s.io/kubernetes"
KSERVE = "github.com/kserve/kserve"
PROMETHEUS = "github.com/prometheus/prometheus"


def pinned(module: str, tools: Path = TOOLS) -> str:
    """Return the version that go.mod requires of a module, such as "v1.2.3". Raises PlaygroundError if none."""
    text = (tools / "go.mod").read_text(encoding="utf-8")
    found = re.search(rf"^\s*(?:require )?{re.escape(module)} v(\S+)", text, re.MULTILINE)
    if found is None:
        raise PlaygroundError(f"{tools / 'go.mod'} requires no {module}")
    return f"v{found[1]}"


def release(module: str, tools: Path = TOOLS) -> str:
    """Return the release that the pinned version of a module is known by: "1.2.3"."""
    version = pinned(module, tools).removeprefix("v")
    if module == PROMETHEUS:
        # Its Go module stays below 1: release 3.11.3 is module v0.311.3.
        _, minor, patch = version.split(".")
        return f"{int(minor) // 100}.{int(minor) % 100}.{patch}"
    return version


def kubernetes_minor(tools: Path = TOOLS) -> str:
    """Return Kubernetes' minor release: "1.2"."""
    return release(KUBERNETES, tools).rpartition(".")[0]
