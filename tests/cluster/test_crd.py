"""The CRD against a real API server: what it accepts, what it refuses and how, and what kubectl makes of it.

Rules are taken out in copies of the CRD under kinds of their own, so that the real one, and whoever uses it at the
same time, is left alone.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Iterator
from typing import Any, cast

import pytest

from playground.handle import Playground
from tests.cluster import crd_cases, crd_pod_cases
from tests.cluster.api_server import ApiServer
from tests.cluster.crd_spec import Case, external, served
from tests.cluster.crds import installed
from tests.cluster.kubectl import Kubectl, Refused, eventually
from tests.unit.api.structural import rules, walk
from tierwise.api.base import GROUP, VERSION
from tierwise.api.crd import definition
from tierwise.api.kinds import MODEL_TIER

pytestmark = pytest.mark.cluster
NAMESPACE = "crd-cases"
ACCEPTED = (*crd_cases.ACCEPTED, *crd_pod_cases.ACCEPTED)
REFUSED = (*crd_cases.REFUSED, *crd_pod_cases.REFUSED)
RULES = {**crd_cases.RULES, **crd_pod_cases.RULES}
COPIES, GROUPS = "crd-cases.test", 4  # the group of the copies that lack rules, and how many there are
ROOT = definition(MODEL_TIER)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
# Those of the patterns have tests of their own: test_crd_messages.
MESSAGES = [rule["message"] for _, _, rule in rules(ROOT)]


@pytest.fixture(scope="module")
def kubectl(playground: Playground) -> Iterator[Kubectl]:
    """kubectl in a namespace of these tests, on a cluster that has the CRD."""
    admin = Kubectl(playground.binaries / "kubectl", playground.kubeconfig)
    with installed(admin, MODEL_TIER):
        admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        yield admin.within(NAMESPACE)
        admin("delete", "namespace", NAMESPACE, "--wait=false")


def established(kubectl: Kubectl, *names: str) -> None:
    """Wait until the API server serves these CRDs."""

    def ready(crds: list[dict[str, Any]]) -> bool:
        served = {
            crd["metadata"]["name"]
            for crd in crds
            for condition in crd.get("status", {}).get("conditions") or ()  # null at first
            if condition["type"] == "Established" and condition["status"] == "True"
        }
        return set(names) <= served

    eventually(lambda: kubectl.find("crd"), ready, 60, f"{len(names)} CRDs established")


def manifest(case: Case, kind: str = "ModelTier", spec: dict[str, Any] | None = None) -> dict[str, Any]:
    """The object of a case; of another kind when it is a copy's."""
    return {
        "apiVersion": f"{GROUP if kind == 'ModelTier' else COPIES}/{VERSION}",
        "kind": kind,
        "metadata": {"name": case.name},
        "spec": case.spec if spec is None else spec,
    }


def send(server: ApiServer, case: Case, kind: str = "ModelTier") -> str:
    """What the API server says to a case: empty when it accepts it. Nothing is left behind."""
    before = None if case.before is None else manifest(case, kind, case.before)
    return server.refuses(manifest(case, kind), before)


def test_there_are_enough_cases_and_one_for_every_rule() -> None:
    assert sorted(RULES) == sorted(MESSAGES)
    cases = (*ACCEPTED, *REFUSED, *RULES.values())
    assert len(cases) == len({case.id for case in cases}) >= 100


@pytest.fixture(scope="module")
def server(playground: Playground, kubectl: Kubectl) -> Iterator[ApiServer]:
    """The API server, for objects in the namespace of these tests."""
    found = ApiServer(playground.kubeconfig, kubectl.namespace)
    yield found
    found.close()


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.id)
def test_accepted(server: ApiServer, case: Case) -> None:
    assert send(server, case) == ""


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
def test_refused(server: ApiServer, case: Case) -> None:
    assert case.says in send(server, case)


