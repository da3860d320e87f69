"""Checks every field of the quality of a route, as it is written and read back: what is not seen here is not kept."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import astuple
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise.api.content_routing import RouteQuality
from tierwise.api.modelroute_status import (
    MOST_LEASES,
    QualityDay,
    QualityMove,
    QualityStatus,
    QualityWatch,
    RouterVerdicts,
)
from tierwise.decide.route_quality import MOST_AGAIN, Aim, for_classifier, measure, shown
from tierwise.routing.alarm import FALL, Watch, threshold
from tierwise.routing.quality import Interval, Tally
from tierwise.times import rfc3339
from tierwise.types import VerdictCounts

NOW = 1_796_040_000.0  # 2026-11-30T12:00:00Z
TODAY = "2026-11-30"
SPEC = RouteQuality.model_validate({"judgeTier": "large", "budgetUSDPerDay": "5"})
NO_AIM = Aim()
EVERY_COUNT = VerdictCounts(100, 60, 76, 4, 30, 2, 17, 3)


def audited(good: int, judged_good: int, bad: int, judged_bad: int) -> RouteQuality:
    audit = {"goodAnswers": good, "goodJudgedGood": judged_good, "badAnswers": bad, "badJudgedBad": judged_bad}
    return RouteQuality.model_validate({"judgeTier": "large", "budgetUSDPerDay": "5", "audit": audit})


def quiet(before: QualityStatus) -> QualityStatus:
    """After a cycle in which no router said anything new."""
    return measure(before, SPEC, NO_AIM, {}, NOW)


def test_the_first_verdicts_of_a_route_are_all_told() -> None:
    assert measure(None, SPEC, NO_AIM, {"a": EVERY_COUNT, "b": None}, NOW) == QualityStatus(
        parity_percent="107.4",  # 0.375 + 0.625 * 0.95 / 0.85: better than its own second answers
        lower_percent="93.9",
        upper_percent="133.3",
        samples=80,
        share_percent=38,
        since="2026-11-30T12:00:00Z",
        again_good=17,
        again_bad=3,
        watch=QualityWatch(usual_good=76, usual_bad=4, sum="0.0000"),
        days=[
            QualityDay(day=TODAY, good=76, bad=4, margin_good=30, margin_bad=2, sampled=160, reference=60),
        ],
        routers=[RouterVerdicts(router="a", counts=[100, 60, 76, 4, 30, 2, 17, 3])],
    )


def test_what_comes_later_is_added_field_by_field_and_a_counter_that_fell_began_anew() -> None:
    first = measure(None, SPEC, NO_AIM, {"a": EVERY_COUNT, "b": EVERY_COUNT}, NOW)
    grown = {"a": EVERY_COUNT + VerdictCounts(9, 8, 7, 6, 5, 4, 3, 2), "b": VerdictCounts(10, 1, 8, 2, 3, 1, 1, 0)}
    second = measure(first, SPEC, NO_AIM, grown, NOW + 60)
    assert second.days == [
        QualityDay(day=TODAY, good=167, bad=16, margin_good=68, margin_bad=9, sampled=348, reference=129)
    ]
    assert (second.again_good, second.again_bad) == (38, 8)
    assert second.routers == [
        RouterVerdicts(router="a", counts=[109, 68, 83, 10, 35, 6, 20, 5]),
        RouterVerdicts(router="b", counts=[10, 1, 8, 2, 3, 1, 1, 0]),
    ]


def test_the_share_that_is_shown_is_in_percent_of_what_was_sampled() -> None:
    found = measure(None, SPEC, NO_AIM, {"a": VerdictCounts(40, 60, 40, 0)}, NOW)
    assert (found.share_percent, found.parity_percent, found.samples) == (60, "100.0", 40)


def test_figures_without_a_verdict_are_cleared_and_nothing_else() -> None:
    kept: dict[str, Any] = {
        "since": "2026-11-20T00:00:00Z",
        "added_share_percent": 15,
        "classifier_hash": "abc",
        "again_good": 7,
        "again_bad": 2,
        "watch": QualityWatch(usual_good=5, usual_bad=4, run_good=3, run_bad=2, sum="1.5000", alarm=True),
        "moves": [QualityMove(at="2026-11-20T00:00:00Z", points=15, quality="90.0 (88.0-92.0)")],
    }
    figures: dict[str, Any] = {
        "parity_percent": "96.1",
        "lower_percent": "93.8",
        "upper_percent": "97.9",
        "samples": 400,
        "share_percent": 20,
    }
    assert quiet(QualityStatus(**kept, **figures)) == QualityStatus(**kept)


def test_a_reference_that_rarely_matches_itself_makes_no_number_that_is_too_long() -> None:
    found = measure(None, SPEC, NO_AIM, {"a": VerdictCounts(95, 0, 95, 5, 0, 0, 15, 85)}, NOW)
    assert found.upper_percent == "999.0"
    assert shown(Interval(6.0, 2.0, 12.0)) == "600.0 (200.0-999.0)"


def test_a_quality_is_shown_in_percent_with_its_interval() -> None:
    assert shown(Interval(0.961, 0.938, 0.979)) == "96.1 (93.8-97.9)"


@pytest.mark.parametrize(
    ("known", "new", "kept"),
    [
        ((0, 0), (5, 2), (5, 2)),
        ((2900, 1000), (1, 99), (2901, 1099)),
        ((2900, 1000), (0, 101), (1450, 550)),
        ((2901, 1000), (0, 103), (1450, 551)),
        ((2900, 1102), (3, 1), (1451, 551)),
    ],
    ids=["first", "as many as are kept", "one more is halved", "both rounded down", "both grow"],
)
def test_verdicts_on_second_answers_are_halved_above_their_most(
    known: tuple[int, int], new: tuple[int, int], kept: tuple[int, int]
) -> None:
    before = QualityStatus(since=rfc3339(NOW), again_good=known[0], again_bad=known[1])
    said = VerdictCounts(again_good=new[0], again_bad=new[1])
    found = measure(before, SPEC, NO_AIM, {"a": said}, NOW)
    assert astuple(Tally(found.again_good, found.again_bad)) == kept
    assert isinstance(found.again_good, int)
    assert isinstance(found.again_bad, int)
    assert sum(kept) <= MOST_AGAIN


# --- what the alarm remembers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "kept", "alarm"),
    [
        ("12.5", "12.5000", True),
        ("0.25", "0.2500", True),
        ("0", "0.0000", False),
        ("-3", "0.0000", False),
        ("much", "0.0000", False),
        ("nan", "0.0000", False),
        ("999999.5", "999999.5000", True),
    ],
)
def test_the_sum_of_an_alarm_is_read_back_and_without_a_sum_there_is_no_alarm(
    said: str, kept: str, alarm: bool
) -> None:
    memory = QualityWatch(usual_good=300, usual_bad=20, run_good=7, run_bad=5, sum=said, alarm=True)
    found = quiet(QualityStatus(since=rfc3339(NOW), watch=memory)).watch
    assert found == QualityWatch(usual_good=300, usual_bad=20, run_good=7, run_bad=5, sum=kept, alarm=alarm)


@pytest.mark.parametrize("said", ["1e6", "1000000.5", "inf"])
def test_a_sum_that_no_alarm_can_reach_is_nothing(said: str) -> None:
    assert quiet(QualityStatus(since=rfc3339(NOW), watch=QualityWatch(sum=said))).watch.sum == "0.0000"


TALLIES = st.integers(0, 30_000)


@settings(deadline=None)
@given(TALLIES, TALLIES, TALLIES, TALLIES, st.floats(0.001, 900_000.0), st.booleans())
def test_what_the_alarm_remembers_survives_a_cycle_without_verdicts(
    usual_good: int, usual_bad: int, run_good: int, run_bad: int, total: float, alarm: bool
) -> None:
    memory = QualityWatch(
        usual_good=usual_good,
        usual_bad=usual_bad,
        run_good=run_good,
        run_bad=run_bad,
        sum=f"{total:.4f}",
        alarm=alarm,
    )
    assert quiet(QualityStatus(since=rfc3339(NOW), watch=memory)).watch == memory


KNOWN = QualityWatch(usual_good=1920, usual_bad=80)
USUAL_BAD = Watch(usual=Tally(1920, 80)).usual_bad


@pytest.mark.parametrize(
    ("spec", "fall"),
    [
        (SPEC, FALL),
        (audited(50, 48, 50, 42), FALL * 0.8),  # 0.96 + 0.84 - 1
        (audited(50, 48, 50, 50), FALL * 0.96),
        (audited(50, 25, 50, 30), FALL * 0.25),  # 0.1 would find anything
    ],
    ids=["nobody audited", "a judge that errs", "one that errs on good answers", "one that knows little"],
)
def test_the_fall_that_is_looked_for_is_what_the_judge_would_show_of_it(spec: RouteQuality, fall: float) -> None:
    before = QualityStatus(since=rfc3339(NOW), watch=KNOWN)
    found = measure(before, spec, NO_AIM, {"a": VerdictCounts(1, 0, 0, 1)}, NOW).watch
    one = math.log((USUAL_BAD + fall) / USUAL_BAD)
    assert found == QualityWatch(usual_good=1920, usual_bad=80, run_bad=1, sum=f"{one:.4f}")


@pytest.mark.parametrize("days", [1, 2, 5])
def test_the_pace_of_the_known_days_sets_the_threshold(days: int) -> None:
    """The sum goes to twice the threshold at most: so much is seen of it."""
    before = QualityStatus(
        since=rfc3339(NOW),
        watch=KNOWN,
        days=[QualityDay(day=f"2026-11-{30 - back}", good=300) for back in range(days - 1, 0, -1)],
    )
    found = measure(before, SPEC, NO_AIM, {"a": VerdictCounts(300, 0, 0, 300)}, NOW)
    assert len(found.days) == days
    highest = threshold(30 * 300, round(USUAL_BAD, 3), FALL)
    assert found.watch == QualityWatch(usual_good=1920, usual_bad=80, run_bad=300, sum=f"{2 * highest:.4f}", alarm=True)


# --- what others, or another release, have written -------------------------------------------------------------------


@pytest.mark.parametrize("written", [[1], [1] * 7, [1] * 9, []])
def test_counters_of_another_length_count_as_nothing_known(written: list[int]) -> None:
    before = QualityStatus(since=rfc3339(NOW), routers=[RouterVerdicts(router="a", counts=written)])
    found = measure(before, SPEC, NO_AIM, {"a": EVERY_COUNT}, NOW)
    assert found.days == [
        QualityDay(day=TODAY, good=76, bad=4, margin_good=30, margin_bad=2, sampled=160, reference=60)
    ]


def test_more_routers_than_a_route_can_have_are_not_listed() -> None:
    said = {f"uid-{number:03d}": VerdictCounts(1, 0, 1) for number in range(MOST_LEASES + 3)}
    found = measure(None, SPEC, NO_AIM, said, NOW)
    assert [one.router for one in found.routers] == sorted(said)[:MOST_LEASES]
    assert found.samples == MOST_LEASES + 3


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XXX-14")  # 14 hours ahead of UTC
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_east")
def test_a_day_is_one_of_utc_wherever_the_operator_runs() -> None:
    found = measure(None, SPEC, NO_AIM, {"a": VerdictCounts(1, 0, 1)}, NOW)
    assert [day.day for day in found.days] == [TODAY]


# --- another classifier ----------------------------------------------------------------------------------------------

FULL = QualityStatus(
    parity_percent="96.1",
    lower_percent="93.8",
    upper_percent="97.9",
    samples=400,
    share_percent=20,
    since="2026-11-20T00:00:00Z",
    added_share_percent=15,
    classifier_hash="old",
    again_good=7,
    again_bad=2,
    watch=QualityWatch(usual_good=5, usual_bad=4, run_good=3, run_bad=2, sum="1.5000", alarm=True),
    days=[QualityDay(day="2026-11-29", good=400)],
    moves=[QualityMove(at="2026-11-20T00:00:00Z", points=15, quality="90.0 (88.0-92.0)")],
    routers=[RouterVerdicts(router="a", counts=[1, 2, 3, 4, 5, 6, 7, 8])],
)


@pytest.mark.parametrize("digest", ["old", ""])
def test_the_same_classifier_or_one_that_is_not_known_changes_nothing(digest: str) -> None:
    assert for_classifier(FULL, digest, NOW) == FULL


def test_another_classifier_forgets_what_was_measured_of_the_one_before_and_nothing_else() -> None:
    fields = FULL.model_dump() | {
        "classifier_hash": "new",
        "added_share_percent": 0,
        "since": "2026-11-30T12:00:00Z",
        "days": [],
        "watch": QualityWatch(),
    }
    assert for_classifier(FULL, "new", NOW) == QualityStatus.model_validate(fields)


def test_the_first_classifier_that_is_known_takes_over_what_was_measured() -> None:
    unnamed = FULL.model_copy(update={"classifier_hash": ""})
    assert for_classifier(unnamed, "old", NOW) == FULL
