"""Checks how the quality of a route is followed: nothing counts twice or is lost, and the share moves on proof only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import routes
from tests.builders.routes import snapshot, spec, tier
from tests.unit.decide import make
from tierwise import reasons
from tierwise.api.content_routing import RouteQuality
from tierwise.api.modelroute_status import QualityStatus, QualityWatch
from tierwise.decide import plan_routes
from tierwise.decide.capped_tiers import why_capped
from tierwise.decide.route_quality import DAYS, MOST_MOVES, Aim, measure
from tierwise.types import (
    ClassifierReport,
    ClassifierStanding,
    PodFacts,
    RouteObject,
    RoutePlan,
    RouteSignals,
    RouteView,
    VerdictCounts,
)

NOW = 1_796_040_000.0  # 2026-11-30T12:00:00Z
DAY = 86_400.0
SPEC = RouteQuality.model_validate({"judgeTier": "large", "budgetUSDPerDay": "5"})
NO_AIM = Aim()
AIM = Aim(target=0.95, share=30.0)
KNOWN = QualityWatch(usual_good=1920, usual_bad=80)


def counts(good: int = 0, bad: int = 0, **more: int) -> VerdictCounts:
    return VerdictCounts(sampled_cheaper=good + bad, cheaper_good=good, cheaper_bad=bad, **more)


def total(status: QualityStatus) -> tuple[int, int]:
    return sum(day.good for day in status.days), sum(day.bad for day in status.days)


def test_what_routers_have_counted_since_is_added_to_today() -> None:
    first = measure(None, SPEC, NO_AIM, {"a": counts(10, 1), "b": counts(5)}, NOW)
    assert total(first) == (15, 1)
    second = measure(first, SPEC, NO_AIM, {"a": counts(12, 1), "b": counts(5)}, NOW + 10)
    assert total(second) == (17, 1)
    assert measure(second, SPEC, NO_AIM, {"a": counts(12, 1), "b": counts(5)}, NOW + 20) == second


def test_a_router_that_starts_again_counts_from_nothing_and_one_that_is_silent_keeps_what_it_said() -> None:
    first = measure(None, SPEC, NO_AIM, {"a": counts(10, 1), "b": counts(5)}, NOW)
    again = measure(first, SPEC, NO_AIM, {"a": counts(3), "b": None}, NOW + 10)
    assert total(again) == (18, 1)
    heard = measure(again, SPEC, NO_AIM, {"a": counts(3), "b": counts(6)}, NOW + 20)
    assert total(heard) == (19, 1)
    gone = measure(heard, SPEC, NO_AIM, {"b": counts(6)}, NOW + 30)
    assert total(gone) == (19, 1)
    assert [one.router for one in gone.routers] == ["b"]


STEPS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.integers(0, 3), st.booleans(), st.booleans()), max_size=20
)


@settings(deadline=None)
@given(STEPS)
def test_no_verdict_is_counted_twice_or_lost_whatever_writes_and_reports_are_lost(
    steps: list[tuple[str, int, int, bool, bool]],
) -> None:
    """The status that was written is all that the next decision knows; a write that is lost leaves the one before."""
    said = {"a": counts(), "b": counts()}
    written: QualityStatus | None = None
    for router, good, bad, heard, kept in steps:
        said[router] = said[router] + counts(good, bad)
        reports = {name: one if heard else None for name, one in said.items()}
        found = measure(written, SPEC, NO_AIM, reports, NOW)
        written = found if kept else written
    found = measure(written, SPEC, NO_AIM, said, NOW)
    sum_of_all = said["a"] + said["b"]
    assert total(found) == (sum_of_all.cheaper_good, sum_of_all.cheaper_bad)


def test_days_are_kept_for_two_weeks() -> None:
    status = None
    for day in range(20):
        status = measure(status, SPEC, NO_AIM, {"a": counts(10 * (day + 1))}, NOW + day * DAY)
    assert status is not None
    assert len(status.days) == DAYS
    assert {day.good for day in status.days} == {10}
    assert status.samples == 10 * DAYS


def test_what_is_shown_says_how_far_it_is_known() -> None:
    status = measure(None, SPEC, NO_AIM, {"a": counts(380, 20, sampled_reference=100, again_good=40)}, NOW)
    assert status.samples == 400
    assert status.share_percent == 20
    assert float(status.parity_percent) == pytest.approx(100 * (0.2 + 0.8 * 0.95), abs=0.1)
    assert float(status.lower_percent) < float(status.parity_percent) < float(status.upper_percent)
    audited = RouteQuality.model_validate(
        {
            "judgeTier": "large",
            "budgetUSDPerDay": "5",
            "audit": {"goodAnswers": 50, "goodJudgedGood": 48, "badAnswers": 50, "badJudgedBad": 42},
        }
    )
    wider = measure(None, audited, NO_AIM, {"a": counts(380, 20, sampled_reference=100, again_good=40)}, NOW)
    assert wider.lower_percent != status.lower_percent


def test_a_fall_is_an_alarm_and_raises_the_share() -> None:
    before = QualityStatus(since="2026-11-20T00:00:00Z", watch=KNOWN, again_good=2000)
    calm = measure(before, SPEC, AIM, {"a": counts(96, 4)}, NOW)
    assert not calm.watch.alarm
    assert calm.added_share_percent == 0
    fallen = measure(calm, SPEC, AIM, {"a": counts(96 + 160, 4 + 40)}, NOW + 60)
    assert fallen.watch.alarm
    assert fallen.added_share_percent > 0
    assert fallen.added_share_percent % 5 == 0
    assert len(fallen.moves) == 1
    assert total(fallen) == (0, 0), "what comes now is of another split"
    assert fallen.watch.alarm, "the answers are still worse"
    later = measure(fallen, SPEC, AIM, {"a": counts(96 + 160, 4 + 40)}, NOW + 70)
    assert later.moves == fallen.moves, "nothing new, nothing moved"


@pytest.mark.parametrize(
    "aim",
    [Aim(), Aim(target=0.95), Aim(target=0.95, share=30.0, held=True)],
    ids=["no promise", "no classifier", "a full tier moves the share"],
)
def test_the_share_stays_where_nobody_may_move_it(aim: Aim) -> None:
    before = QualityStatus(since="2026-11-20T00:00:00Z", watch=KNOWN, again_good=2000)
    found = measure(before, SPEC, aim, {"a": counts(100, 100)}, NOW)
    assert found.watch.alarm
    assert found.added_share_percent == 0


def test_what_is_worse_for_good_and_good_enough_becomes_the_usual() -> None:
    status = QualityStatus(since="2026-11-20T00:00:00Z", watch=KNOWN, again_good=2000)
    aim = Aim(target=0.80, share=0.0)
    seen = counts()
    for day in range(9):
        seen = seen + counts(85, 15)
        status = measure(status, SPEC, aim, {"a": seen}, NOW + day * DAY)
    assert not status.watch.alarm
    assert status.watch.usual_bad / (status.watch.usual_bad + status.watch.usual_good) == pytest.approx(0.15, abs=0.02)


def test_a_status_that_somebody_else_has_written_harms_nothing() -> None:
    odd = QualityStatus(
        since="yesterday",
        watch=QualityWatch(sum="much", alarm=True),
        routers=[{"router": "a", "counts": [1, 2]}],  # type: ignore[list-item]
    )
    found = measure(odd, SPEC, AIM, {"a": counts(3)}, NOW)
    assert total(found) == (3, 0)
    assert not found.watch.alarm


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=30))
def test_the_status_stays_bounded(days: list[tuple[int, int]]) -> None:
    status = QualityStatus(since="2026-11-20T00:00:00Z", watch=KNOWN, again_good=2000)
    seen = counts()
    for place, (good, bad) in enumerate(days):
        seen = seen + counts(good, bad)
        share = min(100.0, 30.0 + status.added_share_percent)
        status = measure(status, SPEC, Aim(0.95, share), {"a": seen}, NOW + place * DAY)
    assert len(status.moves) <= MOST_MOVES
    assert -30 <= status.added_share_percent <= 70
    assert QualityStatus.model_validate(status.model_dump(by_alias=True)) == status


# --- in a cycle ------------------------------------------------------------------------------------------------------


def pod(name: str, phase: str = "Running") -> PodFacts:
    return PodFacts(name=name, uid=f"uid-{name}", phase=phase, ready=True, terminating=False, scheduled=True)


FIELDS: dict[str, Any] = {
    "quality": {"judgeTier": "large", "budgetUSDPerDay": "5"},
    "pressure": {"minSharePercent": 10},
    "policy": {"type": "Classifier", "classifier": {"configMapName": "weights"}},
}


def planned(view: RouteView) -> RoutePlan:
    (plan,) = plan_routes(snapshot([tier("small"), tier("large")], view))
    assert not plan.failure, plan.failure
    return plan


def view(signals: RouteSignals, route: RouteObject | None = None, **fields: Any) -> RouteView:
    made = route or routes.route(given=spec("small", "large", **(FIELDS | fields)))
    return RouteView(made, pods=(pod("a"), pod("b", "Failed")), signals=signals)


def test_a_cycle_adds_up_what_the_routers_that_there_are_say() -> None:
    plan = planned(view(RouteSignals(verdicts={"a": counts(10, 1), "b": counts(99)})))
    assert plan.quality is not None
    assert total(plan.quality) == (10, 1)
    assert [one.router for one in plan.quality.routers] == ["uid-a"]


def test_nothing_is_measured_where_nobody_asks_for_it_and_nothing_is_forgotten_with_a_broken_spec() -> None:
    signals = RouteSignals(verdicts={"a": counts(10, 1)})
    assert planned(view(signals, quality=None)).quality is None
    known = planned(view(signals)).quality
    assert known is not None
    broken = routes.route(given=spec("small", "large", **FIELDS), status={"quality": known.model_dump(by_alias=True)})
    assert planned(view(signals, replace(broken, spec=None, invalid="no"))).quality == known


def test_another_classifier_begins_without_what_was_added_for_the_one_before() -> None:
    """Its needed share is from new labels: the points that mended the old one's would be added to it for ever."""
    before = QualityStatus(since="2026-11-20T00:00:00Z", watch=KNOWN, again_good=2000, classifier_hash="old")
    fallen = measure(before, SPEC, replace(AIM, classifier="old"), {"a": counts(100, 40)}, NOW)
    assert fallen.added_share_percent > 0
    for digest in ("old", ""):  # some routers still use another one: nobody knows
        kept = measure(fallen, SPEC, replace(AIM, classifier=digest), {"a": counts(100, 40)}, NOW + 60)
        assert (kept.added_share_percent, kept.classifier_hash) == (fallen.added_share_percent, "old")
    anew = measure(fallen, SPEC, replace(AIM, classifier="new"), {"a": counts(103, 41)}, NOW + 120)
    assert (anew.added_share_percent, anew.classifier_hash) == (0, "new")
    assert total(anew) == (3, 1), "what routers had counted before is not counted again"
    assert not anew.watch.alarm
    assert anew.moves == fallen.moves


