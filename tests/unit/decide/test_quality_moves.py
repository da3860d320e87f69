"""Checks when measured quality moves the share, and what the status says after: whole values, at the bounds."""

from __future__ import annotations

from typing import Any

import pytest

from tierwise.api.content_routing import RouteQuality
from tierwise.api.modelroute_status import QualityDay, QualityMove, QualityStatus, QualityWatch
from tierwise.decide.route_quality import Aim, measure, shown
from tierwise.routing.quality import Tally, of_route, one_step_looser, parity
from tierwise.times import rfc3339
from tierwise.types import VerdictCounts

NOW = 1_796_040_000.0  # 2026-11-30T12:00:00Z
DAY = 86_400.0
SPEC = RouteQuality.model_validate({"judgeTier": "large", "budgetUSDPerDay": "5"})
KNOWN = QualityWatch(usual_good=1920, usual_bad=80, sum="0.0000")
AGAIN = Tally(2000, 0)


def november(*numbers: int, **fields: Any) -> list[QualityDay]:
    """Days of the month, all alike."""
    return [QualityDay(day=f"2026-11-{number:02d}", **fields) for number in numbers]


def known(since_days: float, days: list[QualityDay], **fields: Any) -> QualityStatus:
    """A status whose last change of the share was so many days ago."""
    more = {"watch": KNOWN, "again_good": AGAIN.good, **fields}
    return QualityStatus(since=rfc3339(NOW - since_days * DAY), days=days, **more)


def moved_by(points: int) -> list[QualityMove]:
    return [QualityMove(at="2026-11-16T00:00:00Z", points=points, quality="")]


# --- lowering --------------------------------------------------------------------------------------------------------

WELL = november(*range(21, 31), good=200, margin_good=30, margin_bad=1, sampled=400, reference=200)
LOW_AIM = Aim(target=0.90, share=50.0)


def test_a_share_that_is_surely_not_needed_is_lowered_and_its_effect_measured_from_nothing() -> None:
    before = known(12, WELL, added_share_percent=20, moves=moved_by(-5))
    cheap, margin = parity(Tally(2000, 0), AGAIN), parity(Tally(300, 10), AGAIN)
    said = one_step_looser(cheap, margin, 0.5, 0.05)
    assert said.lower > 0.90
    calm = measure(before, SPEC, Aim(), {}, NOW)
    assert measure(before, SPEC, LOW_AIM, {}, NOW) == calm.model_copy(
        update={
            "added_share_percent": 15,
            "moves": [*moved_by(-5), QualityMove(at="2026-11-30T12:00:00Z", points=-5, quality=shown(said))],
            "since": "2026-11-30T12:00:00Z",
            "days": november(30),
            "watch": QualityWatch(),
        }
    )


@pytest.mark.parametrize(
    ("days", "moves", "lowered"),
    [
        (3, [], False),
        (9.999, [], False),
        (10, [], True),
        (12, moved_by(-5), True),
        (12, moved_by(0), True),
        (12, moved_by(1), False),
        (12, moved_by(5), False),
        (13.999, moved_by(5), False),
        (14, moved_by(5), True),
        (12, moved_by(5) + moved_by(-5), True),
    ],
)
def test_a_share_is_lowered_after_ten_days_and_after_fourteen_where_it_was_raised(
    days: float, moves: list[QualityMove], lowered: bool
) -> None:
    found = measure(known(days, WELL, moves=moves), SPEC, LOW_AIM, {}, NOW)
    assert found.added_share_percent == (-5 if lowered else 0)
    assert len(found.moves) == len(moves) + lowered


def test_a_share_is_not_lowered_without_knowing_how_the_cheaper_tier_would_do() -> None:
    """Good verdicts and bad ones on the requests that would move both count."""
    for margin in ({}, {"margin_good": 3, "margin_bad": 60}):
        days = november(*range(21, 31), good=200, sampled=400, reference=200, **margin)
        assert measure(known(12, days), SPEC, Aim(target=0.96, share=50.0), {}, NOW).moves == []
    good = november(*range(21, 31), good=200, margin_good=60, sampled=400, reference=200)
    assert len(measure(known(12, good), SPEC, Aim(target=0.96, share=50.0), {}, NOW).moves) == 1


def test_a_status_that_says_no_time_has_just_begun() -> None:
    before = known(12, WELL).model_copy(update={"since": "yesterday"})
    assert measure(before, SPEC, LOW_AIM, {}, NOW).moves == []


# --- an alarm of the last days, not of the last verdicts -------------------------------------------------------------

WORSE = november(*range(17, 31), good=370, bad=30)
"""Two weeks at 7.5 percent of bad verdicts where 4 were usual."""


def test_a_small_fall_that_lasts_is_an_alarm_though_no_verdict_is_new() -> None:
    found = measure(known(13, WORSE), SPEC, Aim(), {}, NOW)
    assert found.watch == KNOWN.model_copy(update={"alarm": True})
    as_usual = november(*range(17, 31), good=384, bad=16)
    assert measure(known(13, as_usual), SPEC, Aim(), {}, NOW).watch == KNOWN


