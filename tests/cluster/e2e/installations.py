"""Installs Tierwise a second time beside the first, and looks at what the second one says and writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from playground.release import CHARTS, IMAGE, Release
from tests.cluster.e2e.audit import AuditLog
from tests.cluster.kubectl import Kubectl, Refused

OWN_LEASE = frozenset({"leases"})


def install(second: Release, values: Mapping[str, Any], namespaces: Sequence[str] = ()) -> str:
    """The notes; not waited for, since an installation that serves nobody is never ready."""
    merged = {"image": {"repository": IMAGE}, "hub": {"url": ""}, **values, "watch": {"namespaces": list(namespaces)}}
    merged["rbac"] = {"aggregate": False}
    done = second.playground.helm(
        *("upgrade", "--install", second.name, str(CHARTS / "tierwise"), "--namespace", second.namespace),
        *("--create-namespace", "--values", "-"),
        stdin=json.dumps(merged),
    )
    return done.partition("NOTES:")[2]


def advice(kubectl: Kubectl, name: str) -> list[str]:
    """The reasons of what a tier is advised of."""
    return [each["reason"] for each in kubectl.tier(name).get("status", {}).get("advice") or []]


def written(log: AuditLog) -> list[str]:
    """What an installation has written since its log began, but for its own Lease."""
    return [
        f"{each.verb} {each.resource} {each.name}"
        for each in log.requests()
        if each.writes and each.resource not in OWN_LEASE
    ]


def said(admin: Kubectl, second: Release) -> str:
    """Its log; nothing before its container has begun."""
    try:
        return admin.within(second.namespace)("logs", f"deployment/{second.name}", "--tail=-1")
    except Refused:
        return ""


def answering(admin: Kubectl, second: Release) -> int:
    """How many of its pods are ready."""
    deployment = admin.within(second.namespace).get("deployment", second.name)
    assert deployment is not None
    return int(deployment["status"].get("readyReplicas", 0))
