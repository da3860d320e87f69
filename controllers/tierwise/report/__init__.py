"""Turns what happened into statuses, Events, metrics and an explanation.

`report_tier`, `report_route` and `report_pool` are the doors; `change` and `scaled` tell of one change of replicas;
`should_write`, `should_write_route`, `should_write_pool` and `EventDeduplicator` decide what of it reaches the API
server.
"""

from __future__ import annotations

from tierwise.report.build import Report, TierReport, report_tier
from tierwise.report.events import EventDeduplicator, scaled
from tierwise.report.pools import PoolReport, report_pool, should_write_pool
from tierwise.report.route_throttle import should_write_route
from tierwise.report.routes import RouteReport, report_route
from tierwise.report.status import DECISIONS, change
from tierwise.report.throttle import should_write

__all__ = [
    "DECISIONS",
    "EventDeduplicator",
    "PoolReport",
    "Report",
    "RouteReport",
    "TierReport",
    "change",
    "report_pool",
    "report_route",
    "report_tier",
    "scaled",
    "should_write",
    "should_write_pool",
    "should_write_route",
]
