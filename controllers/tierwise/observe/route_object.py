"""Reads a ModelRoute and the objects that were made for one, also such that do not match the present schema.

As with tiers, an object may be older than a rule of the CRD. A spec that cannot be used becomes a sentence for the
condition Accepted, never an exception.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tierwise.api.modelroute import ModelRouteSpec
from tierwise.api.modelroute_status import BudgetStatus, ModelRouteStatus
from tierwise.kube.objects import ROUTER_SUFFIX
from tierwise.observe.object_fields import condition, controller, mapping, number, text, time
from tierwise.observe.records import PodRecord, ScalerRecord
from tierwise.observe.tier_object import sentence
from tierwise.types import PodFacts, RouteChild, RouteKey, RouteObject, RouteView, TierKey


@dataclass(frozen=True, slots=True)
class RouteChildRecord:
    """An object with the label of routers, and the UID of the ModelRoute that controls it (empty: none)."""

    owner_uid: str
    child: RouteChild


def route_object(body: Mapping[str, Any]) -> RouteObject:
    """A ModelRoute as a value. Never raises for what the object holds; a status that does not parse counts as empty."""
    metadata = mapping(body, "metadata")
    spec, invalid = _spec(body.get("spec"))
    return RouteObject(
        key=RouteKey(text(metadata, "namespace"), text(metadata, "name")),
        uid=text(metadata, "uid"),
        generation=number(metadata, "generation"),
        resource_version=text(metadata, "resourceVersion"),
        created_at=time(metadata, "creationTimestamp") or 0.0,
        spec=spec,
        status=_status(body.get("status")),
        invalid=invalid,
        deleting=bool(metadata.get("deletionTimestamp")),
    )


def _spec(raw: object) -> tuple[ModelRouteSpec | None, str]:
    try:
        spec = ModelRouteSpec.model_validate(raw if raw is not None else {})
    except ValidationError as error:
        return None, sentence(error)
    problem = _problem(spec)
    return (None, problem) if problem else (spec, "")


def _problem(spec: ModelRouteSpec) -> str:
    """What the rules of the CRD refuse."""
    names = [tier.name for tier in spec.tiers]
    if len(set(names)) < len(names):
        return "each tier may stand once in spec.tiers"
    if all(tier.use == "Overflow" for tier in spec.tiers):
        return "at least one of spec.tiers must have use Always"
    if spec.policy.default_tier not in (None, *names):
        return "policy.defaultTier must name one of spec.tiers"
    if any(rule.tier not in names for rule in spec.policy.rules):
        return "each of policy.rules must name one of spec.tiers"
    overflow = {tier.name for tier in spec.tiers if tier.use == "Overflow"}
    if spec.policy.default_tier in overflow:
        return "policy.defaultTier names a tier with use Overflow, which answers only what spills or falls back"
    if any(rule.tier in overflow for rule in spec.policy.rules):
        return "one of policy.rules names a tier with use Overflow, which answers only what spills or falls back"
    if spec.overflow.stop_percent > spec.overflow.start_percent:
        return "overflow.stopPercent must not be above overflow.startPercent"
    return ""


def _status(raw: object) -> ModelRouteStatus:
    given = raw if raw is not None else {}
    try:
        return ModelRouteStatus.model_validate(given)
    except ValidationError:
        return ModelRouteStatus(budget=_budget(given))


def _budget(status: object) -> BudgetStatus | None:
    """What is spent must not be forgotten because something else of the status cannot be read."""
    raw = status.get("budget") if isinstance(status, Mapping) else None
    try:
        return None if raw is None else BudgetStatus.model_validate(raw)
    except ValidationError:
        return None


def child_record(plural: str, body: Mapping[str, Any]) -> RouteChildRecord:
    """An object that may belong to a route, as a record: without managed fields and status."""
    metadata, status = mapping(body, "metadata"), mapping(body, "status")
    owner, failure = controller(metadata), condition(body, "ReplicaFailure")
    manifest = {
        **{name: value for name, value in body.items() if name != "status"},
        "metadata": {name: value for name, value in metadata.items() if name != "managedFields"},
    }
    child = RouteChild(
        plural=plural,
        name=text(metadata, "name"),
        manifest=manifest,
        deleting=bool(metadata.get("deletionTimestamp")),
        replicas=number(mapping(body, "spec"), "replicas"),
        ready_replicas=number(status, "readyReplicas"),
        failed_create=text(failure, "message") if failure.get("status") == "True" else "",
    )
    return RouteChildRecord(text(owner, "uid") if text(owner, "kind") == "ModelRoute" else "", child)


def route_views(
    routes: Collection[RouteObject],
    children: Collection[RouteChildRecord],
    pods: Collection[PodRecord],
    scalers: Collection[ScalerRecord] = (),
) -> tuple[RouteView, ...]:
    """The routes by key, each with what it controls: the UID says so, since a name may be a stranger's."""
    mine: dict[str, list[RouteChild]] = {}
    for record in children:
        mine.setdefault(record.owner_uid, []).append(record.child)
    running: dict[tuple[str, str], list[PodFacts]] = {}
    for pod in pods:
        running.setdefault((pod.namespace, pod.deployment), []).append(pod.facts)
    scaling: dict[tuple[str, str], list[str]] = {}
    for each in scalers:
        if each.target_kind == "Deployment":
            scaling.setdefault((each.namespace, each.target_name), []).append(f"{each.kind}/{each.name}")
    return tuple(
        RouteView(
            route,
            tuple(sorted(mine.get(route.uid or "?", ()), key=lambda child: (child.plural, child.name))),
            tuple(sorted(running.get(_deployment(route.key), ()), key=lambda pod: pod.name)),
            scalers=tuple(sorted(scaling.get(_deployment(route.key), ()))),
        )
        for route in sorted(routes, key=lambda route: route.key)
    )


def _deployment(key: RouteKey) -> tuple[str, str]:
    return key.namespace, key.name + ROUTER_SUFFIX


def refused(route: RouteObject) -> bool:
    """Whether it was not accepted, as its status says: it is served no more, or never was."""
    return route.status.state == "Rejected"


def routes_by_tier(routes: Collection[RouteObject]) -> Mapping[TierKey, tuple[str, ...]]:
    """By tier: the names of the routes over it, sorted. A route that is being deleted is over none. One whose spec
    cannot be used is over the tiers of its ladder: its routers serve on, and what they want must be heard."""
    found: dict[TierKey, list[str]] = {}
    for route in sorted(routes, key=lambda route: route.key):
        if not route.deleting:
            for each in route.status.ladder if route.spec is None else route.spec.tiers:
                found.setdefault(TierKey(route.key.namespace, each.name), []).append(route.key.name)
    return {tier: tuple(names) for tier, names in found.items()}
