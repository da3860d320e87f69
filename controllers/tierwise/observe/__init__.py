"""Builds the Snapshot from the cluster's objects and the engines' measurements.

`records` reduces objects to what the informer keeps, `poller` keeps the last answers of Prometheus, and `observe` joins
both into the Snapshot that every decision is made from.
"""

from __future__ import annotations

from tierwise.observe.queries import Query, queries
from tierwise.observe.route_queries import route_queries
from tierwise.observe.signals import Samples
from tierwise.observe.world import Observer, World, observe

__all__ = ["Observer", "Query", "Samples", "World", "observe", "queries", "route_queries"]
