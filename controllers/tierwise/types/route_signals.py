"""Holds what was measured of a route: of its traffic as a whole, and of the money of each of its routers.

What is missing or stale is None, never 0: a route of which nothing is known must not look like an idle one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from tierwise.types.route_content import ClassifierReport
from tierwise.types.route_verdicts import VerdictCounts
from tierwise.types.route_work import RouteWork


@dataclass(frozen=True, slots=True)
class WalletReport:
    """What one router says of its money, in US dollars of the period that began at `period`.

    `at` and `period` are seconds since the epoch: when it said so, and which period it counts. `reserved` is set aside
    for requests under way; `largest` is the dearest estimate of the last minutes, refused requests included."""

    at: float
    period: float
    spent: Decimal
    reserved: Decimal
    largest: Decimal


@dataclass(frozen=True, slots=True)
class RouteSignals:
    """The traffic of one route over all its routers, and what its routers (by the name of their pod) say of money.

    `share` is requests by tier in the last minutes; `cost_per_hour` US dollars; `spilled` and `fallbacks` requests in
    the last minutes; `spill_cost` US dollars of spilled requests in the last hour, of routers that are gone as well;
    `ttft_p95` seconds. `heard`: whether Prometheus has answered lately; None: nobody has asked it. `classifier`: what
    its routers say of it. `work`: what was answered in the last hour."""

    requests_per_second: float | None = None
    share: Mapping[str, float] = field(default_factory=dict)
    cost_per_hour: float | None = None
    waiting: float | None = None
    spilled: float | None = None
    fallbacks: float | None = None
    ttft_p95: float | None = None
    wallets: Mapping[str, WalletReport] = field(default_factory=dict)
    heard: bool | None = None
    spill_cost: float | None = None
    classifier: ClassifierReport | None = None
    verdicts: Mapping[str, VerdictCounts] = field(default_factory=dict)
    """By the name of a router's pod."""
    work: RouteWork | None = None
