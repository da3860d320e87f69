"""Several routers on the places of one replica: each busy one has its part, whoever came first and whoever is idle.

A small simulation of the real rule. Every router hears once a second how many requests of others the replica has, and
a busy one always has somebody who waits.
"""

from __future__ import annotations

from random import Random

import pytest

from tests.unit.routing.make import replica
from tierwise.routing.replica import Replica, open_replicas
from tierwise.routing.route import RouteTier

STEP_SECONDS, ANSWER_SECONDS = 0.1, 10.0
LATER_SECONDS, SECONDS = 60.0, 400.0


def held(places: int, busy: list[int], idle: int = 0) -> list[float]:
    """How many places each busy router has on average, of so many routes with so many busy routers each, and one more
    route whose routers are idle. They begin one after the other; the last part of the time counts."""
    of_all = sum(busy) + idle
    tiers = [
        RouteTier("small", "m", concurrency=places, routers=routers, routers_of_all=of_all)
        for routers in busy
        for _ in range(routers)
    ]
    seen: list[Replica] = [replica(str(place)) for place in range(len(tiers))]
    chance, sums, counted = Random(7), [0] * len(tiers), 0
    for step in range(round(SECONDS / STEP_SECONDS)):
        now = step * STEP_SECONDS
        for place, (tier, one) in enumerate(zip(tiers, seen, strict=True)):
            if step % round(1 / STEP_SECONDS) == 0:
                one.others = sum(other.in_flight for other in seen if other is not one)
            one.in_flight -= sum(chance.random() < STEP_SECONDS / ANSWER_SECONDS for _ in range(one.in_flight))
            while now >= LATER_SECONDS * place and open_replicas([one], tier, now):
                one.in_flight += 1
        if now > SECONDS - LATER_SECONDS:
            counted += 1
            sums = [total + one.in_flight for total, one in zip(sums, seen, strict=True)]
    return [total / counted for total in sums]


@pytest.mark.parametrize("places", [16, 64, 256])
@pytest.mark.parametrize("idle", [0, 2, 8, 18])
def test_two_busy_routers_have_as_much_whoever_is_idle(places: int, idle: int) -> None:
    first, second = held(places, [2], idle)
    assert second >= 0.85 * first
    assert 0.8 * places <= first + second <= 1.1 * places


@pytest.mark.parametrize("places", [16, 64, 256])
def test_busy_routers_of_two_routes_share_the_places_of_one(places: int) -> None:
    found = held(places, [2, 2])
    assert sum(found) <= 1.25 * places, "with all places for each route it would be twice as many"
    assert min(found) >= 0.5 * places / 4
