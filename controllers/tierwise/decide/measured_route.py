"""Adds to the plan of a route what judges say of its quality, and how far a full reference tier moves the share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tierwise.api.modelroute import ModelRouteSpec
from tierwise.decide.capped_tiers import pressure_status, why_capped
from tierwise.decide.route_quality import Aim, for_classifier, measure
from tierwise.pod_diagnosis import FINISHED
from tierwise.types import RoutePlan, RouteView, TierKey, TierView


def with_quality(plan: RoutePlan, view: RouteView, tiers: Mapping[TierKey, TierView], at: float) -> RoutePlan:
    """The plan with the quality from `at` (seconds since the epoch) on. A route whose spec cannot be used keeps what it
    knew: its routers serve on."""
    spec, before = view.route.spec, view.route.status.quality
    if spec is None:
        return replace(plan, quality=before, pressure=view.route.status.pressure)
    tier = tiers.get(TierKey(view.route.key.namespace, spec.reference))
    pressure = pressure_status(view, "" if tier is None else why_capped(tier))
    if spec.quality is None:
        return replace(plan, pressure=pressure)
    # A pod that has ended counts no more; what it had counted when it was read last is in the days.
    routers = {pod.uid: view.signals.verdicts.get(pod.name) for pod in view.pods if pod.phase not in FINISHED}
    digest = _digest(view)
    added = for_classifier(before, digest, at).added_share_percent if before is not None else 0
    aim = _aim(spec, view, added, held=pressure is not None)
    return replace(plan, quality=measure(before, spec.quality, aim, routers, at), pressure=pressure)


def _aim(spec: ModelRouteSpec, view: RouteView, added: int, *, held: bool) -> Aim:
    said, wanted = view.signals.classifier, spec.policy.classifier
    if spec.policy.type != "Classifier" or wanted is None:
        return Aim()
    acts = spec.policy.mode == "Act"
    needed = said.needed_share if said is not None and acts else None
    share = None if needed is None else min(100.0, max(0.0, needed + added))
    return Aim(wanted.quality_percent / 100, share, held, _digest(view))


def _digest(view: RouteView) -> str:
    """Of the classifier that all routers use; empty while some use another one, or nobody says so."""
    said = view.signals.classifier
    found = {one.digest for one in said.standings if one.digest} if said is not None else set[str]()
    return found.pop() if len(found) == 1 else ""
