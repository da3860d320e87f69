"""Joins the cluster's objects and Prometheus' answers into one Snapshot.

Objects are joined by ownership. An InferenceService belongs to a tier, and a Deployment to the InferenceService,
because its controller's UID says so; a pod because its controller is a ReplicaSet of that Deployment's name; a slice
because the Service of that name controls it; a series because the cluster has a pod of that name in that tier. A label
alone (on somebody's exporter, on a copy of a pod), or a Deployment of the same name, joins nothing. An object that
names a controller with a wrong UID is deleted by the cluster's garbage collector.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Container, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from tierwise.api.kinds import MODEL_TIER
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.service_targets import ServiceTargets
from tierwise.kube.objects import PREDICTOR_SUFFIX, ROUTER_SUFFIX
from tierwise.observe.gpu_inventory import GPUInventory, NodeRecord, selecting_labels
from tierwise.observe.pool_records import GPUPodRecord
from tierwise.observe.pooled_tiers import PooledTiers, kinds_in_pool
from tierwise.observe.pools import PoolNodes, with_nodes
from tierwise.observe.records import (
    DeploymentRecord,
    EndpointSliceRecord,
    InferenceServiceRecord,
    PodRecord,
    ReplicaSetRecord,
    ScalerRecord,
)
from tierwise.observe.route_object import RouteChildRecord, refused, route_views, routes_by_tier
from tierwise.observe.route_queries import route_signals
from tierwise.observe.signals import (
    PodReadings,
    Samples,
    all_fresh,
    health,
    measured_again,
    router_samples,
    sample_times,
    signals_of,
    tier_readings,
)
from tierwise.observe.workload_names import WorkloadName, workload_names
from tierwise.observe.workload_records import Found, workload
from tierwise.runtime.turns import at_once
from tierwise.types import (
    ALONE,
    GPU,
    NO_ROUTERS,
    UNKNOWN_ROUTERS,
    Installations,
    PoolObject,
    PoolView,
    RouteKey,
    RouteObject,
    RouterSignals,
    RouteView,
    Snapshot,
    TierKey,
    TierObject,
    TierSignals,
    TierView,
    Workload,
)
from tierwise.types.capabilities import UNKNOWN, EngineRules, Facts
from tierwise.types.model_metadata import NOTHING, ModelMetadataSet, repositories


@dataclass(frozen=True, slots=True)
class World:
    """What the informer holds at one moment: records by kind, in any order. `kserve_present`: whether the cluster has
    the kind InferenceService. `nodes`: those with GPUs; none while `nodes_problem` says why they are not known.
    `routes_known`: whether the kinds of routes have answered; without them there are none in `routes`.
    `pools_known`: whether the cluster has said which GPUPools there are, `pools_problem`: why it will not; `gpu_pods`:
    all pods that hold GPUs, and `gpu_pods_problem` why they are not known.
    `engine_rules`: what was said to the operator when it started."""

    tiers: Collection[TierObject] = ()
    pods: Collection[PodRecord] = ()
    deployments: Collection[DeploymentRecord] = ()
    replica_sets: Collection[ReplicaSetRecord] = ()
    endpoint_slices: Collection[EndpointSliceRecord] = ()
    scalers: Collection[ScalerRecord] = ()
    inference_services: Collection[InferenceServiceRecord] = ()
    kserve_present: bool = True
    nodes: Collection[NodeRecord] = ()
    publications: ModelMetadataSet = NOTHING
    routes: Collection[RouteObject] = ()
    routes_known: bool = True
    route_children: Collection[RouteChildRecord] = ()
    nodes_problem: str = ""
    pools: Collection[PoolObject] = ()
    pools_known: bool = True
    pools_problem: str = ""
    gpu_pods: Collection[GPUPodRecord] = ()
    gpu_pods_problem: str = ""
    engine_rules: EngineRules | None = None
    installations: Installations = ALONE


def observe(world: World, samples: Samples, now: float) -> Snapshot:
    """The world and the last samples, joined by tier. `now`: seconds since the epoch."""
    return at_once(Observer().observe_in_turns(world, samples, now))


class Observer:
    """`observe` for one world after another. What the informer has not changed is not joined again: the same records
    give the same Workload and Facts, as the same objects. Nothing is ever taken from an older world that the present
    one does not say as well."""

    def __init__(self) -> None:
        self._joins = _Joins()
        self._seen: dict[TierKey, _Seen] = {}
        self._inventory = self._joins.inventory

    def observe_in_turns(
        self, world: World, samples: Samples, now: float, settled: Container[TierKey] = ()
    ) -> Generator[None, None, Snapshot]:
        """The same as `observe`, a tier at a time: whoever drives it may let others work in between.

        `settled`: of these tiers an equal measurement is given as the same signals, with the times of the first. Before
        one of them is decided about all the same, `dated` gives it the times of now."""
        joins, seen = self._joins, dict[TierKey, _Seen]()
        yield from joins.take(world)
        self._inventory = joins.inventory.renewed()
        views = []
        for tier in joins.tiers:
            known = self._look(tier, samples, now, tier.key in settled)
            seen[tier.key] = known
            times = sample_times(known.readings, known.ready)
            said = joins.routers(tier.key, samples, now)
            itself = joins.scalers_of(tier.key)
            views.append(
                TierView(tier, known.workloads, known.signals, *known.learned, times, said, known.gpus, itself)
            )
            yield
        self._seen = seen
        routes = route_views(world.routes, world.route_children, world.pods, world.scalers) if world.routes else ()
        routes = tuple(_measured(view, samples, now) for view in routes)
        pools = joins.pooled.views(views, world.gpu_pods, problem=world.gpu_pods_problem)
        pools = replace(pools, known=world.pools_known, problem=world.pools_problem)
        healthy = health(samples, now)
        return Snapshot(now, tuple(views), healthy, world.kserve_present, routes, pools, world.installations)

    def _look(self, tier: TierObject, samples: Samples, now: float, settled: bool) -> _Seen:
        joins, key = self._joins, tier.key
        found, before = joins.found(tier), self._seen.get(key)
        known = before
        if known is None or known.tier is not tier or known.found != found:
            known = _Seen.of(tier, found, joins.pooled.specs(tier))
        if (
            known.inventory is not joins.inventory
            or known.publications is not joins.publications
            or known.engine_rules is not joins.engine_rules
        ):
            learned = _learn(tier.spec, self._inventory, joins, joins.pooled.of(tier))
            known.gpus = joins.pooled.kinds(tier, self._inventory)
            known = replace(
                known,
                inventory=joins.inventory,
                publications=joins.publications,
                engine_rules=joins.engine_rules,
                learned=learned,
            )
        readings = tier_readings(samples, key.namespace, key.name, known.names)
        fresh = all_fresh(readings, now - samples.stale_after)
        again = settled and known is before and known.fresh and fresh and measured_again(known.readings, readings)
        if not again:
            known.signals = signals_of(readings, known.ready, now, samples.stale_after, _targets(tier))
        known.readings, known.fresh, known.reused = readings, fresh, again
        return known

    def dated(self, view: TierView, samples: Samples, now: float) -> TierView:
        """A tier of the last snapshot, with the times of its measurements in its signals."""
        known = self._seen[view.tier.key]
        if not known.reused:
            return view
        signals = signals_of(known.readings, known.ready, now, samples.stale_after, _targets(view.tier))
        return replace(view, signals=signals)


def _targets(tier: TierObject) -> ServiceTargets | None:
    return None if tier.spec is None else tier.spec.scaling.targets


# What a tier is told besides its signals: the facts, why they are not known, whether they are being asked for.
Learned = tuple[Facts, str, bool]
_NOTHING_LEARNED: Learned = (UNKNOWN, "", False)


def _learn(spec: ModelTierSpec | None, inventory: GPUInventory, joins: _Joins, pool: PoolView | None) -> Learned:
    """What is known of the GPUs that the tier may land on, and of its model and draft model."""
    if spec is None or spec.model is None:
        return _NOTHING_LEARNED
    said = joins.publications
    model, draft = repositories(spec)
    asked = [each for each in (model, draft) if each is not None]
    return (
        Facts(kinds_in_pool(inventory.kinds(spec), pool), said.shape(model), said.shape(draft), joins.engine_rules),
        next((problem for problem in map(said.problem, asked) if problem), ""),
        any(each in said.asking for each in asked),
    )


Key = tuple[str, str]  # namespace and name
Made = TypeVar("Made")
Named = TypeVar("Named", InferenceServiceRecord, DeploymentRecord)
Grouped = TypeVar("Grouped", PodRecord, ReplicaSetRecord, EndpointSliceRecord, ScalerRecord)


@dataclass(slots=True)
class _Seen:
    """What was made of one tier, and from what. `reused`: the signals are those of an earlier, equal measurement."""

    tier: TierObject
    found: tuple[Found, ...]
    workloads: tuple[Workload, ...]
    names: tuple[str, ...]  # of all pods that may have been measured, sorted
    ready: frozenset[str]
    inventory: GPUInventory | None = None
    publications: ModelMetadataSet | None = None
    engine_rules: EngineRules | None = None
    learned: Learned = _NOTHING_LEARNED
    gpus: tuple[tuple[str, tuple[GPU, ...]], ...] = ()
    readings: Mapping[str, PodReadings] = field(default_factory=dict)
    signals: TierSignals = field(default_factory=TierSignals)
    fresh: bool = False
    reused: bool = False

    @classmethod
    def of(cls, tier: TierObject, found: tuple[Found, ...], specs: Mapping[str, ModelTierSpec]) -> _Seen:
        """A tier, from its records. `specs`: what its replicas are made from, by pool."""
        workloads = tuple(workload(tier, each, specs) for each in found)
        ready = frozenset[str]().union(*(each.ready_endpoints for each in workloads))
        names = {*ready, *(pod.name for each in workloads for pod in each.pods)}
        return cls(tier, found, workloads, tuple(sorted(names)), ready)


class _Joins:
    """The world by the keys that are joined on. A kind of which nothing has changed keeps its order and its groups."""

    def __init__(self) -> None:
        self._taken: dict[str, tuple[tuple[object, ...], Any]] = {}
        self.inventory = GPUInventory((), ())
        self.publications = NOTHING
        self.pooled = PooledTiers()
        self.engine_rules: EngineRules | None = None

    def take(self, world: World) -> Generator[None, None, None]:
        """The world as it is now, in steps."""
        nodes = self._again("pools", (*world.pools, world.nodes_problem, *world.nodes), lambda: _with_nodes(world))
        tiers = self.pooled.take(nodes, world.tiers)
        yield
        self.tiers, specs, labels = self._again("tiers", tiers, lambda: _sorted(tiers, self.pooled.all_specs))
        yield
        services, deployments, slices = world.inference_services, world.deployments, world.endpoint_slices
        self._services = self._again("services", services, lambda: _by_name(services))
        yield
        self._deployments = self._again("deployments", deployments, lambda: _by_name(deployments))
        yield
        sets = world.replica_sets
        self._replica_sets = self._again("sets", sets, lambda: _grouped(sets, lambda each: each.deployment))
        yield
        self._pods = self._again("pods", world.pods, lambda: _grouped(world.pods, lambda pod: pod.deployment))
        yield
        self._slices = self._again("slices", slices, lambda: _grouped(slices, lambda each: each.service))
        yield
        self._scalers = self._again("scalers", world.scalers, lambda: _by_target(world.scalers, "Deployment"))
        of_tiers = MODEL_TIER.name
        self._tier_scalers = self._again("of tiers", world.scalers, lambda: _by_target(world.scalers, of_tiers))
        yield
        self._routes = self._again("routes", world.routes, lambda: routes_by_tier(world.routes))
        self._refused = {each.key for each in world.routes if refused(each)}
        self._routes_known = world.routes_known
        self.inventory = self._again("nodes", (labels, *world.nodes), lambda: GPUInventory(world.nodes, specs))
        if world.publications != self.publications:
            self.publications = world.publications
        self.engine_rules = world.engine_rules

    def _again(self, kind: str, records: Iterable[object], make: Callable[[], Made]) -> Made:
        """What was made of these records the last time, if they are the same; what `make` makes of them if not."""
        now = tuple(records)
        before = self._taken.get(kind)
        if before is None or before[0] != now:  # of the same objects nothing is compared
            before = self._taken[kind] = now, make()
        made: Made = before[1]
        return made

    def found(self, tier: TierObject) -> tuple[Found, ...]:
        """What may belong to a tier: a workload for each recorded InferenceService, and for those to be made."""
        return tuple(self._found(tier.key.namespace, name) for name in workload_names(tier))

    def routers(self, tier: TierKey, samples: Samples, now: float) -> RouterSignals:
        """What the routers of the routes over a tier say of it."""
        if not self._routes_known:
            return UNKNOWN_ROUTERS
        named = self._routes.get(tier, ())
        pods = {route: self._pods.get((tier.namespace, route + ROUTER_SUFFIX), ()) for route in named}
        # One that was refused before it had a router will ask for nothing; one that had some serves on.
        routes = tuple(one for one in named if pods[one] or RouteKey(tier.namespace, one) not in self._refused)
        if not routes:
            return NO_ROUTERS
        ready = {each.facts.name: _ready_since(each) for route in routes for each in pods[route]}
        return RouterSignals(
            routes=routes,
            unserved=tuple(route for route in routes if not any(each.facts.ready for each in pods[route])),
            routers=router_samples(samples, tier.namespace, tier.name, ready, now),
        )

    def scalers_of(self, tier: TierKey) -> tuple[str, ...]:
        """Who scales the tier itself, sorted."""
        found = self._tier_scalers.get((tier.namespace, tier.name), ())
        return tuple(sorted(f"{each.kind}/{each.name}" for each in found))

    def _found(self, namespace: str, name: WorkloadName) -> Found:
        predictor = namespace, name.name + PREDICTOR_SUFFIX
        return Found(
            name,
            self._services.get((namespace, name.name)),
            self._deployments.get(predictor),
            self._replica_sets.get(predictor, ()),
            self._pods.get(predictor, ()),
            self._slices.get(predictor, ()),
            self._scalers.get(predictor, ()),
        )


def _ready_since(pod: PodRecord) -> float | None:
    return (pod.facts.ready_at or 0.0) if pod.facts.ready else None


def _with_nodes(world: World) -> tuple[PoolNodes, ...]:
    return with_nodes(world.pools, world.nodes, world.nodes_problem)


def _sorted(
    tiers: Iterable[TierObject], in_pools: Iterable[ModelTierSpec]
) -> tuple[list[TierObject], list[ModelTierSpec], frozenset[str]]:
    """The tiers by key, their specs, and the labels by which they select nodes."""
    ordered = sorted(tiers, key=lambda tier: (tier.key.namespace, tier.key.name))
    specs = [*(tier.spec for tier in ordered if tier.spec is not None), *in_pools]
    return ordered, specs, frozenset(name for spec in specs for name in selecting_labels(spec))


def _by_name(records: Iterable[Named]) -> Mapping[Key, Named]:
    return {(each.namespace, each.facts.name): each for each in records}


def _by_target(scalers: Iterable[ScalerRecord], kind: str) -> Mapping[Key, list[ScalerRecord]]:
    return _grouped((each for each in scalers if each.target_kind == kind), lambda scaler: scaler.target_name)


def _grouped(records: Iterable[Grouped], name: Callable[[Grouped], str]) -> Mapping[Key, list[Grouped]]:
    groups: defaultdict[Key, list[Grouped]] = defaultdict(list)
    for each in records:
        groups[each.namespace, name(each)].append(each)
    return dict(groups)


def _measured(view: RouteView, samples: Samples, now: float) -> RouteView:
    pods = [pod.name for pod in view.pods]
    return replace(view, signals=route_signals(samples.routes, view.route.key, pods, now, samples.stale_after))
