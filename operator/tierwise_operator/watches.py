"""Collects what is in the cluster from the informer and the reflectors.

Kinds that always exist come through the informer (kopf), kinds that may be absent through reflectors; together they are
the World. There is no World until each of them has answered once, because what is not listed yet must not look deleted.
Nodes and model metadata may stay unknown: nobody waits for a second try.

Routes and what they are made of come through reflectors too, since a cluster may be older than the kind ModelRoute.
Tiers do not wait for them: there are no routes in the World until each of these kinds has answered. Nor do tiers wait
for GPUPools, but those that name one: they are left as they are until it is known.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from itertools import chain
from typing import Any

from tierwise.api.kinds import GPU_POOL, MODEL_ROUTE, MODEL_TIER
from tierwise.kube.objects import (
    APPS_API,
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    KSERVE_API,
    REPLICA_SETS,
    ROLE_BINDINGS,
    ROUTE_LABEL,
    ROUTER_CHILDREN,
    SELECT_ENGINES,
    SELECT_OURS,
    SELECT_ROUTERS,
)
from tierwise.kube.reflector import Reflector, Source
from tierwise.observe import World, gpu_inventory, pool_records, records
from tierwise.observe.installations import INSTALLATION_LABEL, binding_trace, deployment_trace, installations
from tierwise.observe.model_metadata_cache import ModelMetadataCache
from tierwise.observe.object_fields import mapping
from tierwise.observe.route_object import RouteChildRecord, child_record, route_object
from tierwise.observe.tier_object import tier_object
from tierwise.runtime.turns import in_turns
from tierwise.types import Installation, Installations, TierObject
from tierwise.types.model_metadata import NOTHING
from tierwise_operator.informer import Informer
from tierwise_operator.kopf_handlers import WatchedKind
from tierwise_operator.settings import Settings


def _deployment(body: Mapping[str, Any]) -> records.DeploymentRecord | RouteChildRecord:
    """A Deployment of ours: of a route's routers, or of a tier's engines."""
    if ROUTE_LABEL in mapping(body, "metadata", "labels"):
        return child_record(DEPLOYMENTS, body)
    return records.deployment_record(body)


KINDS = (
    WatchedKind("tiers", MODEL_TIER.api_version, MODEL_TIER.plural, tier_object),
    WatchedKind("pods", "v1", "pods", records.pod_record, SELECT_OURS),
    WatchedKind("deployments", APPS_API, DEPLOYMENTS, _deployment, SELECT_OURS),
    WatchedKind("replica_sets", APPS_API, REPLICA_SETS, records.replica_set_record, SELECT_ENGINES),
    WatchedKind("endpoint_slices", "discovery.k8s.io/v1", "endpointslices", records.endpoint_slice_record, SELECT_OURS),
    WatchedKind("scalers", "autoscaling/v2", "horizontalpodautoscalers", records.scaler_record),
)
# The label again: a stranger's InferenceService of the same name is found when it is about to be written.
SERVICES = WatchedKind("services", KSERVE_API, INFERENCE_SERVICES, records.inference_service_record, SELECT_OURS)
KEDA = WatchedKind("keda", "keda.sh/v1alpha1", "scaledobjects", records.scaler_record)
ROUTES = WatchedKind("routes", MODEL_ROUTE.api_version, MODEL_ROUTE.plural, route_object)
ROUTE_CHILDREN = tuple(
    WatchedKind(f"route_{plural}", api_version, plural, partial(child_record, plural), SELECT_ROUTERS)
    for plural, (api_version, _) in ROUTER_CHILDREN.items()
    if plural != DEPLOYMENTS  # they come with those of the tiers
)
# What other installations of Tierwise can be seen by.
OPERATORS = WatchedKind("operators", APPS_API, DEPLOYMENTS, deployment_trace, INSTALLATION_LABEL)
BINDINGS = WatchedKind("bindings", ROUTER_CHILDREN[ROLE_BINDINGS][0], ROLE_BINDINGS, binding_trace, INSTALLATION_LABEL)
NODES = WatchedKind("nodes", "v1", "nodes", gpu_inventory.node_record)
POOLS = WatchedKind("pools", GPU_POOL.api_version, GPU_POOL.plural, pool_records.pool_object)
# All pods of all namespaces, and only where there is a pool: of those without GPUs nothing is kept.
GPU_PODS = WatchedKind("gpu_pods", "v1", "pods", pool_records.gpu_pod_record)
NO_NODES_HERE = "the chart value watch.nodes is false"
NO_POOLS_HERE = "GPUPools are not served here: the chart value watch.pools is false"


logger = logging.getLogger(__name__)
_REMEDY = "Uninstall one, or give each its own namespaces (chart value watch.namespaces)"


class Watches:
    """Everything that is watched."""

    def __init__(
        self,
        settings: Settings,
        source: Source,
        wake: Callable[[], None],
        wake_safely: Callable[[], object],
        catalogue: ModelMetadataCache | None = None,
    ) -> None:
        """`wake` wakes the loop; `wake_safely` does so from another thread. Without a `catalogue` nothing is known of
        the models."""
        namespaces = settings.namespaces or ("",)
        self._informer = Informer(settings, KINDS, wake_safely)
        self._services, self._keda, self._routes, *children = (
            [Reflector(source, kind.ref(each), kind.record, wake, selector=kind.selector) for each in namespaces]
            for kind in (SERVICES, KEDA, ROUTES, *ROUTE_CHILDREN)
        )
        places = [(BINDINGS, each) for each in namespaces] + ([] if settings.namespaces else [(OPERATORS, "")])
        self._traces = [
            Reflector(source, kind.ref(each), kind.record, wake, selector=kind.selector, optional=True)
            for kind, each in places
        ]
        self._own = Installation(settings.lease_namespace, settings.lease_name)
        self._watched = settings.namespaces
        self._told = ""
        self._route_children = [each for kind in children for each in kind]
        watched = (NODES,) if settings.watch_nodes else ()
        self._nodes = [Reflector(source, each.ref(""), each.record, wake, optional=True) for each in watched]
        self._pooled = asyncio.Event()

        def pools_changed() -> None:
            if self._pools.records:
                self._pooled.set()
            wake()

        self._pools = Reflector(source, POOLS.ref(""), POOLS.record, pools_changed)
        self._watch_pools = settings.watch_pools
        self._gpu_pods = Reflector(source, GPU_PODS.ref(""), GPU_PODS.record, wake, optional=True)
        self._catalogue = catalogue
        self._engine_rules = settings.engine_rules
        self.tiers: Collection[TierObject] = ()
        """Those of the last World."""

    def parts(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        """What runs for ever in the loop of the caller."""
        parts: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            (f"reflector-{number}", each.run)
            for number, each in enumerate([*self._reflectors, *self._routes, *self._route_children])
        ]
        if self._watch_pools:
            parts += [("pools", self._pools.run), ("gpu-pods", self._follow_gpu_pods)]
        return parts + ([("catalogue", self._catalogue.run)] if self._catalogue is not None else [])

    async def _follow_gpu_pods(self) -> None:
        """Look at the pods of others once there is a pool that they may hold GPUs of."""
        await self._pooled.wait()
        await self._gpu_pods.run()

    @property
    def _reflectors(self) -> list[Reflector[Any]]:
        """Those without which there is no World."""
        return [*self._services, *self._keda, *self._traces, *self._nodes]

    def start(self) -> None:
        """Begin to watch."""
        self._informer.start()

    async def stop(self) -> None:
        """End the informer's thread."""
        await self._informer.stop()

    @property
    def problem(self) -> str:
        """Why there is no World; empty when all is well."""
        unknown = [each for each in self._reflectors if each.present is None]
        problem = self._informer.problem or (f"{unknown[0].name} have not been listed yet" if unknown else "")
        return problem or self._gives_way(installations(self._own, self._watched, _all(self._traces)))

    def _gives_way(self, others: Installations) -> str:
        """Why this installation serves nobody; empty where it serves somebody."""
        if others.everywhere is not None:
            return f"the installation {others.everywhere} serves all namespaces, so this one writes nothing: {_REMEDY}"
        if others.nowhere:
            who = ", ".join(sorted({str(each) for each in others.instead.values()}))
            return f"the installation {who} serves the same namespaces, so this one writes nothing: {_REMEDY}"
        return ""

    def _tell(self, others: Installations) -> None:
        """Say once in the log that another installation is there, and once that it is not any more."""
        instead = [f"{others.everywhere} serves all namespaces"] if others.everywhere is not None else []
        instead += [f"{who} serves {namespace}" for namespace, who in sorted(others.instead.items())]
        beside = [f"{who} keeps still in {space or 'all namespaces'}" for space, who in sorted(others.beside.items())]
        said = "; ".join([*instead, *beside])
        if said != self._told:
            self._told = said
            text = f"another installation of Tierwise is there: {said}. {_REMEDY}" if said else "no other is there now"
            logger.warning("%s", text)

    async def world(self) -> World | None:
        """What is in the cluster; None while that is not known."""
        found = await self._informer.records()
        if found is None or any(each.present is None for each in self._reflectors):
            return None
        if self._catalogue is not None:
            await in_turns(self._catalogue.want_in_turns(found["tiers"]))
        self.tiers = found["tiers"]
        others = installations(self._own, self._watched, _all(self._traces))
        self._tell(others)
        known = all(each.present is not None for each in (*self._routes, *self._route_children))
        routers = [each for each in found["deployments"] if isinstance(each, RouteChildRecord)]
        return World(
            tiers=found["tiers"],
            pods=found["pods"],
            deployments=[each for each in found["deployments"] if isinstance(each, records.DeploymentRecord)],
            replica_sets=found["replica_sets"],
            endpoint_slices=found["endpoint_slices"],
            scalers=(*found["scalers"], *_all(self._keda)),
            inference_services=_all(self._services),
            kserve_present=any(each.present for each in self._services),
            nodes=_all(self._nodes),
            publications=self._catalogue.publications if self._catalogue is not None else NOTHING,
            routes=_all(self._routes) if known else (),
            routes_known=known,
            route_children=(*_all(self._route_children), *routers) if known else (),
            nodes_problem=next((each.unknown for each in self._nodes), NO_NODES_HERE),
            pools=tuple(self._pools.records.values()),
            pools_known=self._pools.present is not None,
            pools_problem=self._pools.refused if self._watch_pools else NO_POOLS_HERE,
            gpu_pods=tuple(self._gpu_pods.records.values()),
            gpu_pods_problem=self._gpu_pods.unknown,
            engine_rules=self._engine_rules,
            installations=others,
        )


def _all(reflectors: list[Reflector[Any]]) -> tuple[Any, ...]:
    return tuple(chain.from_iterable(each.records.values() for each in reflectors))
