"""Grants replicas to tiers out of what there is for all of them.

Every tier is granted what its load asks for. What pools and budgets leave of that is decided when the tiers have made
their own decisions (`pools`), because a budget must count what a window or headroom still holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tierwise.decide.recommend import Recommendation
from tierwise.types import TierKey


@dataclass(frozen=True, slots=True)
class Grant:
    """What one tier may have of what its load asks for."""

    recommendation: Recommendation
    replicas: int


def allocate(recommendations: Mapping[TierKey, Recommendation]) -> dict[TierKey, Grant]:
    """What each tier is granted. A tier that failed is not among them: it keeps what it has."""
    return {key: Grant(each, each.replicas) for key, each in sorted(recommendations.items())}
