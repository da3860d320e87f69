"""What `tierwise convert` makes of manifests that people run is applied, as a dry run, by the real API server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from playground.handle import Playground
from tests.cluster.crds import installed
from tests.cluster.kubectl import Kubectl
from tests.render.convert_goldens import INPUTS
from tierwise.api.kinds import MODEL_TIER

pytestmark = pytest.mark.cluster
NAMESPACE = "converted"


@pytest.fixture(scope="module")
def kubectl(playground: Playground) -> Iterator[Kubectl]:
    admin = Kubectl(playground.binaries / "kubectl", playground.kubeconfig)
    with installed(admin, MODEL_TIER):
        admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        yield admin.within(NAMESPACE)
        admin("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.mark.parametrize("path", sorted(INPUTS.iterdir()), ids=lambda path: path.stem)
def test_a_user_converts_and_applies(kubectl: Kubectl, path: Path) -> None:
    """As at a terminal: `kubectl tierwise convert -f FILE -n NAMESPACE | kubectl apply --dry-run=server -f -`."""
    environment = {**os.environ, "PATH": f"{kubectl.binary.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    made = subprocess.run(
        ["kubectl", "tierwise", "convert", "-f", str(path), "-n", NAMESPACE],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env=environment,
    ).stdout
    names = [each["metadata"]["name"] for each in yaml.safe_load_all(made)]
    said = kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=made)
    assert said.splitlines() == [f"modeltier.tierwise.io/{name} created (server dry run)" for name in names]
