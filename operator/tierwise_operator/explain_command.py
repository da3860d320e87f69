"""Runs `tierwise explain`: reads a tier or a route with what stands beside it, and prints what there is to say.

It reads the API server as the user who asks, and no more than it must: a route with its tiers, a tier with the routes
of its namespace and its pools. Who may not read routes or pools still gets the tier explained.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from tierwise.api.gpupool import GPUPoolStatus
from tierwise.api.kinds import GPU_POOL, MODEL_ROUTE, MODEL_TIER
from tierwise.errors import Gone, Invalid, TierwiseError
from tierwise.kube import connection
from tierwise.kube.client import KubernetesCluster
from tierwise.kube.transport import ApiTransport
from tierwise.observe.pool_records import pool_object
from tierwise.observe.route_object import route_object
from tierwise.observe.tier_object import tier_object
from tierwise.ports import ObjectRef
from tierwise.report.explain import as_text, explain
from tierwise.report.explain_route import explain_route, ladder_names, route_as_text
from tierwise.runtime.clock import SystemClock
from tierwise.types import RouteObject, TierObject

EXAMPLES = """\
examples:
  tierwise explain chat -n models
  tierwise explain route chat -n models
  tierwise explain route/chat -n models -o json"""
_ROUTES = frozenset({"route", MODEL_ROUTE.singular, MODEL_ROUTE.plural, "mr"})
_TIERS = frozenset({"tier", MODEL_TIER.singular, MODEL_TIER.plural, "mt"})


def add_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "what",
        nargs="+",
        metavar="[tier|route] NAME",
        help="name of a ModelTier; of a ModelRoute after the word route, or as route/NAME",
    )
    parser.add_argument("-n", "--namespace", default="default", help="its namespace (default: default)")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="for people or programs")
    parser.add_argument("--kubeconfig", type=Path, metavar="FILE", help="default: $KUBECONFIG, then ~/.kube/config")
    parser.add_argument("--context", help="context of the kubeconfig")


def named(words: Sequence[str]) -> tuple[bool, str]:
    """Whether a route is meant, and its name or the tier's. Raises Invalid where that cannot be told."""
    parts = words[0].split("/", 1) if len(words) == 1 else list(words)
    if len(parts) == 1:
        return False, parts[0]
    kind, name = (parts[0].lower(), parts[1]) if len(parts) == 2 else ("", "")
    if kind not in _ROUTES | _TIERS or not name or "/" in name:
        raise Invalid(f"'{' '.join(words)}' is neither the name of a tier nor one of tier/NAME and route/NAME")
    return kind in _ROUTES, name


async def run(given: argparse.Namespace) -> int:
    """Explain what was asked for; the exit code. Raises TierwiseError."""
    is_route, name = named(given.what)
    configuration = await connection.load(given.kubeconfig, given.context)
    async with connection.client(configuration) as client:
        cluster = KubernetesCluster(ApiTransport(client), SystemClock(), instance="cli")
        said, picture = await (_route if is_route else _tier)(cluster, given.namespace, name)
    if given.output == "json":
        print(json.dumps(said, indent=2))
    else:
        Console().print(picture)
    return 0


async def _tier(cluster: KubernetesCluster, namespace: str, name: str) -> tuple[dict[str, Any], RenderableType]:
    body = await cluster.get(ObjectRef.of(MODEL_TIER, namespace, name))
    if body is None:
        raise Gone(f"there is no ModelTier {name} in namespace {namespace}", status=404)
    tier = tier_object(body)
    said = explain(tier, SystemClock().now(), await _routes(cluster, namespace), await _pools(cluster, tier))
    return said, as_text(said)


async def _pools(cluster: KubernetesCluster, tier: TierObject) -> dict[str, GPUPoolStatus]:
    """The pools of a tier, as far as the user may read them: they belong to no namespace."""
    found: dict[str, GPUPoolStatus] = {}
    for each in tier.status.pools:
        with suppress(TierwiseError):
            body = await cluster.get(ObjectRef.of(GPU_POOL, "", each.name))
            if body is not None:
                found[each.name] = pool_object(body).status
    return found


async def _routes(cluster: KubernetesCluster, namespace: str) -> list[RouteObject] | None:
    found: list[RouteObject] = []
    try:
        async for bodies, _ in cluster.pages(ObjectRef.of(MODEL_ROUTE, namespace, "")):
            found += map(route_object, bodies)
    except Gone:
        return []  # a cluster without the CRD has none
    except TierwiseError:
        return None
    return found


async def _route(cluster: KubernetesCluster, namespace: str, name: str) -> tuple[dict[str, Any], RenderableType]:
    body = await cluster.get(ObjectRef.of(MODEL_ROUTE, namespace, name))
    if body is None:
        raise Gone(f"there is no ModelRoute {name} in namespace {namespace}", status=404)
    route = route_object(body)
    tiers = {}
    for tier in ladder_names(route):
        seen = await cluster.get(ObjectRef.of(MODEL_TIER, namespace, tier))
        if seen is not None:
            tiers[tier] = tier_object(seen)
    said = explain_route(route, tiers, SystemClock().now())
    return said, route_as_text(said)
