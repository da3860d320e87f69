"""Holds the limits that replicas are placed under, and counts what is left of each.

There are three for a replica: the GPUs of its pool, the pool's budget, and the budget of the fleet. Each is counted
twice. `later` is what is left when everything that terminates is gone: what is planned with. `now` is what is left at
this moment: what may be given away. Planning alone would give one GPU to two pods for as long as the first one drains.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from tierwise.decide.fleet.values import Budget, LimitedBy, Place, PoolState, TierClaim

Amount = int | Decimal


@dataclass(slots=True)
class Limit:
    """One limit. `said` names it for a person; `later` and `now` are what is left of it, below zero where more is held
    than it allows."""

    word: LimitedBy
    said: str
    later: Amount
    now: Amount


class Need(NamedTuple):
    """What one replica takes of a limit: GPUs, or US dollars per hour."""

    limit: Limit
    amount: Amount


Needs = tuple[Need, ...]


class Limits:
    """The limits of all pools and of the fleet, with nothing taken from them yet.

    `closed`: pools about which too little is known, each with what is missing. Nothing may grow or be reclaimed there:
    a replica that ends could not be started again."""

    def __init__(self, claims: Iterable[TierClaim], pools: Iterable[PoolState], budget: Budget) -> None:
        places = [place for claim in claims for place in claim.places]
        self.pools = {pool.name: pool for pool in pools}
        for place in places:
            self.pools.setdefault(place.pool, PoolState(place.pool, None))
        self._of_pool = {name: _of_pool(pool) for name, pool in self.pools.items()}
        self._fleet_gpus = _limit("the fleet's budget is {} GPUs", budget.gpus)
        self._fleet_usd = _limit("the fleet's budget is {} US dollars per hour", budget.usd_per_hour)
        standing = {place.pool for place in places if place.replicas or place.terminating}
        self.closed: Mapping[str, str] = self._closed(budget, standing)
        self._needs: dict[tuple[str, int], Needs] = {}

    def needs(self, place: Place) -> Needs:
        """What a replica in this place takes of each limit, those of its pool first."""
        key = (place.pool, place.gpus)
        if key not in self._needs:
            found = [Need(limit, place.gpus) for limit in self._of_pool[place.pool]]
            if self._fleet_gpus is not None:
                found.append(Need(self._fleet_gpus, place.gpus))
            price = self.pools[place.pool].gpu_hour
            if self._fleet_usd is not None and price is not None:
                found.append(Need(self._fleet_usd, place.gpus * price))
            self._needs[key] = tuple(found)
        return self._needs[key]

    def budgets(self) -> tuple[Limit, ...]:
        """The limits that somebody has set, those of pools first, by name."""
        of_pools = (limit for name in sorted(self._of_pool) for limit in self._of_pool[name])
        found = [limit for limit in of_pools if limit.word is LimitedBy.BUDGET]
        return (*found, *(limit for limit in (self._fleet_gpus, self._fleet_usd) if limit is not None))

    def over_committed(self, pool: str) -> bool:
        """Whether more GPUs of a pool are held than it has. A node is lost then, and what ran there is still counted:
        nothing is known about who really has how much."""
        return any(limit.word is LimitedBy.POOL and limit.later < 0 for limit in self._of_pool[pool])

    def _closed(self, budget: Budget, standing: set[str]) -> dict[str, str]:
        unpriced = sorted(name for name, pool in self.pools.items() if pool.gpu_hour is None)
        missing = ""
        if not budget.known:
            missing = "the fleet's budget is not known"
        elif budget.usd_per_hour is not None and (spent := [name for name in unpriced if name in standing]):
            missing = f"the fleet has a budget in US dollars, and pool {spent[0]} has no price"
        found = {name: missing or _unknown(pool) for name, pool in self.pools.items()}
        if budget.usd_per_hour is not None:
            said = "the fleet has a budget in US dollars, and this pool has no price"
            found |= {name: found[name] or said for name in unpriced}
        return {name: said for name, said in found.items() if said}


def _unknown(pool: PoolState) -> str:
    if pool.capacity is None:
        return "its capacity is not known"
    if not pool.budget.known:
        return "its budget is not known"
    if pool.budget.usd_per_hour is not None and pool.gpu_hour is None:
        return "it has a budget in US dollars and no price"
    return ""


def _limit(said: str, amount: Amount | None) -> Limit | None:
    return None if amount is None else Limit(LimitedBy.BUDGET, said.format(amount), amount, amount)


def _of_pool(pool: PoolState) -> tuple[Limit, ...]:
    """Budgets of a pool are counted in GPUs: dollars by its own price are a number of GPUs."""
    left = (pool.capacity or 0) - pool.others
    found: list[Limit | None] = [Limit(LimitedBy.POOL, f"pool {pool.name} has {pool.capacity} GPUs", left, left)]
    found.append(_limit(f"the budget of pool {pool.name} is {{}} GPUs", pool.budget.gpus))
    usd, price = pool.budget.usd_per_hour, pool.gpu_hour
    if usd is not None and price:
        limit = _limit(f"the budget of pool {pool.name} is {usd} US dollars per hour: {{}} GPUs", int(usd // price))
        found.append(limit)
    return tuple(limit for limit in found if limit is not None)


def fits(needs: Needs, *, now: bool) -> bool:
    """Whether a replica fits: at this moment, or when everything that terminates is gone."""
    return all((limit.now if now else limit.later) >= amount for limit, amount in needs)


def lacking(needs: Needs) -> Limit | None:
    """The first limit that a replica does not fit under, even later."""
    return next((limit for limit, amount in needs if limit.later < amount), None)


def hold(needs: Needs, replicas: int) -> None:
    """Count replicas that stay."""
    for limit, amount in needs:
        limit.later -= replicas * amount
        limit.now -= replicas * amount


def leave(needs: Needs, replicas: int) -> None:
    """Count replicas that hold their GPUs now and not later."""
    for limit, amount in needs:
        limit.now -= replicas * amount


def release(needs: Needs) -> None:
    """A replica that was counted as staying is to end."""
    for limit, amount in needs:
        limit.later += amount


def keep(needs: Needs) -> None:
    """The opposite of `release`."""
    for limit, amount in needs:
        limit.later -= amount


def reserve(needs: Needs) -> None:
    """Set a replica's GPUs aside before all of them are free: what is free now is given to nobody else."""
    for limit, amount in needs:
        limit.later -= amount
        if limit.now > 0:
            limit.now = limit.now - amount if limit.now > amount else 0
