"""Notices that a cheaper tier's answers have become worse, from the verdicts alone.

It looks at the raw rate of bad verdicts against its own past: what the judge gets wrong, it got wrong before as well,
so that its errors cancel. Two tests look for two things. CUSUM finds a fall of six points soonest: it adds up how much
more likely each verdict is under the fall than without it, and begins anew whenever that is nothing. An e-process for
each day finds smaller falls that last, whatever their size; each is a bet that wins only if the rate is higher, and may
be looked at at any time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from tierwise.routing.quality import NONE, Tally

FALL = 0.06
"""The fall that CUSUM looks for, of the rate of good answers."""
LEARN = 300
"""So many verdicts say what is usual, before which nothing is an alarm."""
MOST = 20_000
"""More verdicts than that are halved, so that the usual follows a slow change of the traffic."""
LEAST_RATE, MOST_RATE = 0.005, 0.5
MONTHS = 24
"""One false alarm in so many months."""
OVERSHOOT = 0.35
"""Of a bad verdict: by so much the sum passes the threshold."""
DOUBT = 0.25
"""By so many standard errors the usual rate of bad verdicts is taken as higher than it was seen."""
_BETS = (0.5, 1.0, 2.0, 4.0, 7.0)
E_ALARM = 600.0
LONGEST_DAYS = 14


@lru_cache(maxsize=256)
def threshold(per_month: float, usual_bad: float, fall: float = FALL) -> float:
    """The sum at which CUSUM gives alarm, for so many verdicts a month.

    Siegmund's approximation of the time to a false alarm, (exp(h) - h - 1) / -drift verdicts, less what the last bad
    verdict overshoots. Compared with a Markov chain it is right within 0.05."""
    good, bad = scores(usual_bad, fall)
    drift = usual_bad * bad + (1 - usual_bad) * good
    wanted = MONTHS * max(50.0, per_month) * -drift
    found = 1.0
    for _ in range(40):
        found = math.log(wanted + found + 1)
    return max(0.5, found - OVERSHOOT * bad)


@dataclass(frozen=True, slots=True)
class Watch:
    """What CUSUM remembers. `usual` are the verdicts before the present run, `run` those since the sum was last zero:
    since something may have changed. `alarm`: the sum has passed the threshold and not come back to zero."""

    usual: Tally = NONE
    run: Tally = NONE
    sum: float = 0.0
    alarm: bool = False

    @property
    def usual_bad(self) -> float:
        """The rate of bad verdicts that is usual."""
        return _usual_bad(self.usual, DOUBT)


def scores(usual_bad: float, fall: float = FALL) -> tuple[float, float]:
    """What a good and a bad verdict add to the sum: the logarithms of the ratios of likelihood."""
    worse = min(0.99, usual_bad + fall)
    return math.log((1 - worse) / (1 - usual_bad)), math.log(worse / usual_bad)


def watch(before: Watch, new: Tally, per_month: float, fall: float = FALL) -> Watch:
    """After further verdicts, of whose order nothing is known: they are taken as evenly mixed. `per_month`: how many
    there are a month. `fall`: of the raw rate; with a judge that errs it is smaller than that of the answers."""
    usual, run, sum_, alarm = before.usual, before.run, before.sum, before.alarm
    for bad in _mixed(new):
        verdict = Tally(0, 1) if bad else Tally(1, 0)
        if usual.count + run.count < LEARN:
            usual += verdict
            continue
        if not bad and not sum_:  # what almost all of them are
            usual = _bounded(usual + verdict)
            continue
        usual_bad = _usual_bad(usual, DOUBT)
        sum_ = max(0.0, sum_ + scores(usual_bad, fall)[bad])
        run += verdict
        if not sum_:
            usual, run, alarm = _bounded(usual + run), Tally(), False
            continue
        highest = threshold(per_month, round(usual_bad, 3), fall)
        alarm = alarm or sum_ >= highest
        # Not higher than twice: what has been bad for months must be able to be well again.
        sum_ = min(sum_, 2 * highest)
    return Watch(usual, run, sum_, alarm)


def _usual_bad(usual: Tally, errors: float) -> float:
    bad = 1 - usual.rate
    spread = math.sqrt(max(LEAST_RATE, bad) / usual.count) if usual.count else 0.0
    return min(MOST_RATE, max(LEAST_RATE, bad + errors * spread))


def _mixed(new: Tally) -> list[bool]:
    """True for a bad one; the bad ones as far apart as can be."""
    count = new.count
    return [(place + 1) * new.bad // count > place * new.bad // count for place in range(count)]


def _bounded(tally: Tally) -> Tally:
    return tally if tally.count <= MOST else Tally(tally.good // 2, tally.bad // 2)


def e_value(days: Sequence[Tally], usual: Tally) -> float:
    """The largest wealth of the bets that began on one of these days (the oldest first, at most two weeks), each of
    them on the rate of bad verdicts being higher than usual: mean over the stakes of prod(1 + stake (bad - usual))."""
    if usual.count < LEARN:
        return 0.0
    bad_rate = _usual_bad(usual, 1.0)
    most = 0.9 / bad_rate  # a stake at which a good verdict does not lose all
    stakes = [min(stake, most) for stake in _BETS]
    wealth = [0.0] * len(stakes)
    best = 0.0
    for day in reversed(days[-LONGEST_DAYS:]):
        for place, stake in enumerate(stakes):
            wealth[place] += day.bad * math.log1p(stake * (1 - bad_rate)) + day.good * math.log1p(-stake * bad_rate)
        best = max(best, sum(map(math.exp, (min(700.0, one) for one in wealth))) / len(stakes))
    return best