def test_the_classifier_that_all_routers_use_is_remembered() -> None:
    def signals(*digests: str) -> RouteSignals:
        standings = tuple(ClassifierStanding("Serves", "ClassifierServes", digest, 1) for digest in digests)
        return RouteSignals(classifier=ClassifierReport(standings, needed_share=40.0))

    for digests, known in ((("one",), "one"), (("one", "two"), ""), (("one", ""), "one"), ((), "")):
        found = planned(view(signals(*digests))).quality
        assert found is not None
        assert found.classifier_hash == known


def test_a_share_that_is_pressed_is_told_with_what_it_costs() -> None:
    said = ClassifierReport(
        (), needed_share=40.0, wanted_share=40.0, applied_share=21.3, expected_quality=93.0, unpressed_quality=95.1
    )
    plan = planned(view(RouteSignals(classifier=said)))
    assert plan.pressure is not None
    assert (plan.pressure.applied_percent, plan.pressure.wanted_percent) == (21, 40)
    assert plan.pressure.quality_cost_points == "-2.1"
    assert planned(view(RouteSignals(classifier=replace(said, applied_share=40.0)))).pressure is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"maxReplicas": 1}, reasons.MAX_REPLICAS),
        ({"maxReplicas": 3}, ""),
        ({"maxReplicas": 3, "replicas": 1}, reasons.PINNED),
        ({"maxReplicas": 3, "mode": "Advisory"}, reasons.ADVISORY),
    ],
)
def test_a_tier_that_has_all_it_can_get_is_capped(fields: dict[str, Any], reason: str) -> None:
    found = tier("large", make.spec(**fields))
    assert why_capped(found) == reason
    (plan,) = plan_routes(snapshot([tier("small"), found], routes.route(given=spec("small", "large"))))
    assert plan.ladder[1].capped == bool(reason)


def test_what_somebody_else_serves_cannot_grow() -> None:
    assert why_capped(routes.external("bought")) == reasons.EXTERNAL
