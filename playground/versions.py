"""Reads which releases the playground runs.

`tools/go.mod` says it, once: everything else that names a release asks here. It is ONE Go module, because what the
programs share (client-go, the API types, grpc) is then compiled once; so the releases must agree on a minor of
Kubernetes' libraries. TIERWISE_VERSIONS names a set of other releases, for `make test-versions`: one module in another
release, pinned under `tools/versions`, the rest as always.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from playground.errors import PlaygroundError

TOOLS = Path(__file__).parent / "tools"
VARIABLE = "TIERWISE_VERSIONS"
KUBERNETES = "k8s.io/kubernetes"
KSERVE = "github.com/kserve/kserve"
PROMETHEUS = "github.com/prometheus/prometheus"


@dataclass(frozen=True, slots=True)
class VersionSet:
    """One module in another release, and the programs that are built from it."""

    name: str
    module: str
    programs: tuple[str, ...]

    @property
    def tools(self) -> Path:
        """The folder with its go.mod."""
        return TOOLS / "versions" / self.name


_CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
SETS: Mapping[str, VersionSet] = {
    found.name: found
    for found in (
        VersionSet("kserve-0.17", KSERVE, ("kserve-manager",)),
        VersionSet("kserve-0.20", KSERVE, ("kserve-manager",)),
        VersionSet("kubernetes-1.31", KUBERNETES, _CONTROL_PLANE),
        VersionSet("kubernetes-1.37", KUBERNETES, _CONTROL_PLANE),
    )
}


def chosen(env: Mapping[str, str] | None = None) -> VersionSet | None:
    """Return the set that TIERWISE_VERSIONS names, None without. Raises PlaygroundError if there is no such set."""
    name = (os.environ if env is None else env).get(VARIABLE, "")
    if not name:
        return None
    if name not in SETS:
        raise PlaygroundError(f"{VARIABLE} names no set of versions: {name}", f"There are: {', '.join(SETS)}.")
    return SETS[name]


def pinned(module: str, tools: Path | None = None) -> str:
    """Return the version that go.mod requires of a module, such as "v1.2.3". Raises PlaygroundError if none.

    Without `tools` it is that of the chosen set.
    """
    path = (tools or _tools(module)) / "go.mod"
    found = re.search(rf"^\s*(?:require )?{re.escape(module)} v(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise PlaygroundError(f"{path} requires no {module}")
    return f"v{found[1]}"


def release(module: str, tools: Path | None = None) -> str:
    """Return the release that the pinned version of a module is known by: "1.2.3"."""
    version = pinned(module, tools).removeprefix("v")
    if module == PROMETHEUS:
        # Its Go module stays below 1: release 3.11.3 is module v0.311.3.
        _, minor, patch = version.split(".")
        return f"{int(minor) // 100}.{int(minor) % 100}.{patch}"
    return version


def kubernetes_minor(tools: Path | None = None) -> str:
    """Return Kubernetes' minor release: "1.2"."""
    return release(KUBERNETES, tools).rpartition(".")[0]


def _tools(module: str) -> Path:
    found = chosen()
    return found.tools if found is not None and found.module == module else TOOLS
