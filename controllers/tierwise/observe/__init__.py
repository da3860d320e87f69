"""Builds the Snapshot from the cluster's objects and the engines' measurements.

`records` turns bodies into what the informer keeps, `sampler` keeps the last answers of Prometheus, and `observe` joins
both into the Snapshot that everything after it is decided from.
"""

from __future__ import annotations

from tierwise.observe.queries import Query, queries
from tierwise.observe.signals import Samples
from tierwise.observe.world import World, observe

__all__ = ["Query", "Samples", "World", "observe", "queries"]
