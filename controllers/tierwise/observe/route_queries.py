"""Defines the Prometheus queries about routes, and reads their answers.

Five queries, whatever the number of routes: what each router says of its money, the traffic of each route over all its
routers, what they say of choosing by content (`content_queries`) and of verdicts (`verdict_queries`), and what they
have answered (`work_queries`). The rules are those of `queries`: an absent series stays absent, and only what was
scraped from a router itself counts.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal

from tierwise.observe.content_queries import CONTENT, content_query
from tierwise.observe.queries import RATIO_WINDOW, ROUTE_LABEL, SERIES, Query, quote
from tierwise.observe.route_readings import RouteReadings, RouterKey
from tierwise.observe.verdict_queries import VERDICTS, verdict_query
from tierwise.observe.work_queries import WORK, WORK_ROUNDS, work_query
from tierwise.ports import Series
from tierwise.types import RouteKey, RouteSignals, RouteWork, VerdictCounts, WalletReport

WALLETS, TRAFFIC = "wallets", "traffic"
ROUTE_QUERIES = frozenset({WALLETS, TRAFFIC, CONTENT, WORK, VERDICTS})
SPENT, RESERVED, LARGEST, PERIOD, AGE = "spent", "reserved", "largest", "period", "age"
REQUESTS, BY_TIER, COST, WAITING, TTFT = "requests", "by_tier", "cost", "waiting", "ttft"
SPILL_COST, SPILL_WINDOW = "spill_cost", "1h"
SPILLED, FALLBACKS = "Spill", "Fallback"
RATE_WINDOW = "1m"
_SECONDS_PER_HOUR = 3600
_BY_POD = f"namespace, pod, {ROUTE_LABEL}"
_BY_ROUTE = f"namespace, {ROUTE_LABEL}"
_TARGET = f"{_BY_POD}, job, instance"
_PREFIX = "tierwise_router_"


def route_queries(matchers: Mapping[str, str] | None = None) -> tuple[Query, ...]:
    """The five queries. `matchers` as in `queries`."""
    more = "".join(f", {label}={quote(value)}" for label, value in sorted((matchers or {}).items()))
    return (
        Query(WALLETS, _wallets(more)),
        Query(TRAFFIC, _traffic(more)),
        Query(CONTENT, content_query(_own, more)),
        work_query(matchers),
        Query(VERDICTS, verdict_query(_own, more)),
    )


def _own(metric: str, more: str, labels: str = "", window: str = "", function: str = "") -> str:
    """The series of routers that were scraped from the router that their labels name, while that answers."""
    vector = f'{_PREFIX}{metric}{{{ROUTE_LABEL}!=""{labels}{more}}}{window}'
    up = f'(up{{{ROUTE_LABEL}!=""{more}}} == 1)'
    return f"({function}({vector}) and on ({_TARGET}) {up})" if function else f"({vector} and on ({_TARGET}) {up})"


def _part(series: str, expression: str) -> str:
    return f'label_replace({expression}, "{SERIES}", {quote(series)}, "", "")'


def _wallets(more: str) -> str:
    parts = [
        _part(part, f"max by ({_BY_POD}) ({_own('budget_usd', more, f', part={quote(part)}')})")
        for part in (SPENT, RESERVED, LARGEST)
    ]
    parts.append(_part(PERIOD, f"max by ({_BY_POD}) ({_own('budget_period_start_seconds', more)})"))
    age = _own("budget_period_start_seconds", more, function="timestamp")
    parts.append(_part(AGE, f"time() - max by ({_BY_POD}) ({age})"))
    return " or ".join(parts)


def _traffic(more: str) -> str:
    def summed(metric: str, function: str, window: str, *by: str, labels: str = "") -> str:
        group = ", ".join((_BY_ROUTE, *by))
        return f"sum by ({group}) ({_own(metric, more, labels, f'[{window}]', function)})"

    buckets = summed("first_token_seconds_bucket", "rate", RATIO_WINDOW, "le")
    return " or ".join(
        (
            _part(REQUESTS, summed("requests_total", "rate", RATE_WINDOW)),
            _part(BY_TIER, summed("choices_total", "increase", RATIO_WINDOW, "tier")),
            _part(COST, f"{_SECONDS_PER_HOUR} * {summed('cost_usd_total', 'rate', RATIO_WINDOW)}"),
            _part(WAITING, f"sum by ({_BY_ROUTE}) ({_own('waiting', more)})"),
            *(
                _part(reason, summed("choices_total", "increase", RATIO_WINDOW, labels=f", reason={quote(reason)}"))
                for reason in (SPILLED, FALLBACKS)
            ),
            _part(TTFT, f"histogram_quantile(0.95, {buckets})"),
            _part(SPILL_COST, _spill_cost(more)),
        )
    )


def _spill_cost(more: str) -> str:
    """Of all routers of the last hour, those included that are gone: what they spent counts in the hour's cap."""
    spent = f'increase({_PREFIX}spill_cost_usd_total{{{ROUTE_LABEL}!=""{more}}}[{SPILL_WINDOW}])'
    up = f'(max_over_time(up{{{ROUTE_LABEL}!=""{more}}}[{SPILL_WINDOW}]) == 1)'
    return f"sum by ({_BY_ROUTE}) ({spent} and on ({_TARGET}) {up})"


