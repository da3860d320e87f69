"""Resolves the tiers of each route into the ladder that its routers act on, and says whether it is served.

A tier that does not exist, or whose spec is not understood, keeps its place in the ladder: its requests wait for it or
go to another tier as the route says, and nothing of the others changes. Of two routes of a namespace that claim the
same model name the older one keeps it. The other is not accepted: no child is made for it, and what runs stays.

A defect that one route meets is that route's alone: it keeps what it has, and its plan says what happened.
"""

from __future__ import annotations

import math
import traceback
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from tierwise import reasons
from tierwise.api.modelroute import RouteTierRef
from tierwise.api.modelroute_status import LadderProvider, LadderTier
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.serving import Batching
from tierwise.decide.capped_tiers import why_capped
from tierwise.decide.from_zero import sleeps
from tierwise.decide.measured_route import with_quality
from tierwise.decide.route_money import with_leases
from tierwise.engines import ALIAS, KEEP_ALIVE_SECONDS
from tierwise.kube.objects import DEPLOYMENTS, PREDICTOR_SUFFIX
from tierwise.types import RouteObject, RoutePlan, RouteView, Snapshot, TierKey, TierView

# A server closes a connection that was idle for too long, and a router must do so before. An engine is told how long to
# keep one (90 s); servers of others keep one for 5 s, as far as is known.
ENGINE_KEEP_ALIVE_SECONDS = 2 * KEEP_ALIVE_SECONDS // 3
PROVIDER_KEEP_ALIVE_SECONDS = 4
_ON_THE_WAY = frozenset({"", "Starting"})  # the words of a tier of which nothing is wrong, and that does not answer yet
# So coarse, that two starts that take about as long write nothing.
_STARTUP_STEP_SECONDS = 5
# A provider limits requests by rules of its own, and says so.
PROVIDER_CONCURRENCY = 256
_FINE = Decimal("0.0001")

Claims = Mapping[tuple[str, str], RouteObject]


def plan_routes(snapshot: Snapshot) -> tuple[RoutePlan, ...]:
    """What shall be done for each route, sorted by key."""
    tiers = {view.tier.key: view for view in snapshot.tiers}
    claims = _claims(view.route for view in snapshot.routes)
    views = sorted(snapshot.routes, key=lambda view: view.route.key)
    pairs = [(view, _isolated(view, tiers, claims, snapshot.at)) for view in views]
    counted = [(plan, _routers(view, plan)) for view, plan in pairs]
    of_all: Counter[TierKey] = Counter()
    for plan, number in counted:
        of_all.update({TierKey(plan.key.namespace, rung.name): number for rung in plan.ladder})
    return tuple(_shared(plan, number, of_all) for plan, number in counted)


def _routers(view: RouteView, plan: RoutePlan) -> int:
    """How many routers a route has, or will have; one that is not served has those that it had before."""
    if view.route.deleting:
        return 0
    if plan.serve and view.route.spec is not None:
        return view.route.spec.replicas
    deployment = view.child(DEPLOYMENTS)
    return 0 if deployment is None else deployment.replicas


def _shared(plan: RoutePlan, own: int, of_all: Mapping[TierKey, int]) -> RoutePlan:
    """The plan in which each tier that other routes name, too, has the number of all their routers; what a defect met
    stays as it is."""
    if plan.failure:
        return plan
    told = []
    for rung in plan.ladder:
        there = of_all[TierKey(plan.key.namespace, rung.name)]
        told.append(rung.model_copy(update={"routers": there if there > own else None}))
    return replace(plan, ladder=tuple(told))


def _isolated(view: RouteView, tiers: Mapping[TierKey, TierView], claims: Claims, at: float) -> RoutePlan:
    try:
        return with_quality(with_leases(_plan(view, tiers, claims), view, at), view, tiers, at)
    except Exception:
        return RoutePlan(view.route.key, tuple(view.route.status.ladder), failure=traceback.format_exc())


def _claims(routes: Iterable[RouteObject]) -> Claims:
    """Whose each model name is, by namespace and name."""
    found: dict[tuple[str, str], RouteObject] = {}
    for route in sorted(routes, key=lambda route: (route.created_at, route.key)):
        if route.spec is not None and not route.deleting:
            for name in route.model_names:
                found.setdefault((route.key.namespace, name), route)
    return found


def _plan(view: RouteView, tiers: Mapping[TierKey, TierView], claims: Claims) -> RoutePlan:
    route, spec = view.route, view.route.spec
    if spec is None:
        return RoutePlan(route.key, tuple(route.status.ladder), invalid=(reasons.INVALID_SPEC, route.invalid))
    before = {each.name: each for each in route.status.ladder}
    found = {ref.name: tiers.get(TierKey(route.key.namespace, ref.name)) for ref in spec.tiers}
    ladder = tuple(_ladder_tier(ref, found[ref.name], before.get(ref.name)) for ref in spec.tiers)
    ready = tuple(ref.name for ref in spec.tiers if _answers(found[ref.name]))
    asleep = tuple(ref.name for ref in spec.tiers if _sleeps(found[ref.name]))
    starting = tuple(ref.name for ref in spec.tiers if _starts(found[ref.name]))
    plan = RoutePlan(route.key, ladder, ready=ready, asleep=asleep, starting=starting)
    if route.deleting:
        return plan
    taken = _taken(route, claims)
    if taken is not None:
        return replace(plan, invalid=(reasons.MODEL_NAME_TAKEN, taken))
    missing = [name for name, tier in found.items() if tier is None]
    invalid = (reasons.TIER_NOT_FOUND, _missing(missing)) if missing else None
    return replace(plan, serve=True, invalid=invalid)


