"""Fills pools with the replicas of all tiers: the lowest rank first, one replica at a time.

One at a time, and not shares that are rounded: with the largest remainder a tier can lose a replica because the budget
has grown (the Alabama paradox of apportionment), and a share of 3 GPUs is nothing to a tier whose replicas hold 4. A
tier that does not fit is passed over, and what is left goes to those that do.

A replica gets, in this order: GPUs that are free; GPUs that become free by themselves; GPUs that are taken from tiers
whose last replica still ranks above this one. For the last two it waits: it is granted in a later round, when they are
free, and until then nobody else gets them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush

from tierwise.decide.fleet.limits import Limit, Limits, fits, hold, keep, lacking, release, reserve
from tierwise.decide.fleet.standing import Rank, Standing
from tierwise.decide.fleet.values import LimitedBy
from tierwise.types.plan import Step

_Place = tuple[Standing, int]


class Fill:
    """The tiers that share the limits, sorted; what they hold has been counted."""

    def __init__(self, tiers: Sequence[Standing], limits: Limits) -> None:
        self._tiers, self._limits = tiers, limits
        self._fixed = set(limits.closed) | {name for name in limits.pools if limits.over_committed(name)}
        self._unmet: list[tuple[Rank, int, int, int]] = []
        self._givers: dict[int, list[tuple[int, float, int, int]]] = {}
        self._by_identity = {id(tier): index for index, tier in enumerate(tiers)}
        for index in range(len(tiers)):
            self._offer(index)

    def run(self) -> None:
        """Grant, reserve and reclaim until nobody's lot can be improved."""
        for limit in self._limits.budgets():
            self._return_to(limit)
        for index, tier in enumerate(self._tiers):
            self._ask(index, tier)
        while self._unmet:
            _, _, index, version = heappop(self._unmet)
            tier = self._tiers[index]
            if version == tier.version and tier.unmet and self._serve(tier):
                self._offer(index)
                self._ask(index, tier)

    def _ask(self, index: int, tier: Standing) -> None:
        if tier.unmet:
            heappush(self._unmet, (tier.rank(), -tier.claim.priority * tier.target, index, tier.version))

    def _serve(self, tier: Standing) -> bool:
        """One replica more; whether there is a place for it."""
        tier.refused, tier.refusals = None, []
        open_places = [place for place in tier.cheapest_first if self._open(tier, place)]
        for place in open_places:
            if fits(tier.needs[place], now=True):
                hold(tier.needs[place], 1)
                tier.count(place, 1)
                return True
        for place in open_places:
            if fits(tier.needs[place], now=False) or self._reclaim(tier, place):
                self._note(tier, place)
                reserve(tier.needs[place])
                tier.waiting += 1
                tier.version += 1
                return True
        for place in open_places:
            self._refuse(tier, place)
        return False

    def _open(self, tier: Standing, place: int) -> bool:
        claimed = tier.claim.places[place]
        if claimed.pool in self._limits.closed:
            return False
        return claimed.clamp is None or tier.have[place] < claimed.clamp

    def _refuse(self, tier: Standing, place: int) -> None:
        """Remember why one more replica has no place here."""
        limit = lacking(tier.needs[place])
        if limit is None:
            return
        if tier.refused is not LimitedBy.BUDGET:
            tier.refused = limit.word
        said = f"{limit.said}, {max(limit.later, 0)} are left"
        if said not in tier.refusals:
            tier.refusals.append(said)

    def _note(self, tier: Standing, place: int) -> None:
        """Remember what a replica waits for."""
        tier.refused = next(limit.word for limit, amount in tier.needs[place] if limit.now < amount)

    # --- taking from one for another ---

    def _offer(self, index: int) -> None:
        """Put a tier's last replica among those that can be taken, under each limit that would gain by it."""
        tier = self._tiers[index]
        if tier.claim.failing or tier.claim.doubtful or not tier.total:
            return
        phase, level = tier.rank(lost=1)
        for limit in {id(limit): limit for place in self._places_to_give(tier) for limit, _ in tier.needs[place]}:
            heappush(self._givers.setdefault(limit, []), (-phase, -level, -index, tier.version))

    def _places_to_give(self, tier: Standing) -> list[int]:
        """Where it has replicas that may be taken, in the order in which they end."""
        places = tier.claim.places
        return [place for place in tier.places_to_give() if places[place].pool not in self._fixed]

    def _giver(self, limit: Limit, above: Rank) -> _Place | None:
        """The tier that can give best under a limit, and from which place: the one whose last replica ranks highest,
        and higher than `above`."""
        heap = self._givers.get(id(limit), [])
        while heap:
            phase, level, index, version = heap[0]
            tier = self._tiers[-index]
            if version == tier.version:
                if (-phase, -level) <= above:
                    return None
                held = (
                    place for place in self._places_to_give(tier) if any(limit is of for of, _ in tier.needs[place])
                )
                return tier, next(held)
            heappop(heap)
        return None

    def _take(self, giver: _Place) -> None:
        tier, place = giver
        release(tier.needs[place])
        tier.count(place, -1)
        self._offer(self._index(tier))

    def _put_back(self, giver: _Place) -> None:
        tier, place = giver
        keep(tier.needs[place])
        tier.count(place, 1)
        self._offer(self._index(tier))
        self._ask(self._index(tier), tier)

    def _index(self, tier: Standing) -> int:
        return self._by_identity[id(tier)]

    def _reclaim(self, tier: Standing, place: int) -> bool:
        """Take what one replica of `tier` lacks, no more than it needs, from tiers that then still rank above it;
        whether that is possible. Nothing is taken otherwise."""
        needs, above = tier.needs[place], tier.rank()
        taken: list[_Place] = []
        while (limit := lacking(needs)) is not None:
            giver = self._giver(limit, above)
            if giver is None:
                for each in reversed(taken):
                    self._put_back(each)
                return False
            self._take(giver)
            taken.append(giver)
        for each in taken[::-1]:
            self._put_back(each)
            if fits(needs, now=False):
                taken.remove(each)
            else:
                self._take(each)
        self._drain(taken, LimitedBy.POOL, f"for {tier.claim.tier}")
        return True

    def _return_to(self, limit: Limit) -> None:
        """Take replicas back while more is held than a budget allows, from no tier more than its floor leaves."""
        while limit.later < 0:
            giver = self._giver(limit, (0, float("inf")))
            if giver is None:
                return
            self._take(giver)
            self._drain([giver], LimitedBy.BUDGET, limit.said)

    def _drain(self, taken: Iterable[_Place], word: LimitedBy, why: str) -> None:
        for tier, place in taken:
            tier.reclaimed[place] += 1
            said = f"a replica in pool {tier.claim.places[place].pool} ends: {why}"
            tier.steps.append(Step("reclaim", tier.total, word.value, said))
            self._ask(self._index(tier), tier)
