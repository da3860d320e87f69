"""Runs `tierwise savings`: what a route has saved against its reference tier, by tactic.

The figures are those of the route's status, or are computed here from an access log and a route's file, with the same
code: no cluster and no Prometheus are needed for that.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tierwise.api.savings_status import SavingsStatus
from tierwise.errors import Gone, Invalid
from tierwise.observe.access_log_work import work_of_log
from tierwise.observe.route_object import route_object
from tierwise.report.route_savings import savings_status
from tierwise.report.savings_page import savings_as_page
from tierwise.report.savings_text import savings_as_text, savings_said
from tierwise.routing.savings import NoSavings, PricedTier, savings
from tierwise_cli import cluster_options
from tierwise_cli.kinds import ROUTES
from tierwise_cli.output import write_data, write_picture
from tierwise_router import route_file

EXAMPLES = """\
examples:
  tierwise savings chat -n models
  tierwise savings chat -n models --html savings.html
  tierwise savings route.yaml --access-log access.jsonl"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("route", metavar="ROUTE", help="name of a ModelRoute; with --access-log the file of a route")
    parser.add_argument(
        "-o",
        "--output",
        choices=("text", "wide", "json", "yaml"),
        default="text",
        help="text folds at the width of the terminal, wide does not",
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with the waterfall to this file, too")
    parser.add_argument(
        "--access-log",
        type=Path,
        metavar="FILE",
        help="compute from the access log of its routers (JSON lines) instead, without a cluster",
    )
    parser.add_argument(
        "--reference", metavar="TIER", help="with --access-log: compare with this tier instead of the file's"
    )
    cluster_options.add(parser)


def run(given: argparse.Namespace) -> int:
    """Print what was saved; the exit code. Raises TierwiseError, OSError."""
    if given.access_log is not None:
        name, found = from_log(Path(given.route), given.access_log, given.reference)
        source = f"the access log {given.access_log.name}"
    elif given.reference is not None:
        raise Invalid("--reference needs --access-log: a ModelRoute says its own reference tier")
    else:
        name, found = _from_cluster(given)
        source = "the routers' metrics of the last hour"
    if given.html is not None:
        given.html.write_text(savings_as_page(name, found, source), encoding="utf-8")
    if given.output in ("json", "yaml"):
        write_data(given.output, savings_said(name, found, source))
    else:
        write_picture(savings_as_text(name, found, source), wide=given.output == "wide")
    return 0


def from_log(route: Path, log: Path, reference: str | None = None) -> tuple[str, SavingsStatus]:
    """The route's name, and what it has saved in the time of this access log. Raises Invalid, OSError."""
    file = route_file.read(route)
    always = [tier.name for tier in file.tiers if tier.use == "Always"]
    wanted = reference or file.reference_tier or (always or [file.tiers[-1].name])[-1]
    ladder = [PricedTier(tier.name, tier.tariff, tier.concurrency) for tier in map(route_file.to_tier, file.tiers)]
    with log.open(encoding="utf-8", errors="replace") as lines:
        work = work_of_log(lines)
    found = savings(work, ladder, wanted)
    if isinstance(found, NoSavings):
        return file.name, SavingsStatus(reference_tier=wanted, window_seconds=work.window_seconds, notes=[found.why])
    return file.name, savings_status(found)


def _from_cluster(given: argparse.Namespace) -> tuple[str, SavingsStatus]:
    with cluster_options.client(given) as client:
        namespace = cluster_options.namespace(given, client)
        try:
            body = client.get(f"get modelroutes {namespace}/{given.route}", ROUTES.path(namespace, given.route)).body
        except Gone as gone:
            raise Gone(f"there is no ModelRoute {given.route} in namespace {namespace}", status=404) from gone
    found = route_object(body).status.savings
    if found is None:
        raise Gone(
            f"nothing is measured of the ModelRoute {given.route} in namespace {namespace} yet: "
            "savings need Prometheus to scrape its routers (docs/savings.md)",
            status=404,
        )
    return f"{namespace}/{given.route}", found
