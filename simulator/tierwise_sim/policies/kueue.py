"""Kueue below the autoscalers: a floor per tier, borrowing in a cohort, and preemption of borrowers.

After llm-d's guides/workload-autoscaling/kueue-rebalancing (Kueue 0.19): nominalQuota is the floor, reclaimWithinCohort
Any, borrowWithinCohort Never. Pods wait gated until they are admitted; a preempted pod is deleted while it serves.
"""

from __future__ import annotations

from collections.abc import Sequence

from tierwise_sim.policies.budget import Ask, Grants


class KueueFloors:
    """One cohort of one ClusterQueue per tier, over one resource flavor.

    Each round takes the next pod of every tier, those within their floor first, then by priority, then in the order
    of asking, as Kueue's scheduler takes the head of each queue. It remembers the order of admission: of the tiers
    with the lowest priority the newest borrower goes first.
    """

    def __init__(self) -> None:
        self._admitted: list[str] = []  # tiers, one entry per replica, the oldest first

    def __call__(self, asks: Sequence[Ask], budget: int) -> Grants:
        """What each tier may have, and what is preempted."""
        by_tier = {ask.tier: ask for ask in asks}
        self._follow(asks)
        held = {ask.tier: ask.current for ask in asks}  # with what drains: those GPUs are not free yet
        for ask in asks:
            self._remove(ask.tier, max(0, held[ask.tier] - ask.wish))
        preempted = dict.fromkeys(by_tier, 0)
        waiting = [ask for ask in asks if ask.wish > ask.current]
        while waiting:
            round_, waiting = sorted(waiting, key=lambda ask: self._turn(ask, asks)), []
            for ask in round_:
                if self._admit(ask, held, by_tier, budget, preempted):
                    self._admitted.append(ask.tier)
                    if self._admitted.count(ask.tier) < ask.wish:
                        waiting.append(ask)
        granted = {tier: self._admitted.count(tier) for tier in by_tier}
        return Grants(granted, {tier: count for tier, count in sorted(preempted.items()) if count})

    def _turn(self, ask: Ask, asks: Sequence[Ask]) -> tuple[bool, float, int]:
        borrows = (self._admitted.count(ask.tier) + 1) * ask.gpus > ask.floor
        return borrows, -ask.priority, list(asks).index(ask)

    def _admit(
        self, ask: Ask, held: dict[str, int], by_tier: dict[str, Ask], budget: int, preempted: dict[str, int]
    ) -> bool:
        """Give one more replica its GPUs, if they are free or can be taken back from borrowers."""
        free = budget - sum(count * by_tier[tier].gpus for tier, count in held.items())
        if free < ask.gpus:
            within = (self._admitted.count(ask.tier) + 1) * ask.gpus <= ask.floor
            victims = self._victims(ask, by_tier, ask.gpus - free) if within else []
            if not victims:
                return False
            for tier in victims:
                self._remove(tier, 1)
                if held[tier] <= by_tier[tier].current:  # what was admitted in this round has not begun
                    preempted[tier] += 1
                held[tier] -= 1
        held[ask.tier] += 1
        return True

    def _victims(self, ask: Ask, by_tier: dict[str, Ask], missing: int) -> list[str]:
        """The borrowed replicas to delete, the first to go first; none if they would not be enough."""
        counts = {tier: self._admitted.count(tier) for tier in by_tier}
        newest = list(reversed(self._admitted))
        chosen: list[str] = []
        for priority in sorted({other.priority for other in by_tier.values()}):
            for tier in newest:
                other = by_tier.get(tier)
                if missing <= 0:
                    return chosen
                if other is None or tier == ask.tier or other.priority != priority:
                    continue
                if counts[tier] * other.gpus > other.floor:
                    chosen.append(tier)
                    counts[tier] -= 1
                    missing -= other.gpus
        return chosen if missing <= 0 else []

    def _follow(self, asks: Sequence[Ask]) -> None:
        """Take over what happened meanwhile: replicas that are there count as admitted, others are forgotten."""
        names = {ask.tier for ask in asks}
        self._admitted = [tier for tier in self._admitted if tier in names]
        for ask in asks:
            known = self._admitted.count(ask.tier)
            self._admitted += [ask.tier] * max(0, ask.current - known)
            self._remove(ask.tier, max(0, known - ask.current))

    def _remove(self, tier: str, count: int) -> None:
        for _ in range(count):
            newest = len(self._admitted) - 1 - self._admitted[::-1].index(tier)
            del self._admitted[newest]
