"""Checks that docs/gateway.md and its manifests say the numbers and names that the router has.

A real API server reads the manifests in tests/cluster/test_manifests.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tierwise.kube.objects import MANAGED_BY, MANAGED_BY_LABEL, ROUTE_LABEL
from tierwise.routing.route import Clients, Deadlines
from tierwise_router.client_connection import Timeouts
from tierwise_router.http_request import MOST_BODY_BYTES

REPO = Path(__file__).resolve().parents[3]
FOLDER = REPO / "docs/gateway"
PAGE = (REPO / "docs/gateway.md").read_text(encoding="utf-8")


def _objects(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


def test_every_manifest_is_in_the_page() -> None:
    for path in FOLDER.iterdir():
        assert f"](gateway/{path.name})" in PAGE


def test_all_of_them_lead_to_the_port_of_the_routes_service() -> None:
    routed = _objects("httproute.yaml")[1]["spec"]["rules"][0]["backendRefs"]
    assert routed == [{"name": "chat", "port": 80}]
    for ingress in _objects("ingress.yaml"):
        (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
        assert (path["path"], path["backend"]) == ("/v1", {"service": {"name": "chat", "port": {"number": 80}}})
        assert ingress["spec"]["tls"][0]["hosts"] == [ingress["spec"]["rules"][0]["host"]]


def test_buffering_is_off_bodies_fit_and_no_answer_is_cut() -> None:
    theirs, community = (ingress["metadata"]["annotations"] for ingress in _objects("ingress.yaml"))
    prefix = "nginx.ingress.kubernetes.io/"
    assert (theirs["nginx.org/proxy-buffering"], community[prefix + "proxy-buffering"]) == ("False", "off")
    sizes = {theirs["nginx.org/client-max-body-size"], community[prefix + "proxy-body-size"]}
    assert sizes == {f"{MOST_BODY_BYTES >> 20}m"}
    assert f"| largest body | {MOST_BODY_BYTES >> 20} MiB |" in PAGE
    for said in (theirs["nginx.org/proxy-read-timeout"].removesuffix("s"), community[prefix + "proxy-read-timeout"]):
        assert int(said) > Deadlines().request_seconds
    assert _objects("httproute.yaml")[1]["spec"]["rules"][0]["timeouts"] == {"request": "0s"}
    assert f"less than {Timeouts().idle:.0f} s" in PAGE


def test_what_clients_may_not_say_is_taken_from_them() -> None:
    (given,) = _objects("httproute.yaml")[1]["spec"]["rules"][0]["filters"]
    assert Clients().priority_header in given["requestHeaderModifier"]["remove"]
    assert f"`{Clients().priority_header}`" in PAGE


def test_only_routers_and_the_monitoring_reach_engines() -> None:
    (policy,) = _objects("engines-networkpolicy.yaml")
    (rule,) = policy["spec"]["ingress"]
    routers, monitoring = rule["from"]
    assert routers["podSelector"] == {
        "matchLabels": {MANAGED_BY_LABEL: MANAGED_BY},
        "matchExpressions": [{"key": ROUTE_LABEL, "operator": "Exists"}],
    }
    assert "namespaceSelector" not in routers
    assert monitoring == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
