"""Chooses by the content of requests that have none: a trace knows how hard a request was, or nothing.

In place of a classifier's score stands what the trace says (the probability that the small tier can answer), or a
number drawn from the seed. Everything after the score is the router's own: the share that goes to the reference tier,
what pressure takes from it, and the window of scores that turns a share into a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tierwise.routing.pressure import DELAY_SECONDS, Bounds, Capacity, Load, Rate, next_limit
from tierwise.routing.route import Decider, Route, Use
from tierwise.routing.score_window import ScoreWindow
from tierwise.routing.share import ReferenceShare
from tierwise.routing.tier_choice import CLASSIFIED, ContentChoice
from tierwise_sim.replay.live import Job
from tierwise_sim.replay.router import SimRouter
from tierwise_sim.replay.scenario import Scenario


class SimClassifier:
    """Of one router. `share`: percent of the requests that go to the reference tier."""

    def __init__(self, scenario: Scenario, seed: str) -> None:
        labels = [arrival.label for arrival in scenario.trace.arrivals if arrival.label is not None]
        self._scores = sorted(1.0 - label for label in labels)
        self._window = ScoreWindow(self._trained, max(1, len(self._scores)))
        self._rng = Random(seed)  # noqa: S311
        self._share = scenario.share
        self.pressure: float | None = None
        self._arrivals, self._fixed, self._capacity = Rate(), Rate(), Capacity()
        self._before: tuple[float, int, int, int] | None = None

    @property
    def share(self) -> ReferenceShare | None:
        """Which share goes to the reference tier."""
        return None if self._share is None else ReferenceShare(self._share, None, self.pressure)

    def choose(self, job: Job, route: Route) -> ContentChoice | None:
        """The tier that the content of a request asks for; None where no classifier decides."""
        share = self.share
        if route.content.decider is not Decider.CLASSIFIER or share is None or route.content.shadow:
            return None
        label = job.arrival.label
        score = self._rng.random() if label is None else 1.0 - label
        self._window.add(score)
        large = self._window.reaches(score, share.applied)
        reference = route.reference
        always = [tier for tier in route.tiers if tier.use is Use.ALWAYS and tier is not reference]
        if large or not always:
            return ContentChoice(reference.name, CLASSIFIED)
        return ContentChoice(always[0].name, CLASSIFIED)

    def look(self, router: SimRouter, now: float) -> None:
        """Set what pressure allows, once a second (`tierwise_router.pressing`)."""
        route, share = router.route, self.share
        limits, tier = route.pressure, router.tiers[route.reference.name]
        if limits is None or share is None:
            return
        counted = (now, router.decided, tier.wanted - router.to_reference, tier.completed)
        before, self._before = self._before, counted
        if before is None or now <= before[0]:
            return
        seconds = now - before[0]
        queued = tier.waiting + sum(max(0, one.waiting - one.strangers) for one in tier.replicas.values())
        replicas = len(tier.replicas)
        self._arrivals.add(counted[1] - before[1], seconds)
        self._fixed.add(counted[2] - before[2], seconds)
        left = router.saturated(now).get(tier.spec.name, False) and not tier.resting(now)
        self._capacity.look(counted[3] - before[3], seconds, queued, replicas, left=left)
        load = None
        if tier.spec.capped and (queued > 0 or self.pressure is not None):
            rates = self._arrivals.per_second, self._fixed.per_second
            capacity = self._capacity.per_second(replicas)
            load = Load(rates[0], queued, DELAY_SECONDS, capacity, rates[1], self._arrivals.error)
        most = min(share.wanted, float(limits.most))
        limit = next_limit(self.pressure, most, load, Bounds(limits.least, limits.most), seconds)
        self.pressure = limit if limit is not None else float(limits.most) if limits.most < share.wanted else None

    def _trained(self, share_percent: float) -> float:
        """The score from which on a request belongs to a share: of the trace's labels, or of even numbers."""
        if share_percent <= 0:
            return float("inf")
        if share_percent >= 100:
            return float("-inf")
        if not self._scores:
            return 1.0 - share_percent / 100.0
        return quantile(self._scores, 1.0 - share_percent / 100.0)


def quantile(ordered: Sequence[float], share: float) -> float:
    """By nearest rank, of values in order."""
    return ordered[min(len(ordered) - 1, max(0, round(share * (len(ordered) - 1))))]
