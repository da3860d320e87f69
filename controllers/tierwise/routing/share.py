"""Defines which share of the requests goes to the reference tier, and who has a say in it.

Everybody steers this one value, and the threshold of the classifier follows it: a share is what a promise on quality
and a limit of capacity can both be said in, while a threshold means nothing outside of one file of weights. Quality
asks for a share, pressure allows one, and the smaller of the two counts: what a tier cannot serve, it cannot be sent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

ALL = 100.0


@dataclass(frozen=True, slots=True)
class ReferenceShare:
    """The share of the reference tier as each asks for it, in percent of the requests that are decided by content.

    `needed` is what the classifier's labels say; `quality` is what was measured while the route runs and takes its
    place (None: nothing was); `pressure` is the most that the reference tier can take now (None: it is not full)."""

    needed: float
    quality: float | None = None
    pressure: float | None = None

    @property
    def wanted(self) -> float:
        """What quality asks for, whether there is room for it or not."""
        return _percent(self.needed if self.quality is None else self.quality)

    @property
    def applied(self) -> float:
        """What goes to the reference tier: min(quality, pressure)."""
        return min(self.wanted, ALL if self.pressure is None else _percent(self.pressure))

    @property
    def withheld(self) -> float:
        """Percentage points that pressure takes away."""
        return self.wanted - self.applied


def _percent(value: float) -> float:
    """Within 0 and 100. What is no number asks for the reference tier: that costs money, and no quality."""
    return ALL if math.isnan(value) else min(ALL, max(0.0, value))
