"""Holds one tier while GPUs are shared out: what it has in each pool, and how its next replica ranks.

The rank is the whole idea of fairness. The k-th replica of a tier ranks by what the tier has without it:

    below its floor            (0, k / (priority x floor))
    below what it wants        (1, k / (priority x demand)), with the demand that is usually what it wants
    above that                 (2, ...): kept by a window or by headroom, and by nobody's load

The lowest rank is served first, and gives last. So floors come first, then every tier's demand is met to the same part,
times its priority; and a replica is taken from one tier for another only if it helps the one that has less.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from tierwise.decide.fleet.limits import Limits, Needs, hold, leave
from tierwise.decide.fleet.values import LimitedBy, Place, PoolState, TierClaim
from tierwise.types.plan import Step

Rank = tuple[int, float]


class Standing:
    """What one tier has. `have`: replicas in each place that stay or are granted; `reclaimed`: those taken from it."""

    def __init__(self, claim: TierClaim, limits: Limits) -> None:
        self.claim = claim
        self.target = claim.present if claim.failing else claim.target
        self.floor = min(claim.floor, self.target)
        self.demand = max(self.target, claim.demand or 0)
        self.needs: list[Needs] = [limits.needs(place) for place in claim.places]
        self.cheapest_first = by_cost(claim.places, limits.pools)
        self.have = [_kept_by_clamp(claim, place) for place in claim.places]
        self.total = sum(self.have)
        self.reclaimed = [0] * len(self.have)
        self.waiting = 0
        self.version = 0
        self.refused: LimitedBy | None = None
        self.refusals: list[str] = []
        self.steps: list[Step] = []

    def count(self, place: int, replicas: int) -> None:
        """Add replicas (or take them away, below zero) in one place."""
        self.have[place] += replicas
        self.total += replicas
        self.version += 1

    def rank(self, lost: int = 0) -> Rank:
        """That of the next replica; with `lost` 1, of the last one. What it waits for counts as what it has."""
        has = self.total + self.waiting - lost
        if has < self.floor:
            return 0, has / (self.claim.priority * self.floor)
        if has < self.target:
            return 1, has / (self.claim.priority * self.demand)
        return 2, has / self.claim.priority

    @property
    def unmet(self) -> bool:
        """Whether it is to grow."""
        return self.total + self.waiting < self.target and not self.claim.failing

    def give_back(self) -> None:
        """End what nothing asks for any more."""
        claim = self.claim
        kept = claim.present if claim.doubtful else claim.kept
        if claim.most is not None:
            kept = min(kept, claim.most)
        surplus = self.total - max(self.target, kept)
        while surplus > 0 and (giving := self.places_to_give()):
            place = giving[0]
            ended = min(surplus, self.starting(place) or self.have[place])
            self.count(place, -ended)
            surplus -= ended

    def places_to_give(self) -> list[int]:
        """Where it has replicas, in the order in which they end: the dearest first, but one that does not answer yet
        before any that does. Else a tier whose cheap replicas load their weights would end the dear ones that serve."""
        held = [place for place in reversed(self.cheapest_first) if self.have[place]]
        return sorted(held, key=lambda place: not self.starting(place))

    def starting(self, place: int) -> int:
        """How many of its replicas in one place do not answer yet, when those that end are gone."""
        claimed = self.claim.places[place]
        ended = max(0, claimed.replicas - self.have[place])
        return max(0, min(claimed.starting, claimed.replicas) - ended)

    def hold(self) -> None:
        """Count all that the tier holds under its limits: what stays, and what holds its GPUs until it is gone."""
        for place, needs, have in zip(self.claim.places, self.needs, self.have, strict=True):
            hold(needs, have)
            stood = _kept_by_clamp(self.claim, place)
            leave(needs, stood - have + place.terminating)


def _kept_by_clamp(claim: TierClaim, place: Place) -> int:
    """Replicas that are there to be shared out. Those above the clamp are pods that no node takes: they hold no GPU,
    and end at once."""
    if place.clamp is None or claim.failing:
        return place.replicas
    return min(place.replicas, max(place.clamp, place.replicas - place.pending, 0))


def by_cost(places: tuple[Place, ...], pools: Mapping[str, PoolState]) -> list[int]:
    """The places by what a token costs there as measured, if that is known of all; else by the price of a replica, if
    that is; else as the tier names them. Two measures are never compared with each other."""
    measured = [place.usd_per_mtok for place in places]
    prices = [pools[place.pool].gpu_hour for place in places]
    hourly = [None if price is None else price * place.gpus for place, price in zip(places, prices, strict=True)]
    for costs in (measured, hourly):
        known: list[Decimal] = [cost for cost in costs if cost is not None]
        if len(known) == len(places):
            return sorted(range(len(places)), key=lambda index: (known[index], index))
    return list(range(len(places)))