@pytest.mark.parametrize("message", MESSAGES)
def test_refused_by_its_rule(server: ApiServer, message: str) -> None:
    said = send(server, RULES[message])
    assert message in said
    assert not [other for other in MESSAGES if other != message and other in said]


def kind_without(number: int) -> str:
    """The kind of the copy of the CRD that lacks one rule, among others."""
    return f"Without{number % GROUPS}"


def without(messages: Collection[str], kind: str) -> dict[str, Any]:
    """The CRD under another kind, without the rules of these messages. Nor has it what these tests do not ask about,
    the descriptions and the sentences of patterns."""
    crd = copy.deepcopy(definition(MODEL_TIER))
    plural = f"{kind.lower()}s"
    crd["metadata"]["name"] = f"{plural}.{COPIES}"
    crd["spec"]["group"] = COPIES
    crd["spec"]["names"] = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    taken = set()
    for _, found in walk(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]):
        node = cast(dict[str, Any], found)
        node.pop("description", None)
        known = [rule for rule in node.get("x-kubernetes-validations", []) if rule["message"] in MESSAGES]
        kept = [rule for rule in known if rule["message"] not in messages]
        taken |= {rule["message"] for rule in known} - {rule["message"] for rule in kept}
        if kept:
            node["x-kubernetes-validations"] = kept
        else:
            node.pop("x-kubernetes-validations", None)
    assert taken == set(messages)
    return crd


@pytest.fixture(scope="module")
def relaxed(kubectl: Kubectl, server: ApiServer) -> Iterator[ApiServer]:
    """The cluster with copies of the CRD, each without every fourth rule.

    That a case is refused by its rule alone is seen in what the whole CRD says of it; the copies show that nothing else
    refuses it. One copy for each rule made the API server compile 7,000 rules: minutes, and 3.5 GiB."""
    copies = [without(MESSAGES[group::GROUPS], kind_without(group)) for group in range(GROUPS)]
    names = [crd["metadata"]["name"] for crd in copies]
    try:
        for crd in copies:
            kubectl("create", "-f", "-", stdin=json.dumps(crd))
        established(kubectl, *names)
        yield server
    finally:
        kubectl("delete", "crd", *names, "--ignore-not-found", "--wait=false")


@pytest.mark.parametrize("number", range(len(MESSAGES)), ids=MESSAGES)
def test_accepted_without_its_rule(relaxed: ApiServer, number: int) -> None:
    case, kind = RULES[MESSAGES[number]], kind_without(number)
    said = eventually(lambda: send(relaxed, case, kind), lambda said: said == "", 20, f"accepted without rule {number}")
    assert said == ""


def test_defaults_are_filled_in(kubectl: Kubectl) -> None:
    body = manifest(Case("filled", served({"scaling": {"maxReplicas": 4}, "replicas": 0}), name="filled"))
    kubectl("create", "-f", "-", stdin=json.dumps(body))
    spec = kubectl.tier("filled")["spec"]
    assert spec["scaling"] == {
        "mode": "Auto",
        "minReplicas": 1,
        "maxReplicas": 4,
        "waitingPerReplica": 5,
        "kvCachePercent": 80,
        "tolerancePercent": 10,
        "scaleDownWindowSeconds": 300,
        "idleSeconds": 300,
    }
    assert spec["engine"] == {"name": "vllm", "version": "0.33.0"}
    assert spec["speculation"] == {"mode": "Disabled"}
    assert "price" not in spec