def test_an_alarm_of_the_days_raises_the_share_by_what_they_say_of_the_cheaper_tiers() -> None:
    """Nobody was judged in the last two days, so the reference tier's part of these adds nothing. Were 93.5 percent of
    the cheaper answers good, near the upper bound, 23.3 percent would be enough: by steps from 10, that is 25."""
    days = november(*range(24, 29), good=1110, bad=90, sampled=3000, reference=1500)
    days += november(29, 30, sampled=10)
    aim = Aim(target=0.95, share=10.0)
    found = measure(known(6.5, days), SPEC, aim, {}, NOW)
    said = of_route(parity(Tally(5 * 1110, 5 * 90), AGAIN), 0.0)
    assert found.moves == [QualityMove(at="2026-11-30T12:00:00Z", points=15, quality=shown(said))]
    assert found.days == november(30)
    assert found.watch == KNOWN.model_copy(update={"alarm": True})


def test_what_is_worse_and_good_enough_is_usual_after_seven_days_and_moves_nothing() -> None:
    margin = {"margin_good": 30, "sampled": 400, "reference": 0}
    worse = november(*range(17, 31), good=370, bad=30, **margin)
    aim = Aim(target=0.90, share=50.0)
    accepted = measure(known(13, worse), SPEC, aim, {}, NOW)
    assert accepted.watch == QualityWatch(usual_good=14 * 370, usual_bad=14 * 30, sum="0.0000")
    assert accepted.moves == [], "in the cycle of an alarm nothing is lowered"
    assert measure(accepted, SPEC, Aim(), {}, NOW).watch == accepted.watch


@pytest.mark.parametrize(("days", "accepted"), [(6.999, False), (7, True), (8, True)])
def test_seven_days_are_waited_for_before_worse_is_usual(days: float, accepted: bool) -> None:
    found = measure(known(days, WORSE), SPEC, Aim(target=0.90), {}, NOW)
    assert found.watch.alarm is not accepted
    assert found.watch.usual_good == (14 * 370 if accepted else 1920)


def test_exactly_good_enough_is_good_enough() -> None:
    lower = of_route(parity(Tally(14 * 370, 14 * 30), AGAIN), 0.0).lower
    assert not measure(known(8, WORSE), SPEC, Aim(target=lower), {}, NOW).watch.alarm
    assert measure(known(8, WORSE), SPEC, Aim(target=lower + 1e-9), {}, NOW).watch.alarm


def test_verdicts_on_second_answers_set_what_can_be_asked_for() -> None:
    """The reference matches itself in 95 of 100: of that, the cheaper tier is nearly all."""
    aim = Aim(target=0.95)
    alone = measure(known(8, WORSE), SPEC, aim, {}, NOW)
    compared = measure(known(8, WORSE, again_bad=150), SPEC, aim, {}, NOW)
    assert alone.watch.alarm
    assert not compared.watch.alarm
    assert (alone.parity_percent, compared.parity_percent) == ("92.5", "99.4")


# --- an alarm of the last verdicts -----------------------------------------------------------------------------------


def test_an_alarm_of_the_last_verdicts_raises_the_share_by_these_alone() -> None:
    """The days are good enough still; what came since the change is not."""
    before = known(1, november(30, good=2000, bad=40, sampled=2040))
    said = {"a": VerdictCounts(120, 0, 80, 40)}
    calm = measure(before, SPEC, Aim(), said, NOW)
    assert calm.watch.alarm
    run = Tally(calm.watch.run_good, calm.watch.run_bad)
    assert run.bad == 40
    assert 70 < run.good <= 80
    assert (calm.watch.usual_good + run.good, calm.watch.usual_bad) == (2000, 80)
    found = measure(before, SPEC, Aim(target=0.95, share=10.0), said, NOW)
    quality = of_route(parity(run, AGAIN), 0.0)
    (move,) = found.moves
    assert (move.at, move.quality) == ("2026-11-30T12:00:00Z", shown(quality))
    assert found == calm.model_copy(
        update={
            "added_share_percent": move.points,
            "moves": [move],
            "since": "2026-11-30T12:00:00Z",
            "days": november(30),
            "watch": calm.watch.model_copy(update={"run_good": 0, "run_bad": 0}),
        }
    )


def test_a_few_bad_verdicts_are_no_alarm() -> None:
    said = {"a": VerdictCounts(120, 0, 117, 3)}
    found = measure(known(1, november(30, good=2000, bad=40, sampled=2040)), SPEC, Aim(0.95, 10.0), said, NOW)
    assert not found.watch.alarm
    assert found.moves == []
    assert found.days == november(30, good=2117, bad=43, sampled=2160)


def test_a_raised_share_without_an_alarm_makes_none_out_of_what_was_summed_up_before() -> None:
    """The threshold goes by the pace of the days that are known, and those begin anew: it is low for hours."""
    usual = november(*range(17, 31), good=960, bad=40, sampled=1000, reference=0)
    suspicion = KNOWN.model_copy(update={"sum": "5.0000", "run_good": 20, "run_bad": 8})
    aim = Aim(target=0.98, share=30.0)
    before = known(20, usual, watch=suspicion)
    raised = measure(before, SPEC, aim, {}, NOW)
    assert not measure(before, SPEC, Aim(), {}, NOW).watch.alarm
    assert [move.points > 0 for move in raised.moves] == [True]
    assert raised.watch == KNOWN.model_copy(update={"sum": "0"}), "what is usual stays"
    after = measure(raised, SPEC, Aim(), {"router": VerdictCounts(sampled_cheaper=1, cheaper_good=1)}, NOW)
    assert not after.watch.alarm
