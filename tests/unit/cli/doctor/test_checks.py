"""Checks how a look at a cluster is judged. tests/cluster/test_doctor.py provokes each finding on a real one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tierwise_cli.doctor.checks import judge, worst
from tierwise_cli.doctor.facts import (
    Call,
    Definition,
    Facts,
    Finding,
    GPUNode,
    Installation,
    Manager,
    Monitors,
    Probe,
    Selector,
    TierState,
    Unread,
)

OPERATOR = Installation("tierwise-system", "tierwise", "0.1.0", ready=1)
GOOD = Facts(
    namespace="models",
    kubernetes="v1.34.5",
    skew_seconds=0.0,
    crds={"a.tierwise.io": Definition(True, ("v1alpha1",), "d")},
    expected={"a.tierwise.io": "d"},
    kserve=Definition(True, ("v1alpha1", "v1beta1"), "k"),
    managers=(Manager("kserve", "v0.19.0", 1),),
    webhook=Call(0.1),
    installations=(OPERATOR,),
    prometheus=Probe("http://prometheus:9090", True),
    monitors=Monitors(({"release": "x"},), (Selector({"release": "x"}),)),
    missing_rights=(),
    gpus=(GPUNode("a", 8, True),),
    tiers=(TierState("chat", "Ready", "Serving"),),
)


def findings(**changes: Any) -> list[Finding]:
    return judge(replace(GOOD, **changes))


def bad(**changes: Any) -> list[tuple[str, str, str]]:
    """Check, level and what was found, of all that is not as it should be."""
    return [(each.check, each.level, each.found) for each in findings(**changes) if each.level != "ok"]


def test_a_cluster_that_serves_has_nothing_to_say() -> None:
    assert bad() == []
    assert worst(findings()) == "ok"
    assert len({each.check for each in findings()}) == 11


def definition(*, established: bool = True, digest: str = "d") -> dict[str, Definition]:
    return {"a.tierwise.io": Definition(established, ("v1alpha1",), digest)}


def installed(name: str, *watched: str) -> Installation:
    return replace(OPERATOR, name=name, watched=frozenset(watched))


@pytest.mark.parametrize(
    ("changes", "check", "level", "says"),
    [
        ({"kubernetes": "v1.30.2"}, "Kubernetes", "problem", "v1.30.2 is older than 1.31"),
        ({"kubernetes": Unread("nobody answers")}, "Kubernetes", "problem", "nobody answers"),
        ({"skew_seconds": 12.0}, "Clock", "warning", "this machine is 12 s ahead of the API server"),
        ({"skew_seconds": -90.0}, "Clock", "problem", "this machine is 90 s behind the API server"),
        ({"crds": {"a.tierwise.io": None}}, "CRDs", "problem", "a.tierwise.io is not installed"),
        ({"crds": definition(established=False)}, "CRDs", "problem", "a.tierwise.io is not served"),
        ({"crds": definition(digest="e")}, "CRDs", "warning", "a.tierwise.io is of another release"),
        ({"kserve": None}, "KServe", "problem", "is not installed"),
        ({"kserve": Definition(True, ("v1alpha1",), "")}, "KServe", "problem", "serves v1alpha1 of InferenceService"),
        ({"managers": (Manager("kserve", "v0.11.0", 1),)}, "KServe", "problem", "v0.11.0 is too old"),
        (
            {"managers": (Manager("kserve", "v0.19.0", 0),)},
            "KServe",
            "problem",
            "no replica of its controller is ready",
        ),
        ({"managers": ()}, "KServe", "unknown", "its controller is no Deployment"),
        ({"webhook": Call(3.2)}, "KServe's webhook", "warning", "is answered after 3.2 s"),
        ({"webhook": Call(10, "failed calling webhook")}, "KServe's webhook", "problem", "failed calling webhook"),
        ({"installations": ()}, "Operator", "problem", "no Deployment of Tierwise exists"),
        (
            {"installations": (replace(OPERATOR, ready=0),)},
            "Operator",
            "problem",
            "no replica of tierwise-system/tierwise",
        ),
        (
            {"installations": (replace(OPERATOR, renewed=300.0),)},
            "Operator",
            "problem",
            "has not renewed its Lease for 300 s",
        ),
        (
            {"installations": (installed("a", "models"), installed("b", "models", "other"))},
            "Operator",
            "problem",
            "watch the same namespaces: only the older one acts there",
        ),
        ({"installations": (installed("a"), installed("b"))}, "Operator", "problem", "watch the same namespaces"),
        ({"installations": (installed("a", "other"),)}, "Operator", "problem", "nobody watches namespace models"),
        (
            {"prometheus": Probe("http://p", False, "refused")},
            "Prometheus",
            "problem",
            "http://p does not answer: refused",
        ),
        ({"prometheus": Probe("http://p", None, "why")}, "Prometheus", "unknown", "cannot be tried from here: why"),
        ({"monitors": None}, "PodMonitor", "warning", "the cluster has no PodMonitors"),
        ({"monitors": Monitors(())}, "PodMonitor", "problem", "Tierwise has no PodMonitor"),
        (
            {"monitors": Monitors(({},), (None, Selector({"release": "x"})))},
            "PodMonitor",
            "problem",
            "they want PodMonitors with release: x",
        ),
        (
            {"monitors": Monitors(({},), (None,))},
            "PodMonitor",
            "problem",
            "none has a podMonitorSelector, and without one no PodMonitor is selected",
        ),
        (
            {"monitors": Monitors(({},), (Selector(more=True), Selector({"release": "x"})))},
            "PodMonitor",
            "unknown",
            "its podMonitorSelector has matchExpressions",
        ),
        (
            {"monitors": Monitors(({},), (Selector({"release": "x"}, more=True),))},
            "PodMonitor",
            "problem",
            "they want PodMonitors with release: x",
        ),
        ({"missing_rights": ("create modeltiers",)}, "Rights", "warning", "you may not create modeltiers"),
        ({"gpus": ()}, "GPUs", "warning", "no node offers GPUs"),
        ({"gpus": (GPUNode("a", 8, False),)}, "GPUs", "problem", "no node with GPUs can take pods: a"),
        ({"tiers": (TierState("chat", "", ""),)}, "Tiers", "warning", "chat is not looked at yet"),
        ({"tiers": (TierState("chat", "Failed", "X"),)}, "Tiers", "warning", "chat is Failed (X)"),
    ],
)
def test_each_trouble_is_found_with_what_to_do(changes: dict[str, Any], check: str, level: str, says: str) -> None:
    found = [each for each in findings(**changes) if each.level != "ok"]
    assert [(each.check, each.level) for each in found] == [(check, level)]
    assert says in found[0].found
    assert bool(found[0].remedy) or level == "unknown"
    assert worst(findings(**changes)) == level


@pytest.mark.parametrize(
    "field", [field for field in Facts.__dataclass_fields__ if field not in ("namespace", "expected")]
)
def test_what_may_not_be_read_is_unknown_and_no_problem_of_the_cluster(field: str) -> None:
    found = findings(**{field: Unread("you may not see it")})
    said = [each for each in found if "you may not see it" in each.found]
    assert said
    assert all(each.level == "unknown" for each in said if each.check != "Kubernetes")


def test_installations_that_share_nothing_are_no_trouble() -> None:
    divided = (installed("a", "models"), installed("b", "other"))
    assert bad(installations=divided) == []


def test_an_empty_selector_selects_all_podmonitors() -> None:
    assert bad(monitors=Monitors(({},), (None, Selector()))) == []
    assert bad(monitors=Monitors(({},))) == [], "no Prometheus object may be seen"


def test_an_installation_for_one_namespace_beside_one_for_all_is_no_trouble() -> None:
    assert bad(installations=(installed("a", "models"), installed("b"))) == []
