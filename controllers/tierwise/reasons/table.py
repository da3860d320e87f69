"""Defines a reason, and collects all of them in one table."""

from __future__ import annotations

from dataclasses import dataclass

ACCEPTED, PROVISIONED, METRICS_AVAILABLE = "Accepted", "Provisioned", "MetricsAvailable"
SCALING_ACTIVE, SCALING_LIMITED, READY = "ScalingActive", "ScalingLimited", "Ready"
CONDITION_TYPES = (ACCEPTED, PROVISIONED, METRICS_AVAILABLE, SCALING_ACTIVE, SCALING_LIMITED, READY)
CLASSIFIER_READY, QUALITY_KEPT = "ClassifierReady", "QualityKept"
ROUTE_CONDITION_TYPES = (CLASSIFIER_READY, QUALITY_KEPT)
"""Those that only a route has."""
CAPACITY_KNOWN, PRICED, WITHIN_BUDGET, POOL_READY = "CapacityKnown", "Priced", "WithinBudget", "Ready"
POOL_CONDITION_TYPES = (CAPACITY_KNOWN, PRICED, WITHIN_BUDGET)
"""Those that only a pool has."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A word, the conditions it appears in (or "Advice", "Event", "Step"), what it means, and what to do."""

    word: str
    where: tuple[str, ...]
    meaning: str
    remedy: str = "Nothing."


_TABLE: dict[str, Reason] = {}


def reason(word: str, where: tuple[str, ...], meaning: str, remedy: str = "Nothing.") -> str:
    """Put one word into the table and return it. Raises ValueError for a word that is there already."""
    if word in _TABLE:
        raise ValueError(f"reason {word} is defined twice")
    _TABLE[word] = Reason(word, where, meaning, remedy)
    return word


def table() -> tuple[Reason, ...]:
    """Every reason, sorted by its word."""
    return tuple(_TABLE[word] for word in sorted(_TABLE))
