"""Holds Prometheus' last answers about routes.

They are kept apart from those about tiers: a route's are of its routers, which no decision on replicas is made from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tierwise.types import ClassifierReport, RouteWork, VerdictCounts, WalletReport


class RouterKey(NamedTuple):
    """One router, by the labels that the scrape configuration sets."""

    namespace: str
    route: str
    pod: str


@dataclass(frozen=True, slots=True)
class RouteReadings:
    """The last answers: what each router says of its money, the traffic of each route by kind of series (and tier),
    what its routers say of its classifier, what each has counted of verdicts and has answered, and when the latter four
    were asked, in seconds since the epoch on this machine's clock."""

    wallets: Mapping[RouterKey, WalletReport] = field(default_factory=dict)
    traffic: Mapping[tuple[str, str], Mapping[tuple[str, str], float]] = field(default_factory=dict)
    traffic_at: float = -math.inf
    content: Mapping[tuple[str, str], ClassifierReport] = field(default_factory=dict)
    content_at: float = -math.inf
    verdicts: Mapping[RouterKey, VerdictCounts] = field(default_factory=dict)
    verdicts_at: float = -math.inf
    work: Mapping[tuple[str, str], RouteWork] = field(default_factory=dict)
    work_at: float = -math.inf

    def moved(self, seconds: float) -> RouteReadings:
        """In the time of a clock that is ahead by so many seconds."""
        wallets = {
            key: WalletReport(one.at + seconds, one.period, one.spent, one.reserved, one.largest)
            for key, one in self.wallets.items()
        }
        return replace(
            self,
            wallets=wallets,
            traffic_at=self.traffic_at + seconds,
            content_at=self.content_at + seconds,
            verdicts_at=self.verdicts_at + seconds,
            work_at=self.work_at + seconds,
        )