def test_scale_subresource(kubectl: Kubectl) -> None:
    kubectl.apply(manifest(Case("scaled", served({"replicas": 0}), name="scaled")))
    kubectl("scale", "modeltier/scaled", "--replicas=3")
    assert kubectl.tier("scaled")["spec"]["replicas"] == 3
    kubectl("scale", "mt/scaled", "--replicas=0", "--current-replicas=3")
    status = {"status": {"replicas": 2, "selector": "tierwise.io/tier=scaled"}}

    def scale() -> Any:
        # an operator that runs here writes the status too
        kubectl("patch", "mt", "scaled", "--subresource=status", "--type=merge", "-p", json.dumps(status))
        return json.loads(kubectl("get", "mt", "scaled", "--subresource=scale", "-o", "json"))

    seen = eventually(scale, lambda got: got["status"].get("replicas") == 2, 30, "replicas of the scale")
    assert seen["kind"] == "Scale"
    assert "tierwise.io/tier=scaled" in seen["status"]["selector"]
    kubectl.apply(manifest(Case("api", external(), name="api")))
    with pytest.raises(Refused, match="an external tier has no replicas"):
        kubectl("scale", "mt/api", "--replicas=1")


STATUS = {
    "model": "chat",
    "ready": "2/3",
    "desiredReplicas": 3,
    "waiting": 4,
    "kvCachePercent": 71,
    "costPerHour": "4.98",
    "limitedBy": "MaxReplicas",
    "state": "Scaling",
    "engine": "vllm-0.33.0",
    "quantization": "none",
    "placed": "l40s:2",
    "prefixHitPercent": 55,
    "acceptedPercent": 0,
    "costPerMillionTokens": "0.31",
    "reason": "Degraded",
    "url": "http://shown-predictor.crd-cases.svc.cluster.local",
}


def test_columns_short_name_and_category(kubectl: Kubectl) -> None:
    kubectl.apply(manifest(Case("shown", served({"replicas": 0}), name="shown")))
    patch = json.dumps({"status": STATUS})

    def table(*arguments: str) -> list[list[str]]:
        kubectl("patch", "mt", "shown", "--subresource=status", "--type=merge", "-p", patch)
        return [line.split() for line in kubectl("get", *arguments).splitlines()]

    for kind in ("mt", "modeltier", "modeltiers", "modeltiers.v1alpha1.tierwise.io"):
        header, row = eventually(
            lambda kind=kind: table(kind, "shown"),  # type: ignore[misc]
            lambda lines: "2/3" in lines[1],
            30,
            "the status that was written",
        )
        assert header == ["NAME", "MODEL", "READY", "DESIRED", "WAITING", "KV", "$/H", "LIMITED", "STATUS", "AGE"]
        assert row[:-1] == ["shown", "chat", "2/3", "3", "4", "71", "4.98", "MaxReplicas", "Scaling"]
    header, row = eventually(
        lambda: table("mt", "shown", "-o", "wide"), lambda lines: "2/3" in lines[1], 30, "the wide columns"
    )
    assert header == ["NAME", *(column.name.upper() for column in MODEL_TIER.columns)]
    assert row[1:-1] == [str(STATUS[column.path.removeprefix(".status.")]) for column in MODEL_TIER.columns[:-1]]
    assert any(line.startswith("shown ") for line in kubectl("get", "tierwise").splitlines())


def test_explain_answers_for_every_field(kubectl: Kubectl) -> None:
    """kubectl reads what it explains from the API server's OpenAPI: that has every description, word for word, and
    kubectl is asked for the fields that stand deepest, and for some at each level above."""
    told = json.loads(kubectl("get", "--raw", f"/openapi/v3/apis/{GROUP}/{VERSION}"))
    schema = next(each for name, each in told["components"]["schemas"].items() if name.endswith(".ModelTier"))
    served = dict(walk(schema))
    paths = {
        path: node["description"]
        for path, node in walk(ROOT)
        if path.startswith((".spec", ".status")) and not path.endswith(("[]", ".*"))
    }
    assert [path for path, said in paths.items() if served[path].get("description") != said] == []
    by_depth = {path.count("."): path for path in sorted(paths)}
    for path in by_depth.values():
        said = " ".join(kubectl("explain", f"modeltier{path}".replace("[]", "")).split())
        assert f"DESCRIPTION: {' '.join(paths[path].split())}" in said
