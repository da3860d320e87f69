"""Divides the GPUs of all pools, under their budgets, over the tiers that claim them.

    1  what nothing asks for any more is given back: what does not answer yet, then the dearest first
    2  what stays, starts or terminates is counted; so are the GPUs of others
    3  what a budget does not allow any more is taken back, down to the floors
    4  the rest is filled: floors, then priority x demand (see `standing` for the rank, `fill` for the order)

Whatever is not known holds: no growth in a pool without a capacity or a price that is needed, nothing taken from a tier
that is not measured, and a tier whose decision failed keeps what it has.
"""

from __future__ import annotations

from collections.abc import Iterable

from tierwise.decide.fleet.explain import grant
from tierwise.decide.fleet.fill import Fill
from tierwise.decide.fleet.limits import Limits
from tierwise.decide.fleet.standing import Standing
from tierwise.decide.fleet.values import NO_BUDGET, Allocation, Budget, PoolState, TierClaim
from tierwise.errors import Invalid
from tierwise.types.pool import PoolUse


def allocate(claims: Iterable[TierClaim], pools: Iterable[PoolState], budget: Budget = NO_BUDGET) -> Allocation:
    """What each tier gets. `budget` is over all pools. A pool that is claimed and not given counts as unknown.

    The order of claims and pools does not matter. Applied to what it said before, with nothing else changed, it says
    the same again. Raises Invalid when a tier or a pool is named twice."""
    ordered = sorted(claims, key=lambda claim: claim.tier)
    known = sorted(pools, key=lambda pool: pool.name)
    _once("tier", (str(claim.tier) for claim in ordered))
    _once("pool", (pool.name for pool in known))
    limits = Limits(ordered, known, budget)
    tiers = [Standing(claim, limits) for claim in ordered]
    for tier in tiers:
        tier.give_back()
        tier.hold()
    Fill(tiers, limits).run()
    use = tuple(_use(limits.pools[name], ordered) for name in sorted(limits.pools))
    return Allocation(tuple(grant(tier, limits) for tier in tiers), use)


def _once(kind: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise Invalid(f"{kind} {name} is given twice; give each {kind} once")
        seen.add(name)


def _use(pool: PoolState, claims: Iterable[TierClaim]) -> PoolUse:
    places = [place for claim in claims for place in claim.places if place.pool == pool.name]
    used = sum((place.replicas + place.terminating) * place.gpus for place in places)
    pending = sum(place.pending * place.gpus for place in places)
    return PoolUse(
        name=pool.name,
        used=used,
        pending=pending,
        terminating=sum(place.terminating * place.gpus for place in places),
        free=None if pool.capacity is None else max(0, pool.capacity - pool.others - used),
        usd_per_hour=None if pool.gpu_hour is None else (used - pending) * pool.gpu_hour,
    )
