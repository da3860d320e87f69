"""The CRD of ModelRoute against a real API server: its rules, their cost, and its columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from playground.handle import Playground
from tests.cluster.crds import installed
from tests.cluster.kubectl import Kubectl, Refused
from tests.unit.api.structural import rules
from tierwise.api.crd import definition
from tierwise.api.kinds import MODEL_ROUTE

pytestmark = pytest.mark.cluster
NAMESPACE = "crd-routes"
ROOT = definition(MODEL_ROUTE)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
MESSAGES = {rule["message"] for _, _, rule in rules(ROOT)}
SMALL, LARGE = {"name": "small"}, {"name": "large", "use": "Overflow"}
RULE = {"name": "r", "match": {"tools": True}, "tier": "large"}

# One object for each rule, that only this rule refuses.
REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "each tier may stand once in spec.tiers": ("chat", {"tiers": [SMALL, SMALL]}),
    "at least one of spec.tiers must have use Always": ("chat", {"tiers": [LARGE]}),
    "policy.defaultTier must name one of spec.tiers": ("chat", {"tiers": [SMALL], "policy": {"defaultTier": "x"}}),
    "each of policy.rules must name one of spec.tiers": ("chat", {"tiers": [SMALL], "policy": {"rules": [RULE]}}),
    "policy.defaultTier names a tier with use Overflow, which answers only what spills or falls back: "
    "give that tier use Always, or name another": (
        "chat",
        {"tiers": [SMALL, LARGE], "policy": {"defaultTier": "large"}},
    ),
    "one of policy.rules names a tier with use Overflow, which answers only what spills or falls back: "
    "give that tier use Always, or name another": ("chat", {"tiers": [SMALL, LARGE], "policy": {"rules": [RULE]}}),
    "overflow.stopPercent must not be above overflow.startPercent": (
        "chat",
        {"tiers": [SMALL], "overflow": {"startPercent": 50, "stopPercent": 60}},
    ),
    "policy.type Classifier needs policy.classifier: the ConfigMap that `tierwise train` writes": (
        "chat",
        {"tiers": [SMALL], "policy": {"type": "Classifier"}},
    ),
    "policy.type Cascade needs policy.cascade; its fields have defaults, so `cascade: {}` will do": (
        "chat",
        {"tiers": [SMALL, {"name": "middle"}], "policy": {"type": "Cascade"}},
    ),
    "policy.type Cascade needs a dearer tier: at least two of spec.tiers must have use Always": (
        "chat",
        {"tiers": [SMALL, LARGE], "policy": {"type": "Cascade", "cascade": {}}},
    ),
    "referenceTier must name one of spec.tiers": ("chat", {"tiers": [SMALL], "referenceTier": "x"}),
    "quality.judgeTier must name one of spec.tiers": (
        "chat",
        {"tiers": [SMALL], "quality": {"judgeTier": "x", "budgetUSDPerDay": "1"}},
    ),
    "pressure.minSharePercent must not be above pressure.maxSharePercent": (
        "chat",
        {"tiers": [SMALL], "pressure": {"minSharePercent": 60, "maxSharePercent": 50}},
    ),
    "the judge cannot have been right on more answers than people looked at": (
        "chat",
        {
            "tiers": [SMALL],
            "quality": {
                "judgeTier": "small",
                "budgetUSDPerDay": "1",
                "audit": {"goodAnswers": 10, "goodJudgedGood": 11, "badAnswers": 10, "badJudgedBad": 9},
            },
        },
    ),
    "the name of a route has at most 40 characters": ("x" * 41, {"tiers": [SMALL]}),
    "the name of a route is lower-case letters, digits and dashes, and starts with a letter": (
        "1st",
        {"tiers": [SMALL]},
    ),
    "the name of a route must not end with -predictor: KServe names the Services of tiers so": (
        "chat-predictor",
        {"tiers": [SMALL]},
    ),
}
ACCEPTED: dict[str, dict[str, Any]] = {
    "the plainest": {"tiers": [SMALL]},
    "everything": {
        "modelNames": ["chat", "gpt-4.1"],
        "directAccess": False,
        "tiers": [SMALL, LARGE, {"name": "bought", "use": "Overflow"}],
        "policy": {
            "type": "Classifier",
            "mode": "Shadow",
            "classifier": {"configMapName": "chat-classifier", "qualityPercent": 97},
            "cascade": {"holdTokens": 16, "minMeanLogProbability": "-0.75", "maxEscalatedPercent": 20},
            "defaultTier": "small",
            "rules": [{**RULE, "tier": "small"}],
        },
        "conversation": "Free",
        "referenceTier": "large",
        "quality": {
            "samplePercent": 2,
            "judgeTier": "bought",
            "budgetUSDPerDay": "5.50",
            "audit": {"goodAnswers": 60, "goodJudgedGood": 57, "badAnswers": 40, "badJudgedBad": 34},
            "saltSecretName": "chat-salt",
        },
        "pressure": {"minSharePercent": 10, "maxSharePercent": 60},
        "overflow": {"startPercent": 110, "stopPercent": 60, "maxCostPerHour": "1.50"},
        "queue": {"maxRequests": 10, "timeoutSeconds": 5, "startupTimeoutSeconds": 60},
        "deadlines": {"requestSeconds": 60, "firstTokenSeconds": 10, "tokenGapSeconds": 5},
        "budget": {"amount": "100", "period": "Day", "timeZone": "Europe/Berlin", "whenSpent": "CheaperTier"},
        "clients": {"secretName": "keys", "tenantHeader": "X-Team"},
        "replicas": 3,
        "drainSeconds": 60,
    },
    "a cascade with its defaults": {"tiers": [SMALL, {"name": "middle"}], "policy": {"type": "Cascade", "cascade": {}}},
    "every list full": {
        "modelNames": [f"m{number}" for number in range(16)],
        "tiers": [{"name": f"t{number}"} for number in range(8)],
        "policy": {"rules": [{**RULE, "name": f"r{number}", "tier": "t7"} for number in range(32)]},
    },
}


@pytest.fixture(scope="module")
def kubectl(playground: Playground) -> Iterator[Kubectl]:
    """kubectl in a namespace of these tests, on a cluster that has the CRD."""
    admin = Kubectl(playground.binaries / "kubectl", playground.kubeconfig)
    with installed(admin, MODEL_ROUTE):
        admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        yield admin.within(NAMESPACE)
        admin("delete", "namespace", NAMESPACE, "--wait=false")


def _send(kubectl: Kubectl, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    body = {"apiVersion": MODEL_ROUTE.api_version, "kind": "ModelRoute", "metadata": {"name": name}, "spec": spec}
    done = kubectl("create", "--dry-run=server", "-f", "-", "-o", "json", stdin=json.dumps(body))
    return dict(json.loads(done))


@pytest.mark.parametrize("message", REFUSED)
def test_a_rule_refuses_with_its_message_and_nothing_else_does(kubectl: Kubectl, message: str) -> None:
    name, spec = REFUSED[message]
    with pytest.raises(Refused) as refusal:
        _send(kubectl, name, spec)
    assert {each for each in MESSAGES if each in str(refusal.value)} == {message}


def test_every_rule_has_a_case() -> None:
    assert set(REFUSED) == MESSAGES


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_is_right_is_accepted(kubectl: Kubectl, case: str) -> None:
    assert _send(kubectl, "chat", ACCEPTED[case])["spec"]["replicas"] in (2, 3)


def test_defaults_are_filled_in(kubectl: Kubectl) -> None:
    spec = _send(kubectl, "chat", {"tiers": [SMALL]})["spec"]
    assert spec["tiers"] == [{"name": "small", "use": "Always"}]
    assert (spec["directAccess"], spec["drainSeconds"]) == (True, 300)
    assert spec["queue"] == {"timeoutSeconds": 30, "startupTimeoutSeconds": 300}
    assert "budget" not in spec


def test_its_short_name_and_category_are_known(kubectl: Kubectl) -> None:
    for kind in ("mr", "modelroute", "tierwise"):
        kubectl("get", kind)
    known = kubectl("api-resources", "--api-group=tierwise.io", "--categories=tierwise", "--no-headers")
    assert ["modelroutes", "mr"] in [line.split()[:2] for line in known.splitlines()]
