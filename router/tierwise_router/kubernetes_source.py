"""Follows a route that a ModelRoute says, and the replicas of its tiers.

What the operator has found out about the tiers stands in the status of the ModelRoute; the replicas come from the
EndpointSlices of the tiers' Services, since the operator must not be between a replica and its requests. While the API
server is away everything stays as it was heard last. Keys come from mounted files, which are read again and again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tierwise import route_values
from tierwise.api.kinds import MODEL_ROUTE
from tierwise.api.modelroute import ModelRouteSpec
from tierwise.api.modelroute_status import BudgetStatus, LadderTier
from tierwise.errors import Invalid
from tierwise.kube import connection
from tierwise.kube.client import KubernetesCluster
from tierwise.kube.objects import CLASSIFIER, CLASSIFIER_KEY, CLIENTS, PROVIDERS, TLS, TLS_CERTIFICATE, TLS_KEY
from tierwise.kube.reflector import Reflector, Source
from tierwise.kube.transport import ApiTransport
from tierwise.observe.records import SERVICE_LABEL
from tierwise.observe.route_object import route_object
from tierwise.ports import ObjectRef
from tierwise.routing import route as values
from tierwise.routing.budget import Lease
from tierwise.runtime.clock import SystemClock
from tierwise.runtime.supervision import supervise
from tierwise.types import RouteObject
from tierwise_router.endpoints import Endpoint, endpoints, replicas
from tierwise_router.route_file import read_keys, read_tenants
from tierwise_router.router_state import RouterState
from tierwise_router.source import RELOAD_SECONDS, Loaded, TLSFiles
from tierwise_router.tier import Tier
from tierwise_router.upstream import check_addresses

logger = logging.getLogger(__name__)

SLICES_API, SLICES = "discovery.k8s.io/v1", "endpointslices"


@dataclass(frozen=True, slots=True)
class Place:
    """Which ModelRoute is served, in which folder its Secrets are mounted, and the UID of the pod that serves it
    (empty: none, so that it has no lease of the budget)."""

    namespace: str
    name: str
    secrets: Path
    router: str = ""


class KubernetesSource:
    """The route of a ModelRoute."""

    def __init__(self, cluster: Source, place: Place) -> None:
        self._cluster = cluster
        self._namespace = place.namespace
        self._name = place.name
        self._secrets = place.secrets
        self._router = place.router
        self._changed = asyncio.Event()
        ref = ObjectRef.of(MODEL_ROUTE, place.namespace, "")
        self._routes = Reflector(cluster, ref, self._record, self._changed.set)
        self._route: RouteObject | None = None
        self._loaded: Loaded | None = None
        self._slices: dict[str, tuple[Reflector[tuple[Endpoint, ...]], asyncio.Task[None]]] = {}
        self._listed: set[str] = set()
        self._complaint = ""

    @property
    def parts(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """The watch of the ModelRoute."""
        return {"the ModelRoute": self._routes.run}

    async def first(self) -> Loaded:
        """The route, as soon as the API server tells of it and the operator has resolved its tiers."""
        while True:
            loaded = await self._load()
            if loaded is not None:
                self._loaded = loaded
                return loaded
            await self._pause()

    async def follow(self, state: RouterState) -> None:
        """Serve what the ModelRoute, the mounted files and the EndpointSlices say."""
        try:
            while True:
                await self._bring(state)
                await self._pause()
        finally:
            for _, task in self._slices.values():
                task.cancel()
            self._slices = {}

    async def _pause(self) -> None:
        """Until something has changed, or files may have."""
        try:
            async with asyncio.timeout(RELOAD_SECONDS):
                await self._changed.wait()
        except TimeoutError:
            pass
        self._changed.clear()

    async def _bring(self, state: RouterState) -> None:
        found = await self._load()
        if found is not None and found != self._loaded:
            state.replace(found.route, dict(found.keys))
            self._loaded = found
            logger.info("the route has changed and is served")
        if self._route is not None:
            state.purse.follow(lease_of(self._route.status.budget, self._router))
            state.purse.hear_spilled(spilled(self._route.status.spill_cost))
        self._watch({service for tier in state.route.tiers for service in tier.services})
        for tier in state.tiers.values():
            self._find_replicas(tier)

    def _find_replicas(self, tier: Tier) -> None:
        """Give a tier the replicas of all its Services, once they are known. While a Service that has come to others
        is not listed yet, those of the others count. One that has no Service any more has no replica."""
        listed = [service for service in tier.spec.services if self._slices[service][0].present]
        if not listed and (tier.spec.services or tier.spec.external):
            return
        known = {one.key: (one.url, one.draining) for one in tier.replicas}
        slices = [part for service in listed for part in self._slices[service][0].records.values()]
        urls, draining = replicas(slices, known)
        if known != {key: (url, key in draining) for key, url in urls.items()}:
            # What was there before this router is not new: it needs no slow start.
            tier.set_replicas(urls, draining=draining, started=not self._listed.issuperset(listed))
        self._listed.update(listed)

    async def _load(self) -> Loaded | None:
        """The route as it is now; None while that is not known or cannot be served."""
        self._route = next(iter(self._routes.records.values()), self._route)
        if self._route is None:
            return None
        try:
            return await asyncio.to_thread(load, self._route, self._secrets)
        except Invalid as error:
            if error.message != self._complaint:
                logger.warning("%s; what was served before stays", error.message)
                self._complaint = error.message
            return None

    def _watch(self, services: set[str]) -> None:
        """Follow the EndpointSlices of exactly these Services."""
        for service in self._slices.keys() - services:
            self._slices.pop(service)[1].cancel()
        for service in services - self._slices.keys():
            reflector = Reflector(
                self._cluster,
                ObjectRef(SLICES_API, SLICES, self._namespace, ""),
                endpoints,
                self._changed.set,
                selector=f"{SERVICE_LABEL}={service}",
            )
            name = f"the endpoints of {service}"
            self._slices[service] = reflector, asyncio.create_task(supervise(name, reflector.run), name=name)

    def _record(self, body: Mapping[str, Any]) -> RouteObject | None:
        return route_object(body) if body["metadata"]["name"] == self._name else None


@asynccontextmanager
async def kubernetes_source(
    place: Place, kubeconfig: Path | None, context: str | None
) -> AsyncIterator[KubernetesSource]:
    """The source over a connection of its own. Raises Invalid when there is no API server to ask."""
    configuration = await connection.load(kubeconfig, context)
    async with connection.client(configuration) as client:
        cluster = KubernetesCluster(ApiTransport(client), SystemClock(), instance="router")
        yield KubernetesSource(cluster, place)


def lease_of(budget: BudgetStatus | None, router: str) -> Lease | None:
    """What this router may spend; None where the status says nothing of it, or nothing that can be understood."""
    found = None if budget is None else next((one for one in budget.leases if one.router == router), None)
    if budget is None or found is None:
        return None
    try:
        period, expires = datetime.fromisoformat(budget.period), datetime.fromisoformat(found.expires)
        lease = Lease(period, Decimal(found.amount), expires, Decimal(budget.left))
    except (ValueError, ArithmeticError):
        return None
    comparable = period.tzinfo is not None and expires.tzinfo is not None and lease.amount.is_finite()
    return lease if comparable and lease.left.is_finite() else None


def spilled(text: str) -> Decimal | None:
    """What all routers have spilled for; None where the status does not say it, or nothing that can be understood."""
    try:
        amount = Decimal(text)
    except ArithmeticError:
        return None
    return amount if amount.is_finite() else None


def load(route: RouteObject, secrets: Path) -> Loaded:
    """The route that a ModelRoute says, with the keys from the mounted files. Raises Invalid where it cannot be
    served."""
    if route.spec is None:
        raise Invalid(f"the spec of ModelRoute {route.key} cannot be used: {route.invalid}")
    tenants = read_tenants(secrets / CLIENTS) if route.spec.clients.secret_name is not None else {}
    made = to_route(route, route.spec, tenants)
    folder = secrets / TLS
    tls = None if route.spec.tls is None else TLSFiles(folder / TLS_CERTIFICATE, folder / TLS_KEY)
    return Loaded(made, read_keys(made, secrets), tls, secrets)


def to_route(route: RouteObject, spec: ModelRouteSpec, tenant_by_key_hash: Mapping[str, str]) -> values.Route:
    """The route, of the spec and the ladder in the status. Raises Invalid while the two do not fit together."""
    ladder = {tier.name: tier for tier in route.status.ladder}
    missing = [ref.name for ref in spec.tiers if ref.name not in ladder]
    if missing:
        raise Invalid(f"the operator has not resolved the tier {missing[0]} of ModelRoute {route.key} yet")
    tiers = [_tier(ladder[ref.name], values.Use(ref.use)) for ref in spec.tiers]
    who = route_values.clients(tenant_by_key_hash, spec.clients.tenant_header)
    given = spec.policy.classifier
    classifier = None
    if given is not None:
        classifier = values.ClassifierFile(f"{CLASSIFIER}/{CLASSIFIER_KEY}", given.quality_percent)
    check_addresses(tiers)
    made = route_values.to_route(route.key.name, spec, tiers, who, routers=spec.replicas, classifier=classifier)
    measured = route.status.quality
    return replace(made, added_share=0 if measured is None else measured.added_share_percent)


def _tier(tier: LadderTier, use: values.Use) -> values.RouteTier:
    secret = None if tier.provider is None else tier.provider.secret_key
    key = None if secret is None else f"{PROVIDERS}/{tier.name}/{secret}"
    return route_values.ladder_tier(tier, use, key)
