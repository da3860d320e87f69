"""Builds routes as they are observed, and the tiers below them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.unit.decide import make
from tierwise.api.modelroute import ModelRouteSpec
from tierwise.api.modelroute_status import ModelRouteStatus
from tierwise.api.modeltier import ModelTierSpec
from tierwise.types import (
    MetricsHealth,
    RouteKey,
    RouteObject,
    RouterPod,
    RouteView,
    Snapshot,
    TierKey,
    TierView,
)

NAMESPACE = "team"
EXTERNAL = {
    "external": {
        "baseURL": "https://api.example.com/v1",
        "model": "big-1",
        "apiKeySecretRef": {"name": "provider"},
        "prices": {"input": "2", "output": "10"},
        "serviceTierPrices": {"flex": {"input": "1", "output": "5"}},
    }
}
POD = RouterPod(
    image="registry.example.com/tierwise/operator:1",
    cluster_role="tierwise-router",
    resources={"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}},
)


def spec(*tiers: str, **fields: Any) -> ModelRouteSpec:
    """A spec over these tiers; `fields` in camelCase."""
    return ModelRouteSpec.model_validate({"tiers": [{"name": name} for name in tiers or ("small",)], **fields})


def route(
    name: str = "chat", given: ModelRouteSpec | None = None, *, status: Mapping[str, Any] | None = None, **fields: Any
) -> RouteObject:
    """A route of generation 1 over the tier small."""
    known: dict[str, Any] = {
        "key": RouteKey(NAMESPACE, name),
        "uid": f"uid-{name}",
        "generation": 1,
        "resource_version": "5",
        "created_at": 100.0,
        "spec": spec() if given is None else given,
        "status": ModelRouteStatus.model_validate(status or {}),
    }
    return RouteObject(**{**known, **fields})


def tier(name: str, given: ModelTierSpec | None = None, *, ready: bool = True, **fields: Any) -> TierView:
    """A served tier with one replica."""
    served = make.spec() if given is None else given
    view = make.view(served, (make.sample("pod-0", 1),), ready=("pod-0",) if ready else ())
    workloads = (replace(view.workloads[0], name=name),)
    return replace(view, tier=replace(view.tier, key=TierKey(NAMESPACE, name)), workloads=workloads, **fields)


def external(name: str) -> TierView:
    """A tier that somebody else serves."""
    return tier(name, ModelTierSpec.model_validate(EXTERNAL), ready=False)


def snapshot(tiers: list[TierView], *routes: RouteObject | RouteView) -> Snapshot:
    """The world with these tiers and routes."""
    views = tuple(each if isinstance(each, RouteView) else RouteView(each) for each in routes)
    return Snapshot(make.NOW, tuple(tiers), MetricsHealth(ok=True), routes=views)
