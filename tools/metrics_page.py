"""Generates docs/metrics.md from the metrics that the operator and the router register.

The processes' own collectors are asked, so no name, kind or help text is written twice. What bounds a label is said
here once for each, and a label without a bound fails: a series per client or per prompt must not slip in.

    python -m tools.metrics_page [--check] [--root DIR]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from tierwise.report.metrics import OperatorMetrics
from tierwise.routing import tier_choice
from tierwise.routing.cascade import Decision
from tierwise.routing.failover import Failure
from tierwise.routing.route import Budget, Overflow, Priority, Route, RouteTier
from tierwise.routing.savings import TACTICS
from tierwise_router import shadow_counts
from tierwise_router.bodies import Bodies
from tierwise_router.content_routing import STATES as CONTENT_STATES
from tierwise_router.metrics import RouterCollector
from tierwise_router.purse import Purse
from tierwise_router.record import TENANTS_SHOWN
from tierwise_router.router_state import Clocks, RouterState
from tierwise_router.shadow_counts import AGAIN, CHEAPER, MARGIN, REFERENCE
from tierwise_router.tier import REFUSALS
from tools.generated import Files, main

OPERATOR, ROUTER = "operator", "router"
PAGE = Path("docs/metrics.md")
_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
_CHOICES = (
    tier_choice.DIRECT,
    tier_choice.DEFAULT,
    tier_choice.RULE,
    tier_choice.CASCADE,
    tier_choice.ESCALATED,
    tier_choice.CONTEXT_LENGTH,
    tier_choice.SPILL,
    tier_choice.FALLBACK,
    tier_choice.BUDGET,
    tier_choice.PREVIOUS_RESPONSE,
    tier_choice.CLASSIFIED,
    tier_choice.CONVERSATION,
)
OUTCOMES = ("ok", "refused", "client_error", "client_gone", "broken", "internal_error")


def _words(words: Iterator[str] | tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)


# By (process, label), or (metric, label) where one word means something else: its values, and what bounds them.
BOUNDS: dict[tuple[str, str], str] = {
    (OPERATOR, "tier_namespace"): "namespaces of ModelTiers; a deleted tier's series go with it",
    (OPERATOR, "tier"): "ModelTiers; a deleted tier's series go with it",
    (OPERATOR, "reason"): "words of [conditions.md](conditions.md)",
    (OPERATOR, "direction"): "`up`, `down`",
    (OPERATOR, "type"): "the conditions of [conditions.md](conditions.md)",
    (OPERATOR, "status"): "`true`, `false`, `unknown`",
    (OPERATOR, "route_namespace"): "namespaces of ModelRoutes; a deleted route's series go with it",
    (OPERATOR, "route"): "ModelRoutes; a deleted route's series go with it",
    (OPERATOR, "gpupool"): "GPUPools; a deleted pool's series go with it",
    (OPERATOR, "price"): "`declared`, `assumed` (a list price)",
    (OPERATOR, "tactic"): _words(TACTICS),
    (OPERATOR, "state"): "the words of the column STATUS in [conditions.md](conditions.md)",
    ("tierwise_route_children_written", "reason"): "`Created`, `Updated`, `Healed`",
    (ROUTER, "tier"): "the tiers of the route, at most 8, those of its earlier specs included; empty: none was reached",
    (ROUTER, "outcome"): _words(OUTCOMES),
    (ROUTER, "code"): "HTTP statuses that were answered; 499: the client was gone",
    (ROUTER, "failure"): _words(tuple(one.value for one in Failure)),
    (ROUTER, "result"): "`made`, `denied`",
    (ROUTER, "first"): "the tiers of the route; empty: the client asked for the tier by its name",
    (ROUTER, "why"): "`discarded`, `failed`",
    (ROUTER, "kind"): "`input`, `cached_input`, `cache_write`, `output`",
    (ROUTER, "tenant"): f"the {TENANTS_SHOWN} tenants with the largest cost, and `other`",
    (ROUTER, "part"): "`allowance` (of this router), `spent`, `reserved`, `largest`",
    (ROUTER, "priority"): _words(tuple(one.value for one in Priority)),
    (ROUTER, "state"): "`ready`, `broken` (its breaker is open, or a provider rests), `draining`",
    (ROUTER, "decision"): _words(tuple(one.value for one in Decision)),
    (ROUTER, "mode"): "`act`, `shadow`",
    ("tierwise_router_choices", "reason"): _words(_CHOICES),
    ("tierwise_router_refused", "reason"): _words(REFUSALS),
    ("tierwise_router_classifier", "state"): _words(CONTENT_STATES),
    ("tierwise_router_classifier", "reason"): "those of ClassifierReady in [conditions.md](conditions.md)",
    ("tierwise_router_classifier", "hash"): "the file in use, one at a time: 12 digits of its SHA-256; empty: none is",
    ("tierwise_router_reference_share_percent", "part"): "`needed` (by the labels), `wanted` (by measured quality, if "
    "it is measured), `applied` (what pressure leaves of that)",
    ("tierwise_router_predicted_quality_percent", "part"): "`expected`, `lower` (exceeded with 90 % confidence), "
    "`unpressed` (expected with the share that quality asks for)",
    ("tierwise_router_pressure_requests", "part"): "`arrivals`, `capacity`, `fixed`, `queued`",
    (ROUTER, "routed"): f"`{shadow_counts.CHEAPER}`, `{shadow_counts.REFERENCE}`: who answered the client",
    ("tierwise_router_verdicts", "routed"): _words((CHEAPER, MARGIN, REFERENCE, AGAIN)) + " (what was compared)",
    (ROUTER, "verdict"): _words(shadow_counts.VERDICTS),
    (ROUTER, "purpose"): _words((shadow_counts.ANSWER, shadow_counts.JUDGE)),
    (ROUTER, "which"): "`reference`, `small`; of the squares also `product`",
    ("tierwise_router_shadow_tokens", "kind"): _words(shadow_counts.KINDS),
    ("tierwise_router_samples_dropped", "reason"): _words(shadow_counts.DROPPED),
    ("tierwise_router_score_shift_points", "part"): "`seen`, `allowed` (by the margin and by chance)",
    ("tierwise_router_shadow_choices", "policy"): "`classifier`, `cascade`",
}


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: who exports it, its name without suffixes, its kind, its labels and what it says."""

    process: str
    name: str
    kind: str
    labels: tuple[str, ...]
    text: str

    @property
    def series(self) -> tuple[str, ...]:
        """The names as Prometheus stores them."""
        return tuple(self.name + suffix for suffix in _SUFFIXES[self.kind])

    def bound(self, label: str) -> str:
        """What bounds the values of a label. Raises KeyError where nobody has said it."""
        return BOUNDS.get((self.name, label)) or BOUNDS[self.process, label]