def _taken(route: RouteObject, claims: Claims) -> str | None:
    for name in route.model_names:
        owner = claims[route.key.namespace, name]
        if owner.uid != route.uid:
            return f"the model name {name} belongs to the older ModelRoute {owner.key.name}"
    return None


def _missing(names: list[str]) -> str:
    return f"there is no ModelTier {' and no ModelTier '.join(names)} in this namespace; the other tiers are served"


def _answers(view: TierView | None) -> bool:
    if view is None or view.tier.deleting or view.tier.spec is None:
        return False
    return view.tier.spec.external is not None or bool(view.ready_endpoints)


def _sleeps(view: TierView | None) -> bool:
    return view is not None and view.tier.spec is not None and not view.tier.deleting and sleeps(view, view.tier.spec)


def _starts(view: TierView | None) -> bool:
    """Whether its first replica is on its way: nothing is known to keep it, so its status says, or has yet to say.
    Where we may write none it is not, and one that has answered and does so no more is no start."""
    if view is None or view.tier.spec is None or view.tier.deleting or _answers(view) or _sleeps(view):
        return False
    others_write = view.tier.spec.scaling.mode == "Advisory" or bool(view.foreign_scalers)
    if (others_write and view.replicas == 0) or any(pod.was_ready for pod in view.pods):
        return False
    return view.tier.status.state in _ON_THE_WAY


def _ladder_tier(ref: RouteTierRef, view: TierView | None, before: LadderTier | None) -> LadderTier:
    spec = view.tier.spec if view is not None else None
    if view is None or spec is None:
        # As it was, or as it will be made: the Service of a new tier has this name.
        if before is not None:
            return before.model_copy(update={"use": ref.use})
        return _served(ref, [ref.name + PREDICTOR_SUFFIX], Batching())
    if spec.external is not None:
        key = spec.external.api_key_secret_ref
        return LadderTier(
            name=ref.name,
            use=ref.use,
            model=spec.external.model,
            provider=LadderProvider.model_validate(
                {"baseURL": spec.external.base_url}
                | ({} if key is None else {"secretName": key.name, "secretKey": key.key})
            ),
            concurrency=PROVIDER_CONCURRENCY,
            keep_alive_seconds=PROVIDER_KEEP_ALIVE_SECONDS,
            prices=spec.external.prices,
            service_tier_prices=spec.external.service_tier_prices,
            capped=True,
        )
    made = _served(ref, _services(view), spec.batching)
    return made.model_copy(
        update={
            "adapters": [each.name for each in spec.model.adapters] if spec.model is not None else [],
            "replica_hour": _replica_hour(view, spec),
            "context_length": _context_length(view, spec, made, before),
            "startup_seconds": _startup_seconds(view, spec, made, before),
            "capped": bool(why_capped(view)),
        }
    )


def _served(ref: RouteTierRef, services: Sequence[str], batching: Batching) -> LadderTier:
    return LadderTier(
        name=ref.name,
        use=ref.use,
        model=ALIAS,
        service=next(iter(services), None),
        more_services=list(services[1:]),
        concurrency=batching.max_sequences,
        keep_alive_seconds=ENGINE_KEEP_ALIVE_SECONDS,
    )


def _services(view: TierView) -> list[str]:
    """The Services of all pools, and of those that end: of none that belongs to another tier, whose engines answer
    under the same alias. The first one's is named before it is made, too."""
    first, *further = view.workloads
    service = first.inference_service
    taken = service is not None and service.is_of_another(view.tier.key.name)
    mine = [each for each in further if each.inference_service is not None and each.inference_service.owned]
    return [each.name + PREDICTOR_SUFFIX for each in (mine if taken else [first, *mine])]


def _replica_hour(view: TierView, spec: ModelTierSpec) -> str | None:
    """What a replica costs; in several pools, on average over those that are asked for."""
    used = [workload for workload in view.staying if workload.replicas] if len(view.staying) > 1 else []
    specs = [(workload.replicas, view.spec_of(workload)) for workload in used] or [(1, spec)]
    hours = [
        number * Decimal(each.price.gpu_hour) * each.resources.gpus
        for number, each in specs
        if each is not None and each.price is not None
    ]
    if len(hours) < len(specs):
        return None
    if len(specs) == 1:
        return format(hours[0] / specs[0][0], "f")
    return format((sum(hours, Decimal(0)) / sum(number for number, _ in specs)).quantize(_FINE), "f")


def _startup_seconds(view: TierView, spec: ModelTierSpec, made: LadderTier, before: LadderTier | None) -> int | None:
    """How long the quickest of the replicas took; while none is ready, as it was known. A pod that became ready again
    much later tells nothing of its start: no start takes longer than it may."""
    known = before.startup_seconds if before is not None and before.service == made.service else None
    took = [pod.ready_at - pod.created_at for pod in view.pods if pod.ready_at is not None and pod.created_at]
    starts = [seconds for seconds in took if 0 < seconds <= spec.startup_timeout_seconds]
    if not starts:
        return known
    return _STARTUP_STEP_SECONDS * math.ceil(min(starts) / _STARTUP_STEP_SECONDS)


def _context_length(view: TierView, spec: ModelTierSpec, made: LadderTier, before: LadderTier | None) -> int | None:
    """What the spec says, else what the model was trained for. While that is being asked for, as it was known."""
    if spec.context_length is not None:
        return spec.context_length
    if view.facts.model is not None:
        return view.facts.model.default_context or view.facts.model.context_length
    asked = view.metadata_pending and before is not None and before.service == made.service
    return before.context_length if asked and before is not None else None