def wallets_of(answer: Iterable[Series], asked_at: float) -> dict[RouterKey, WalletReport]:
    """What each router says of its money. Only what is complete counts: a router that says half of it says nothing."""
    found: dict[RouterKey, dict[str, float]] = {}
    for series in answer:
        labels = series.labels
        key = RouterKey(labels.get("namespace", ""), labels.get(ROUTE_LABEL, ""), labels.get("pod", ""))
        if 0.0 <= series.value < math.inf:
            found.setdefault(key, {})[labels.get(SERIES, "")] = series.value
    return {
        key: WalletReport(
            at=asked_at - said[AGE],
            period=said[PERIOD],
            spent=_dollars(said[SPENT]),
            reserved=_dollars(said[RESERVED]),
            largest=_dollars(said[LARGEST]),
        )
        for key, said in found.items()
        if {SPENT, RESERVED, LARGEST, PERIOD, AGE} <= said.keys()
    }


def traffic_of(answer: Iterable[Series]) -> dict[tuple[str, str], dict[tuple[str, str], float]]:
    """The traffic by namespace and route, then by kind of series and tier. What is no number is left out."""
    found: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    for series in answer:
        labels = series.labels
        if 0.0 <= series.value < math.inf:
            route = found.setdefault((labels.get("namespace", ""), labels.get(ROUTE_LABEL, "")), {})
            route[labels.get(SERIES, ""), labels.get("tier", "")] = series.value
    return found


def route_signals(
    readings: RouteReadings, key: RouteKey, pods: Collection[str], now: float, stale_after: float
) -> RouteSignals:
    """What is known of one route. `pods`: names of its routers. What is older than `stale_after` seconds is missing."""
    wallets = {}
    for pod in pods:
        said = readings.wallets.get(RouterKey(key.namespace, key.name, pod))
        if said is not None and now - said.at <= stale_after:
            wallets[pod] = said
    fresh = now - readings.traffic_at <= stale_after
    content = readings.content if now - readings.content_at <= stale_after else {}
    found = readings.traffic.get((key.namespace, key.name), {}) if fresh else {}
    share = {tier: value for (series, tier), value in found.items() if series == BY_TIER and tier}
    # A counter is made with the first request that it counts: without it, and with others, there was none.
    none = 0.0 if (REQUESTS, "") in found else None
    return RouteSignals(
        requests_per_second=found.get((REQUESTS, "")),
        share=share,
        cost_per_hour=found.get((COST, ""), none),
        waiting=found.get((WAITING, "")),
        spilled=found.get((SPILLED, ""), none),
        fallbacks=found.get((FALLBACKS, ""), none),
        ttft_p95=found.get((TTFT, "")),
        spill_cost=found.get((SPILL_COST, "")),
        wallets=wallets,
        heard=None if readings.traffic_at == -math.inf else fresh,
        verdicts=_verdicts(readings, key, pods) if now - readings.verdicts_at <= stale_after else {},
        classifier=content.get((key.namespace, key.name)),
        work=_recent_work(readings, key, now, stale_after),
    )


def _verdicts(readings: RouteReadings, key: RouteKey, pods: Collection[str]) -> dict[str, VerdictCounts]:
    found = {pod: readings.verdicts.get(RouterKey(key.namespace, key.name, pod)) for pod in pods}
    return {pod: counts for pod, counts in found.items() if counts is not None}


def _recent_work(readings: RouteReadings, key: RouteKey, now: float, stale_after: float) -> RouteWork | None:
    # It is asked for every few rounds, and about an hour.
    fresh = now - readings.work_at <= WORK_ROUNDS * stale_after
    return readings.work.get((key.namespace, key.name)) if fresh else None


def _dollars(value: float) -> Decimal:
    return Decimal(repr(value))
