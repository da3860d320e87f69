"""Checks that a replica's time is paid once, however many routers send it requests."""

from __future__ import annotations

import random

import pytest

from tierwise.routing.replica import Replica


class Engine:
    """One replica, as each of several routers sees it."""

    def __init__(self, routers: int) -> None:
        self.seen = [Replica("a", "http://a") for _ in range(routers)]
        self.open: list[tuple[int, float, float]] = []  # router, when it ends, the mark
        self.paid = self.busy = 0.0
        self.now = 0.0

    def to(self, now: float) -> None:
        """Let time pass; what ends until then is paid."""
        while self.open and min(self.open, key=lambda one: one[1])[1] <= now:
            first = min(self.open, key=lambda one: one[1])
            self.busy += first[1] - self.now
            self.now = first[1]
            self.open.remove(first)
            self.paid += self.seen[first[0]].end(first[1], first[2])
        self.busy += now - self.now if self.open else 0.0
        self.now = now

    def send(self, router: int, seconds: float) -> None:
        self.open.append((router, self.now + seconds, self.seen[router].begin(self.now)))

    def scraped(self) -> None:
        for replica in self.seen:
            replica.shared_with(self.now, len(self.open) - replica.in_flight)


def test_two_routers_pay_half_each_of_what_they_use_together() -> None:
    engine = Engine(2)
    engine.send(0, 4.0)
    engine.send(1, 4.0)
    engine.scraped()
    engine.to(10.0)
    assert engine.busy == 4.0
    assert engine.paid == pytest.approx(4.0)


@pytest.mark.parametrize("routers", [1, 2, 4])
def test_what_is_scraped_at_every_change_is_paid_to_the_second(routers: int) -> None:
    chance, engine = random.Random(routers), Engine(routers)
    for left in range(2000, -1, -1):
        ends = [one[1] for one in engine.open]
        engine.to(min([engine.now + chance.expovariate(2.0), *ends]) if left else max([engine.now, *ends]))
        if left > 100 and chance.random() < 0.5:
            engine.send(chance.randrange(routers), chance.expovariate(0.5))
        engine.scraped()
    assert engine.busy > 100
    assert engine.paid == pytest.approx(engine.busy, rel=1e-9)


@pytest.mark.parametrize("per_second", [0.3, 2.0, 20.0])
def test_what_is_scraped_each_second_is_paid_within_a_tenth(per_second: float) -> None:
    chance, engine = random.Random(3), Engine(4)
    arrival, scrape = 0.0, 0.0
    while engine.now < 3000:
        engine.to(min(arrival, scrape))
        if arrival <= scrape:
            engine.send(chance.randrange(4), chance.lognormvariate(0.7, 0.8))
            arrival += chance.expovariate(per_second)
        else:
            engine.scraped()
            scrape += 1.0
    engine.to(1e6)
    assert engine.paid == pytest.approx(engine.busy, rel=0.1)
