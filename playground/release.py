"""How does Tierwise get into the playground? The way it gets into any cluster: with helm.

So the operator runs as a pod under its own ServiceAccount with the chart's Role, and a verb that the chart forgot fails
here. The demo and the cluster tests install it with this module.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playground.errors import PlaygroundError

CHARTS = Path(__file__).resolve().parents[1] / "charts"
IMAGE = "tierwise/operator"


@dataclass(frozen=True, slots=True)
class Release:
    """One installation of the charts tierwise-crds and tierwise through the real helm."""

    helm: Path
    kubeconfig: Path
    name: str = "tierwise"
    namespace: str = "tierwise-system"

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = 180) -> str:
        """Call helm; what it printed. Raises PlaygroundError with its complaint."""
        folder = self.kubeconfig.parent / "helm"
        done = subprocess.run(
            [str(self.helm), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "HELM_CACHE_HOME": str(folder / "cache"),
                "HELM_CONFIG_HOME": str(folder / "config"),
                "HELM_DATA_HOME": str(folder / "data"),
                "KUBECONFIG": str(self.kubeconfig),
            },
        )
        if done.returncode != 0:
            raise PlaygroundError(f"helm {arguments[0]} failed", (done.stderr or done.stdout).strip())
        return done.stdout

    def install_crds(self) -> None:
        """Install or upgrade the chart of the CRDs."""
        where = ("--namespace", self.namespace, "--create-namespace")
        self.run("upgrade", "--install", "tierwise-crds", str(CHARTS / "tierwise-crds"), *where, "--wait")

    def install(self, values: Mapping[str, Any] | None = None) -> str:
        """Install or upgrade the operator and wait until it is ready; the notes. `values` go over the chart's."""
        merged = {"image": {"repository": IMAGE}, **(values or {})}
        where = ("--namespace", self.namespace, "--create-namespace")
        arguments = ("--values", "-", "--wait", "--timeout", "120s")
        done = self.run(
            "upgrade",
            "--install",
            self.name,
            str(CHARTS / "tierwise"),
            *where,
            *arguments,
            stdin=json.dumps(merged),
        )
        return done.partition("NOTES:")[2].strip()

    def test(self) -> str:
        """Run the chart's own tests; what helm and the test pod printed."""
        return self.run("test", self.name, "--namespace", self.namespace, "--logs", "--timeout", "60s")

    def uninstall(self) -> None:
        """Remove the operator; the CRDs and the tiers stay."""
        self.run("uninstall", self.name, "--namespace", self.namespace, "--wait", "--timeout", "60s")
