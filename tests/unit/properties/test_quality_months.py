"""Follows a route over simulated months whole, alarm and share together: what one does must not mislead the other."""

from __future__ import annotations

import random

import pytest

from tests.unit.routing.test_adaptation import TARGET, World
from tierwise.api.content_routing import RouteQuality
from tierwise.api.modelroute_status import QualityStatus
from tierwise.decide.route_quality import Aim, measure
from tierwise.types import VerdictCounts

NOW = 1_796_040_000.0
SPEC = RouteQuality.model_validate({"judgeTier": "large", "budgetUSDPerDay": "5"})


def months(pairs: int, seed: int, share: int, worse: list[float]) -> tuple[list[bool], list[int]]:
    """Whether there was an alarm, and the share, day by day; `pairs` a day."""
    chance, world = random.Random(seed), World(pairs, seed, share=share)
    total, status = VerdictCounts(again_good=2000), QualityStatus(since="2026-11-30T12:00:00Z")
    alarms, shares = [], []
    for number, one in enumerate(worse):
        world.share = share + status.added_share_percent
        day = world.day(chance, one)
        total += VerdictCounts(
            sampled_cheaper=day.sampled - day.reference,
            sampled_reference=day.reference,
            cheaper_good=day.cheap.good,
            cheaper_bad=day.cheap.bad,
            margin_good=day.margin.good,
            margin_bad=day.margin.bad,
        )
        aim = Aim(target=TARGET, share=float(world.share))
        status = measure(status, SPEC, aim, {"router": total}, NOW + 86_400 * number)
        alarms.append(status.watch.alarm)
        shares.append(world.share)
    return alarms, shares


@pytest.mark.parametrize("seed", range(3))
def test_a_share_that_is_lowered_step_by_step_is_no_fall(seed: int) -> None:
    alarms, shares = months(200, seed, 60, [0.0] * 75)
    assert shares[-1] <= 40, "it was lowered several times"
    assert not any(alarms), f"alarm from day {alarms.index(True)} on, shares {sorted(set(shares))}"


def test_a_fall_after_that_is_noticed() -> None:
    alarms, shares = months(200, 1, 60, [0.0] * 50 + [0.08] * 12)
    assert shares[49] < 60
    assert not any(alarms[:50])
    assert any(alarms[50:])
