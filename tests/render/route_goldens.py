"""Renders the objects of each example's route into golden files.

A change of the Deployment's pod template replaces the routers of users, drained one after the other: it is looked at,
committed, and told in CHANGELOG.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.render.goldens import REPO, UID, examples, text
from tierwise.act.render import RouterParts, render_router
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.decide.routes import plan_routes
from tierwise.kube.objects import ROUTER_CHILDREN
from tierwise.observe.route_object import route_object
from tierwise.types import (
    MetricsHealth,
    RouterPod,
    RouteView,
    Snapshot,
    TierKey,
    TierObject,
    TierView,
    Workload,
)
from tools.generated import Files

GOLDEN = Path("tests/golden/route")
POD = RouterPod("registry.example.com/tierwise/operator:1", "tierwise-router", resources={"limits": {"memory": "1Gi"}})


def _tiers(folder: Path) -> tuple[TierView, ...]:
    found = []
    for path, document in examples():
        if path.parent == folder:
            name = document["metadata"]["name"]
            spec = ModelTierSpec.model_validate(document["spec"])
            tier = TierObject(TierKey("models", name), f"uid-{name}", 1, "1", spec, ModelTierStatus())
            found.append(TierView(tier, (Workload(name),)))
    return tuple(found)


def manifests() -> dict[str, list[dict[str, Any]]]:
    """The objects of every ModelRoute of examples/, by the name of its golden file without the ending."""
    made = {}
    for path in sorted((REPO / "examples").glob("*/*.yaml")):
        folder = path.parent.relative_to(REPO)
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if not document or document.get("kind") != "ModelRoute":
                continue
            document["metadata"] |= {"namespace": "models", "uid": UID}
            route = route_object(document)
            assert route.spec is not None, route.invalid
            seen = Snapshot(0.0, _tiers(folder), MetricsHealth(ok=True), routes=(RouteView(route),))
            (plan,) = plan_routes(seen)
            parts = RouterParts(route, route.spec, plan.ladder, POD, "uid-of-the-account")
            made[f"{folder.name}-{route.key.name}"] = [render_router(parts, plural) for plural in ROUTER_CHILDREN]
    return made


def files() -> Files:
    """Every golden file with what it must contain."""
    return {GOLDEN / f"{name}.yaml": "---\n".join(map(text, found)) for name, found in manifests().items()}
