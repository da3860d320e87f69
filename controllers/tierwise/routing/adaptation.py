"""Decides whether the share of the reference tier is to be changed, from what was measured of the route's quality.

Following the measured value would move the share every other day, since it is mostly chance. So a share is raised only
where even the upper bound is below what is promised, over the last 2, 4, 7 or 14 days: a large loss shows in the first,
a small one in the last. It is lowered by one step, after ten days (two weeks where it was raised before), where the
lower bound at that smaller share is still above the promise. For that the requests of that step are asked of a cheaper
tier in the background as well: without them nobody knows how it would answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tierwise.routing.quality import NONE, PERFECT, Audit, Interval, Tally, of_route, one_step_looser, parity

STEP = 5
"""Percentage points."""
WINDOWS = (2, 4, 7, 14)
LOOSEN_DAYS = 10
LOOSEN_DAYS_AFTER_TIGHTENING = 14


@dataclass(frozen=True, slots=True)
class Day:
    """The verdicts of one day: on answers of cheaper tiers, and on what they would say to the requests that a share
    which is one step smaller would send them. `sampled` requests were chosen, `reference` of them had been answered by
    the reference tier."""

    cheap: Tally = NONE
    margin: Tally = NONE
    sampled: int = 0
    reference: int = 0

    def __add__(self, other: Day) -> Day:
        return Day(
            self.cheap + other.cheap,
            self.margin + other.margin,
            self.sampled + other.sampled,
            self.reference + other.reference,
        )

    @property
    def share(self) -> float:
        """The part that the reference tier answered, 0 to 1."""
        return self.reference / self.sampled if self.sampled else 0.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a decision is made from. `days`: the oldest first, none from before the last change. `whole`: so many days
    have passed since that. `again`: verdicts on second answers of the reference tier. `run`: verdicts since an alarm's
    change, None without an alarm. `tightened`: the last change raised the share."""

    days: Sequence[Day]
    whole: int
    again: Tally = NONE
    audit: Audit = PERFECT
    run: Tally | None = None
    tightened: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """By so many percentage points the share changes, and the quality that says so."""

    points: int
    quality: Interval
    days: int


def quality(evidence: Evidence, days: int) -> Interval:
    """The quality of the route over the last so many days."""
    total = _sum(evidence.days[-days:])
    return of_route(parity(total.cheap, evidence.again, evidence.audit), total.share)


def next_move(evidence: Evidence, target: float, share: float) -> Move | None:
    """The change, or None. `target` is the promised quality (0 to 1), `share` what the reference tier is to get now, in
    percent."""
    return _tighter(evidence, target, share) or _looser(evidence, target, share)


def _tighter(evidence: Evidence, target: float, share: float) -> Move | None:
    for days in WINDOWS:
        total = _sum(evidence.days[-days:])
        found = _too_low(total.cheap, total.share, days, evidence, (target, share))
        if found is not None or days >= len(evidence.days):
            break
    if found is None and evidence.run is not None:
        # What came before an alarm's change says nothing of how it is now.
        found = _too_low(evidence.run, _sum(evidence.days[-2:]).share, 0, evidence, (target, share))
    return found


def _too_low(cheap: Tally, seen: float, days: int, evidence: Evidence, wanted: tuple[float, float]) -> Move | None:
    target, share = wanted
    if not cheap.count or share >= 100:
        return None
    answers = parity(cheap, evidence.again, evidence.audit)
    found = of_route(answers, seen)
    if found.upper >= target:
        return None
    # What the upper bound asks for is surely needed, were all cheaper answers as good as now. What the value asks for
    # is mostly too much: a bad week looks worse than it is, and the worst answers are those that go.
    likely = min((answers.value + 3 * answers.upper) / 4, 1 - 1e-9)
    enough = 100 * (target - likely) / (1 - likely)
    points = STEP * max(1, math.ceil((enough - share) / STEP))
    return Move(min(points, 100 - int(share)), found, days)


def _looser(evidence: Evidence, target: float, share: float) -> Move | None:
    wait = LOOSEN_DAYS_AFTER_TIGHTENING if evidence.tightened else LOOSEN_DAYS
    if evidence.whole < wait or evidence.run is not None or share < STEP:
        return None
    total = _sum(evidence.days)
    if not total.cheap.count or not total.margin.count:
        return None
    cheap, margin = (parity(each, evidence.again, evidence.audit) for each in (total.cheap, total.margin))
    found = one_step_looser(cheap, margin, total.share, STEP / 100)
    return Move(-STEP, found, len(evidence.days)) if found.lower >= target else None


def _sum(days: Sequence[Day]) -> Day:
    total = Day()
    for day in days:
        total = total + day
    return total
