"""Checks the law of pressure: as a value, as properties, and against a full tier in virtual time."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.pressure import (
    QUEUE_GOAL,
    SLOWLY_PER_SECOND,
    Bounds,
    Capacity,
    Load,
    Rate,
    allowed,
    next_limit,
)

PERCENT = st.floats(0, 100)
LOADS = st.builds(
    Load,
    arrivals=st.floats(0, 1e5),
    queued=st.floats(0, 1e6),
    delay=st.floats(0, 120),
    capacity=st.none() | st.floats(0, 1e5),
    fixed=st.floats(0, 1e4),
)
BOUNDS = st.tuples(PERCENT, PERCENT).map(lambda pair: Bounds(min(pair), max(pair)))


def test_the_share_is_what_the_tier_completes_less_what_drains_the_queue() -> None:
    # quality.md 7: min(wanted, 0.95 C / arrivals - K (queue - 5)), K = 0.3 / (arrivals * delay)
    assert allowed(Load(arrivals=100, queued=0, delay=10, capacity=20), 40) == pytest.approx(19.0)
    assert allowed(Load(arrivals=100, queued=105, delay=10, capacity=20), 40) == pytest.approx(19.0 - 3.0)
    assert allowed(Load(arrivals=100, queued=105, delay=30, capacity=20), 40) == pytest.approx(19.0 - 1.0)


def test_requests_that_no_share_moves_leave_less_of_the_capacity() -> None:
    assert allowed(Load(arrivals=100, queued=0, delay=10, capacity=20, fixed=10), 40) == pytest.approx(9.5)


def test_without_a_capacity_the_queue_alone_moves_the_share() -> None:
    assert allowed(Load(arrivals=100, queued=QUEUE_GOAL, delay=10), 40) == 40
    assert allowed(Load(arrivals=100, queued=105, delay=10), 40) == pytest.approx(37)


def test_nobody_asking_is_no_pressure() -> None:
    assert allowed(Load(arrivals=0, queued=100, delay=10, capacity=1), 40) == math.inf


def test_a_limit_comes_at_once_and_goes_slowly() -> None:
    full = Load(arrivals=100, queued=0, delay=10, capacity=20)
    assert next_limit(None, 40, full, Bounds(), 1) == pytest.approx(19)
    assert next_limit(19, 40, None, Bounds(), 1) == pytest.approx(19 + SLOWLY_PER_SECOND)
    assert next_limit(39.9, 40, None, Bounds(), 1) is None


def test_the_least_share_is_kept_however_full_the_tier_is() -> None:
    assert next_limit(None, 40, Load(arrivals=100, queued=1e6, delay=10, capacity=1), Bounds(15, 60), 1) == 15


@given(before=st.none() | PERCENT, wanted=PERCENT, load=st.none() | LOADS, bounds=BOUNDS, seconds=st.floats(0, 60))
def test_a_limit_stays_within_its_bounds_and_never_rises_fast(
    before: float | None, wanted: float, load: Load | None, bounds: Bounds, seconds: float
) -> None:
    after = next_limit(before, wanted, load, bounds, seconds)
    was = wanted if before is None else min(before, wanted)
    if after is None:
        # Nothing limits only where nothing did, or what is wanted is within reach.
        assert before is None or before + SLOWLY_PER_SECOND * seconds >= wanted
        return
    assert after < wanted
    assert after >= min(bounds.least, was)
    assert after <= was + SLOWLY_PER_SECOND * seconds + 1e-9


@given(wanted=PERCENT, load=LOADS, more=st.floats(0, 1e6), bounds=BOUNDS)
def test_a_longer_queue_never_raises_the_limit(wanted: float, load: Load, more: float, bounds: Bounds) -> None:
    longer = Load(load.arrivals, load.queued + more, load.delay, load.capacity, load.fixed)
    short, long = (next_limit(None, wanted, one, bounds, 1.0) for one in (load, longer))
    assert (wanted if long is None else long) <= (wanted if short is None else short) + 1e-9


def test_a_rate_is_counted_over_as_long_as_it_has_been_the_same() -> None:
    busy, calm = Rate(), Rate()
    for second in range(60):
        busy.add(100 if second < 50 else 200, 1)
        calm.add(1 if second % 2 else 0, 1)
    assert busy.per_second == 200
    assert calm.per_second == pytest.approx(0.5)
    assert Rate().per_second == 0


def test_capacity_is_learned_only_while_somebody_waits() -> None:
    capacity = Capacity()
    for _ in range(60):
        capacity.look(completed=3, seconds=1, queued=0, replicas=2)
    assert capacity.per_second(2) is None
    for _ in range(20):
        capacity.look(completed=10, seconds=1, queued=50, replicas=2)
    assert capacity.per_second(2) == pytest.approx(10)
    assert capacity.per_second(3) == pytest.approx(15), "another replica brings as much as the others"


@dataclass
class Run:
    """A tier that completes at most `capacity` requests a second, in steps of a second; Poisson arrivals."""

    delay: int
    capacity: float = 22.0
    wanted: float = 40.0
    known: bool = False
    seed: int = 0

    def shares(self, arrivals: list[float]) -> tuple[list[float], list[float]]:
        """The share and the queue of each second."""
        chance = random.Random(self.seed)
        rate, learned = Rate(), Capacity()
        if self.known:
            for _ in range(10):
                learned.look(self.capacity, 1, 50, 1)
        late: deque[float] = deque([0.0] * self.delay, maxlen=self.delay)
        limit: float | None = None
        queue, shares, queues = 0.0, [], []
        for mean in arrivals:
            share = self.wanted if limit is None else min(self.wanted, limit)
            came = poisson(chance, mean)
            to_reference = sum(chance.random() < share / 100 for _ in range(came))
            done = min(queue + to_reference, poisson(chance, self.capacity))
            queue = queue + to_reference - done
            rate.add(came, 1)
            # The router counts what it completes itself; how many wait in the engines it hears late.
            learned.look(done, 1, queue, 1)
            load = Load(rate.per_second, late[0], float(self.delay), learned.per_second(1))
            late.append(queue)
            limit = next_limit(limit, self.wanted, load, Bounds(5, 60), 1)
            shares.append(share)
            queues.append(queue)
        return shares, queues


def poisson(chance: random.Random, mean: float) -> int:
    return max(0, round(chance.gauss(mean, math.sqrt(mean)))) if mean > 30 else _small_poisson(chance, mean)


def _small_poisson(chance: random.Random, mean: float) -> int:
    product, count = chance.random(), 0
    while product > math.exp(-mean):
        product *= chance.random()
        count += 1
    return count


CALM, DOUBLED, AFTER = 120, 400, 400
SETTLED_WITHIN, SWING = 35, 7.0


def settled_after(shares: list[float]) -> int:
    """The second from which on the share stays in a band of seven points around its mean of the last minutes."""
    final = sum(shares[200:]) / len(shares[200:])
    out = [second for second, share in enumerate(shares) if abs(share - final) > SWING / 2]
    return out[-1] + 1 if out else 0


@pytest.mark.parametrize("known", [False, True], ids=["first time", "capacity known"])
@pytest.mark.parametrize("delay", [10, 20, 30])
def test_a_doubled_load_at_the_cap_settles_and_comes_back(delay: int, known: bool) -> None:
    for seed in range(5):
        run = Run(delay=delay, known=known, seed=seed)
        shares, queues = run.shares([45.0] * CALM + [90.0] * DOUBLED + [45.0] * AFTER)
        assert min(shares[30:CALM]) > 35, "hardly any pressure before"
        doubled = shares[CALM : CALM + DOUBLED]
        after = settled_after(doubled)
        assert after <= SETTLED_WITHIN, f"seed {seed}: settled after {after} s"
        assert max(doubled[after:]) - min(doubled[after:]) <= SWING
        assert max(queues[CALM + 300 : CALM + DOUBLED]) < 100, "the queue that grew is drained"
        back = shares[CALM + DOUBLED :]
        assert max(b - a for a, b in pairwise(back)) <= SLOWLY_PER_SECOND + 1e-9
        assert min(back[-60:]) > 35, "it comes back"
