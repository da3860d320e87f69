"""Holds what is shared out and what comes of it: pools, claims, and the allocation.

Frozen values that hold no time: the same claims on the same pools are always answered alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tierwise.errors import Invalid
from tierwise.types.plan import Step
from tierwise.types.pool import PoolUse
from tierwise.types.snapshot import TierKey


class LimitedBy(StrEnum):
    """What decides how many replicas a tier has."""

    TARGET = "Target"  # what its load asks for
    BUDGET = "Budget"  # GPUs or money: of the pool, or of the whole fleet
    POOL = "Pool"  # no GPU is free that it can use, or it is not known whether one is
    MAX = "Max"  # scaling.maxReplicas
    WINDOW = "Window"  # a higher recommendation still counts
    METRICS = "Metrics"  # a measurement is missing, or deciding failed: what is there stays


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that may be used: GPUs, and US dollars per hour. None: not limited. `known` False: nobody can say what
    the budget is, so nothing grows under it."""

    gpus: int | None = None
    usd_per_hour: Decimal | None = None
    known: bool = True


NO_BUDGET = Budget()


@dataclass(frozen=True, slots=True)
class PoolState:
    """One kind of GPU. `capacity`: GPUs of its Ready nodes, None when not known; `others`: GPUs held by pods that are
    of no claim; `gpu_hour`: US dollars of one GPU for an hour, None when not known."""

    name: str
    capacity: int | None
    others: int = 0
    gpu_hour: Decimal | None = None
    budget: Budget = NO_BUDGET


@dataclass(frozen=True, slots=True)
class Place:
    """One tier in one pool. Each replica holds `gpus`, from when it is asked for until its pod is gone.

    `replicas`: asked for now; `pending`: those of them that no node runs yet; `starting`: those that do not answer yet,
    the pending ones included; `terminating`: pods beyond them that still hold their GPUs. `usd_per_mtok`: what a
    million tokens cost here, as measured; None: not measured. `clamp`: the most replicas that could be scheduled lately
    (see `clamp`); None: nothing speaks against more."""

    pool: str
    gpus: int = 1
    replicas: int = 0
    pending: int = 0
    terminating: int = 0
    usd_per_mtok: Decimal | None = None
    clamp: int | None = None
    starting: int = 0


@dataclass(frozen=True, slots=True)
class TierClaim:
    """What one tier asks for, in replicas, and what it has. Its places stand in the order in which it names them.

    `wanted`: what its load asks for; `kept`: what it does not give back by itself, because of a window or of headroom
    (less than `wanted`: nothing); `floor` and `most`: scaling.minReplicas and maxReplicas (None: any number).
    `priority` weighs its demand, and `demand` is what that is where it is not `wanted`: an overload within the
    tolerance asks for no replica, and must not make the tier rank as one that has all it could use (or it gives one,
    asks for it again, and gives it again). `doubtful`: its measurements do not permit lowering it. `failing`: it could
    not be decided, or somebody else scales it: it keeps what it has, and gets no more."""

    tier: TierKey
    places: tuple[Place, ...]
    wanted: int
    floor: int = 0
    most: int | None = None
    kept: int = 0
    priority: int = 1
    demand: int | None = None
    doubtful: bool = False
    failing: bool = False

    def __post_init__(self) -> None:
        """Raises Invalid for what no tier can ask for: it would be shared out without end, or to nobody."""
        names = [place.pool for place in self.places]
        if len(set(names)) < len(names):
            raise Invalid(f"{self.tier} names a pool twice: {', '.join(sorted(names))}")
        if self.priority < 1:
            raise Invalid(f"{self.tier} has priority {self.priority}; give it 1 or more")
        for place in self.places:
            if place.gpus < 1 or min(place.replicas - place.pending, place.pending, place.terminating) < 0:
                raise Invalid(f"{self.tier} in pool {place.pool}: replicas of {place.gpus} GPUs cannot be counted")

    @property
    def present(self) -> int:
        """Replicas that are asked for now, over all pools."""
        return sum(place.replicas for place in self.places)

    @property
    def target(self) -> int:
        """What the tier is to have if there is enough: what it wants, between its floor and its most."""
        wanted = self.wanted if self.most is None else min(self.wanted, self.most)
        return max(self.floor, wanted)


@dataclass(frozen=True, slots=True)
class Granted:
    """Replicas of one tier in one pool: asked for until now, and from now on. `reclaimed`: how many of those that end
    are taken for a tier that has less."""

    pool: str
    current: int
    replicas: int
    reclaimed: int = 0


@dataclass(frozen=True, slots=True)
class TierGrant:
    """What one tier gets. `waiting`: replicas for which GPUs are being drained; they are granted when these are free.

    `met`: the part (0..1) of what its load asks for that it has, or will have when nothing drains any more: what is
    missing to 1 is the pressure that the router turns into fewer requests."""

    tier: TierKey
    places: tuple[Granted, ...]
    limited_by: LimitedBy
    message: str
    waiting: int = 0
    met: float = 1.0
    steps: tuple[Step, ...] = ()

    @property
    def replicas(self) -> int:
        """Over all pools."""
        return sum(place.replicas for place in self.places)

    @property
    def capped(self) -> bool:
        """Whether the tier has less than its load asks for, and gets no more by itself."""
        return self.limited_by in (LimitedBy.BUDGET, LimitedBy.POOL, LimitedBy.MAX)


@dataclass(frozen=True, slots=True)
class Allocation:
    """What all tiers get, sorted by tier, and how full the pools were, sorted by name."""

    tiers: tuple[TierGrant, ...]
    pools: tuple[PoolUse, ...]

    def replicas(self, tier: TierKey, pool: str) -> int:
        """Replicas of one tier in one pool. Raises KeyError where there was no claim."""
        for grant in self.tiers:
            for place in grant.places:
                if (grant.tier, place.pool) == (tier, pool):
                    return place.replicas
        raise KeyError((tier, pool))
