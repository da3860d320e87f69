"""Runs `tierwise explain`: reads a tier or a route with what stands beside it, and prints what there is to say.

It reads the API server as the user who asks, and no more than it must: a route with its tiers, a tier with the routes
of its namespace and its pools. Who may not read routes or pools still gets the tier explained.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from rich.console import RenderableType

from tierwise.api.gpupool import GPUPoolStatus
from tierwise.errors import Gone, Invalid, TierwiseError
from tierwise.kube.user_client import UserClient
from tierwise.observe.pool_records import pool_object
from tierwise.observe.route_object import route_object
from tierwise.observe.tier_object import tier_object
from tierwise.report.explain import as_text, explain
from tierwise.report.explain_route import explain_route, ladder_names, route_as_text
from tierwise.runtime.clock import SystemClock
from tierwise.types import RouteObject, TierObject
from tierwise_cli import cluster_options
from tierwise_cli.kinds import POOLS, ROUTES, TIERS, Kind, kind_of
from tierwise_cli.output import write_data, write_picture

EXAMPLES = """\
examples:
  tierwise explain chat -n models
  tierwise explain route chat -n models
  tierwise explain route/chat -n models -o json"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "what",
        nargs="+",
        metavar="[tier|route] NAME",
        help="name of a ModelTier; of a ModelRoute after the word route, or as route/NAME",
    )
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "wide", "json", "yaml"),
        default="text",
        help="text folds at the width of the terminal, wide does not",
    )
    cluster_options.add(parser)


def named(words: Sequence[str]) -> tuple[bool, str]:
    """Whether a route is meant, and its name or the tier's. Raises Invalid where that cannot be told."""
    parts = words[0].split("/", 1) if len(words) == 1 else list(words)
    if len(parts) == 1:
        return False, parts[0]
    kind, name = (parts[0].lower(), parts[1]) if len(parts) == 2 else ("", "")
    meant = kind_of(kind)
    if meant not in (TIERS, ROUTES) or not name or "/" in name:
        raise Invalid(f"'{' '.join(words)}' is neither the name of a tier nor one of tier/NAME and route/NAME")
    return meant is ROUTES, name


def run(given: argparse.Namespace) -> int:
    """Explain what was asked for; the exit code. Raises TierwiseError."""
    is_route, name = named(given.what)
    with cluster_options.client(given) as client:
        namespace = cluster_options.namespace(given, client)
        said, picture = (_route if is_route else _tier)(client, namespace, name)
    if given.output in ("json", "yaml"):
        write_data(given.output, said)
    else:
        write_picture(picture, wide=given.output == "wide")
    return 0


def _tier(client: UserClient, namespace: str, name: str) -> tuple[dict[str, Any], RenderableType]:
    body = _body(client, TIERS, namespace, name)
    if body is None:
        raise Gone(f"there is no ModelTier {name} in namespace {namespace}", status=404)
    tier = tier_object(body)
    said = explain(tier, SystemClock().now(), _routes(client, namespace), _pools(client, tier))
    return said, as_text(said)


def _pools(client: UserClient, tier: TierObject) -> dict[str, GPUPoolStatus]:
    """The pools of a tier, as far as the user may read them: they belong to no namespace."""
    found: dict[str, GPUPoolStatus] = {}
    for each in tier.status.pools:
        with suppress(TierwiseError):
            body = _body(client, POOLS, "", each.name)
            if body is not None:
                found[each.name] = pool_object(body).status
    return found


def _body(client: UserClient, kind: Kind, namespace: str, name: str) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = client.get(f"get {kind.plural} {namespace}/{name}", kind.path(namespace, name)).body
        return found
    except Gone:
        return None


def _routes(client: UserClient, namespace: str) -> list[RouteObject] | None:
    try:
        found = client.items(f"list {ROUTES.plural} {namespace}/(all)", ROUTES.path(namespace))
        return [route_object(body) for body in found]
    except Gone:
        return []  # a cluster without the CRD has none
    except TierwiseError:
        return None


def _route(client: UserClient, namespace: str, name: str) -> tuple[dict[str, Any], RenderableType]:
    body = _body(client, ROUTES, namespace, name)
    if body is None:
        raise Gone(f"there is no ModelRoute {name} in namespace {namespace}", status=404)
    route = route_object(body)
    tiers = {}
    for tier in ladder_names(route):
        seen = _body(client, TIERS, namespace, tier)
        if seen is not None:
            tiers[tier] = tier_object(seen)
    said = explain_route(route, tiers, SystemClock().now())
    return said, route_as_text(said)
