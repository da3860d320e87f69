"""Installs Tierwise into the playground as into any cluster: with helm.

So the operator runs as a pod under its own ServiceAccount with the chart's Role, and a verb that the chart forgot fails
here. The demo and the cluster tests install it with this module.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playground.handle import Playground

CHARTS = Path(__file__).resolve().parents[1] / "charts"
IMAGE = "tierwise/operator"


@dataclass(frozen=True, slots=True)
class Release:
    """One installation of the charts tierwise-crds and tierwise through the real helm.

    Every method raises PlaygroundError with helm's complaint.
    """

    playground: Playground
    name: str = "tierwise"
    namespace: str = "tierwise-system"

    @property
    def user(self) -> str:
        """The operator as the API server knows it."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"

    def install_crds(self) -> None:
        """Install or upgrade the chart of the CRDs (its record stays when the operator's namespace goes)."""
        self.playground.helm("upgrade", "--install", "tierwise-crds", str(CHARTS / "tierwise-crds"), "--wait")

    def install(self, values: Mapping[str, Any] | None = None) -> str:
        """Install or upgrade the operator and wait until it is ready; the notes. `values` go over the chart's. Unless
        they say otherwise no hub is asked: nothing here loads real models."""
        merged = {"image": {"repository": IMAGE}, "hub": {"url": ""}, **(values or {})}
        where = ("--namespace", self.namespace, "--create-namespace")
        done = self.playground.helm(
            *("upgrade", "--install", self.name, str(CHARTS / "tierwise")),
            *where,
            *("--values", "-", "--wait", "--timeout", "120s"),
            stdin=json.dumps(merged),
        )
        return done.partition("NOTES:")[2].strip()

    def test(self) -> str:
        """Run the chart's own test; what helm and the test pod printed."""
        return self.playground.helm("test", self.name, "--namespace", self.namespace, "--logs", "--timeout", "60s")

    def uninstall(self) -> None:
        """Remove the operator; the CRDs and the tiers stay."""
        self.playground.helm("uninstall", self.name, "--namespace", self.namespace, "--wait", "--timeout", "60s")