def families() -> tuple[Family, ...]:
    """Every metric of our processes, sorted by its name within each."""
    found = [*_of(OPERATOR, _registered()), *_of(ROUTER, RouterCollector(_router(), Bodies()).collect())]
    return tuple(sorted(found, key=lambda each: (each.process, each.name)))


def _registered() -> Iterator[Any]:
    registry = CollectorRegistry()
    OperatorMetrics(registry, lambda: 0.0)
    yield from registry._collector_to_names  # prometheus_client shows families without samples nowhere else


def _of(process: str, found: Iterator[Any]) -> Iterator[Family]:
    for each in found:
        # Two classes of prometheus_client, a metric and a family, say the same under other names.
        name, kind, text = (
            getattr(each, public, None) or getattr(each, f"_{public}") for public in ("name", "type", "documentation")
        )
        yield Family(process, name, kind, tuple(each._labelnames), text)


def _router() -> RouterState:
    """One that has never had a request, with everything of which there are metrics."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    clocks = Clocks(lambda: 0.0, lambda: now, lambda: "")
    route = Route("chat", ("chat",), (RouteTier("small", "small"),), "small", budget=Budget(Decimal(1)))
    return RouterState.of(route, clocks, Purse(route.budget, Overflow(), clocks.now, clocks.monotonic))


def page() -> str:
    """The page."""
    lines = [
        "<!-- Generated by `make docs` from the code (tools/metrics_page.py); edit that, not this page. -->",
        "",
        "# Metrics",
        "",
        "The operator and each router serve `/metrics`. What a scrape adds (`namespace`, `pod`, and by the chart's",
        "PodMonitors `tierwise_io_route` and `tierwise_io_tier`) is not listed here. [alerts.md](alerts.md) has the",
        "recording rules and alerts that are made of these.",
        "",
    ]
    for process, where in (
        (OPERATOR, "Port 8080 of the operator's pod; chart value `serviceMonitor.enabled`."),
        (
            ROUTER,
            "Port `metrics` (9090) of a route's routers; the chart's PodMonitor. Each router counts for itself.",
        ),
    ):
        own = [each for each in families() if each.process == process]
        lines += [f"## The {process}", "", where, "", "| metric | kind | labels | what it says |", "|---|---|---|---|"]
        lines += [
            f"| `{each.series[0].removesuffix('_bucket')}` | {each.kind} | {_words(each.labels)} | {each.text} |"
            for each in own
        ]
        lines += ["", "| label | its values |", "|---|---|", *_bounds(own), ""]
    return "\n".join(lines).rstrip() + "\n"


def _bounds(own: list[Family]) -> Iterator[str]:
    for label in sorted({label for each in own for label in each.labels}):
        said: dict[str, list[str]] = {}
        for each in own:
            if label in each.labels:
                said.setdefault(each.bound(label), []).append(each.series[0])
        for bound, names in said.items():
            of = f" of {_words(tuple(names))}" if len(said) > 1 else ""
            yield f"| `{label}`{of} | {bound} |"


def files() -> Files:
    """The page, by its path below the root of the repository."""
    return {PAGE: page()}


if __name__ == "__main__":
    sys.exit(main("python -m tools.metrics_page", files()))
