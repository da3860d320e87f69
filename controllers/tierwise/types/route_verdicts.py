"""Holds what the routers of a route have counted of comparisons with the reference tier."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields


@dataclass(frozen=True, slots=True)
class VerdictCounts:
    """Counters of one router, or what they have grown by. `cheaper`: answers of cheaper tiers; `margin`: what they say
    to requests that a share which is one step smaller would send them; `again`: second answers of the reference tier.
    `sampled`: requests that were chosen, by who had answered them. The order is that of the status: never change it."""

    sampled_cheaper: int = 0
    sampled_reference: int = 0
    cheaper_good: int = 0
    cheaper_bad: int = 0
    margin_good: int = 0
    margin_bad: int = 0
    again_good: int = 0
    again_bad: int = 0

    def since(self, before: VerdictCounts) -> VerdictCounts:
        """What has come since `before`. A counter that fell has begun anew, and all with it."""
        mine, old = astuple(self), astuple(before)
        if any(new < known for new, known in zip(mine, old, strict=True)):
            return self
        return VerdictCounts(*(new - known for new, known in zip(mine, old, strict=True)))

    def __add__(self, other: VerdictCounts) -> VerdictCounts:
        return VerdictCounts(*(mine + more for mine, more in zip(astuple(self), astuple(other), strict=True)))


COUNTS = tuple(each.name for each in fields(VerdictCounts))
