"""Checks that a router moves the share of a full reference tier, with its real state and a clock of the test."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from types import SimpleNamespace
from typing import cast

import pytest

from tests.unit.router.running_router import route, tier
from tests.unit.router.scripted_upstream import Upstream
from tests.unit.routing.classifiers import classifier
from tierwise.routing.content import ActiveClassifier, usable
from tierwise.routing.route import ClassifierFile, Content, Decider, Overflow, PressureLimits, Route
from tierwise_router.pressing import Pressing
from tierwise_router.purse import Purse
from tierwise_router.router_state import Clocks, RouterState

NOWHERE = cast(Upstream, SimpleNamespace(url="http://127.0.0.1:1"))
CAPACITY = 22.0


class World:
    """A router whose reference tier completes at most so many requests a second."""

    def __init__(self, served: Route) -> None:
        self.now = 100.0
        self.queue = 0.0
        self._chance = Random(1)
        clocks = Clocks(lambda: self.now, lambda: datetime(2026, 11, 29, tzinfo=UTC), lambda: "req")
        purse = Purse(None, Overflow(), clocks.now, clocks.monotonic)
        self.state = RouterState.of(served, clocks, purse)
        found = usable(classifier(route="auto"), served, "digest")
        assert isinstance(found, ActiveClassifier)
        self.state.content.serve(found)
        self.pressing = Pressing(self.state, lambda tier: self.queue)

    def run(self, seconds: int, arrivals: int, fixed: int = 0) -> list[float]:
        """The share of each second."""
        shares = []
        large = self.state.tiers["large"]
        for _ in range(seconds):
            share = self.state.reference_share
            assert share is not None
            shares.append(share)
            came = [self._chance.random() < share / 100 for _ in range(arrivals)]
            for to_reference in came:
                self.state.content.count(to_reference=to_reference)
            large.counts.wanted += sum(came) + fixed
            done = min(CAPACITY, self.queue + sum(came) + fixed)
            large.completed += round(done)
            self.queue += sum(came) + fixed - done
            self.now += 1
            self.pressing.look()
        return shares


def served(**changes: object) -> Route:
    content = Content(Decider.CLASSIFIER, classifier=ClassifierFile("classifier.bin", 95), reference_tier="large")
    given = route(tier("small", NOWHERE), tier("large", NOWHERE), content=content, pressure=PressureLimits(5, 60))
    return replace(given, **changes)  # type: ignore[arg-type]


def test_a_full_tier_gets_what_it_can_take_and_the_old_share_comes_back() -> None:
    world = World(served())
    assert set(world.run(60, arrivals=40)) == {40.0}
    pressed = world.run(300, arrivals=90)
    assert sum(pressed[-100:]) / 100 == pytest.approx(100 * 0.95 * CAPACITY / 90, abs=2)
    assert world.queue < 60
    assert world.state.content.load is not None
    back = world.run(300, arrivals=40)
    assert back[-1] == 40.0
    assert world.state.content.pressure is None
    assert world.state.content.load is None


def test_a_tier_from_which_requests_spill_shows_what_it_takes_though_few_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(RouterState, "saturated", lambda _: {"small": False, "large": True})
    world = World(served())
    world.queue = 5.0
    large = world.state.tiers["large"]
    for _ in range(100):
        for number in range(90):
            world.state.content.count(to_reference=number < 36)
        large.counts.wanted += 36
        large.completed += round(CAPACITY)
        world.now += 1
        world.pressing.look()
    assert world.state.content.pressure == pytest.approx(100 * 0.95 * CAPACITY / 90, abs=1)


def test_requests_that_no_share_moves_take_their_part_of_the_capacity() -> None:
    world = World(served())
    pressed = world.run(300, arrivals=90, fixed=10)
    assert sum(pressed[-100:]) / 100 == pytest.approx(100 * (0.95 * CAPACITY - 0.95 * 10) / 90, abs=2.5)


def test_the_declared_bounds_hold() -> None:
    world = World(served(pressure=PressureLimits(30, 60)))
    assert min(world.run(200, arrivals=200)) == 30
    capped = World(served(pressure=PressureLimits(5, 25)))
    assert capped.run(20, arrivals=10)[-1] == 25, "free as the tier may be"


def test_a_tier_that_can_grow_is_waited_for() -> None:
    given = served()
    growing = replace(given.tiers[1], capped=False)
    world = World(replace(given, tiers=(given.tiers[0], growing)))
    assert set(world.run(100, arrivals=90)) == {40.0}
    assert world.queue > 100


def test_without_declared_bounds_nothing_is_moved() -> None:
    world = World(served(pressure=None))
    assert set(world.run(100, arrivals=90)) == {40.0}


def test_what_quality_adds_is_asked_for_and_pressure_may_take_it_away() -> None:
    world = World(served(added_share=15))
    world.run(3, arrivals=10)
    assert world.state.reference_share == 55
    world.run(200, arrivals=90)
    share = world.state.content.share
    assert share is not None
    assert share.wanted == 55
    assert share.applied < 30
