"""Has a real API server read what users apply around a route: Ingress, NetworkPolicies, Gateway and HTTPRoute.

Nothing of it is kept (a dry run), since no controller here would act on it. The Gateway API's kinds are a copy of its
own definitions (`gateway_api`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from playground.handle import Playground
from tests.cluster.gateway_api import COPY, KINDS
from tests.cluster.kubectl import Kubectl

pytestmark = pytest.mark.cluster
REPO = Path(__file__).resolve().parents[2]
FOLDER = REPO / "docs/gateway"


@pytest.fixture(scope="module")
def kubectl(playground: Playground) -> Iterator[Kubectl]:
    admin = Kubectl(playground.binaries / "kubectl", playground.kubeconfig)
    for name in ("models", "team-a", "team-b"):
        admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield admin
    admin("delete", "namespace", "models", "team-a", "team-b", "--wait=false")


def _read(kubectl: Kubectl, *files: Path) -> list[str]:
    """What the API server would have kept, one line each. A field that it does not know fails."""
    named = [part for file in files for part in ("-f", str(file))]
    return kubectl("apply", "--dry-run=server", "--validate=strict", *named).splitlines()


def test_kubernetes_knows_every_field_of_the_ingresses_and_the_policy(kubectl: Kubectl) -> None:
    assert _read(kubectl.within("models"), FOLDER / "ingress.yaml", FOLDER / "engines-networkpolicy.yaml") == [
        "ingress.networking.k8s.io/chat created (server dry run)",
        "ingress.networking.k8s.io/chat-community created (server dry run)",
        "networkpolicy.networking.k8s.io/tierwise-engines created (server dry run)",
    ]


def test_kubernetes_knows_every_field_of_the_charts_policies(kubectl: Kubectl, tmp_path: Path) -> None:
    rendered = yaml.safe_load_all((REPO / "tests/golden/chart/everything.yaml").read_text(encoding="utf-8"))
    policies = [each for each in rendered if each and each["kind"] == "NetworkPolicy"]
    own = [each for each in policies if each["metadata"]["namespace"] != "tierwise-system"]
    assert [each["metadata"]["namespace"] for each in own] == ["team-a", "team-b"]
    for policy in own:
        path = tmp_path / "policy.yaml"
        path.write_text(yaml.safe_dump(policy))
        said = _read(kubectl.within(policy["metadata"]["namespace"]), path)
        assert said == ["networkpolicy.networking.k8s.io/tw-routers created (server dry run)"]


def test_the_gateway_api_knows_every_field_of_the_gateway_and_its_route(kubectl: Kubectl) -> None:
    named = [part for kind in KINDS for part in ("-f", str(COPY / f"{kind}.yaml"))]
    kubectl("apply", "--server-side", *named)
    try:
        crds = [f"crd/{kind}.gateway.networking.k8s.io" for kind in KINDS]
        kubectl("wait", "--for=condition=Established", *crds, "--timeout=30s")
        assert _read(kubectl.within("models"), FOLDER / "httproute.yaml") == [
            "gateway.gateway.networking.k8s.io/models created (server dry run)",
            "httproute.gateway.networking.k8s.io/chat created (server dry run)",
        ]
    finally:
        kubectl("delete", *named)
