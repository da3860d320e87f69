"""Checks what a route's plan is given of its quality and of the pressure on its share, and what is asked to measure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.builders import routes
from tests.builders.routes import NAMESPACE, external, spec, tier
from tests.unit.decide import make
from tierwise import reasons
from tierwise.api.content_routing import RouteQuality
from tierwise.api.modelroute import ModelRouteSpec
from tierwise.api.modelroute_status import ModelRouteStatus, PressureStatus, QualityStatus
from tierwise.decide import measured_route
from tierwise.decide.capped_tiers import pressure_status, why_capped
from tierwise.decide.measured_route import with_quality
from tierwise.decide.route_quality import Aim
from tierwise.types import (
    ClassifierReport,
    ClassifierStanding,
    PodFacts,
    RoutePlan,
    RouteSignals,
    RouteView,
    TierKey,
    TierView,
    VerdictCounts,
)

AT = 1_796_040_000.0
QUALITY = {"judgeTier": "large", "budgetUSDPerDay": "5"}
CLASSIFIER = {"type": "Classifier", "classifier": {"configMapName": "weights", "qualityPercent": 93}}
PRESSED = ClassifierReport(
    (ClassifierStanding("Serves", "ClassifierServes", "abc", 2),),
    needed_share=40.0,
    wanted_share=40.0,
    applied_share=21.3,
    expected_quality=93.0,
    unpressed_quality=95.1,
)
FREE = replace(PRESSED, applied_share=40.0)
PRESSURE = PressureStatus(wanted_percent=40, applied_percent=21, quality_cost_points="-2.1", limited="")
FULL = tier("large", make.spec(maxReplicas=1))


def view(
    said: ClassifierReport | None = None, known: dict[str, Any] | None = None, *, policy: Any = None, **fields: Any
) -> RouteView:
    given = spec("small", "large", policy=policy or CLASSIFIER, **{"quality": QUALITY, "pressure": {}, **fields})
    pods = tuple(
        PodFacts(name=name, uid=f"uid-{name}", phase=phase, ready=True, terminating=False, scheduled=True)
        for name, phase in (("a", "Running"), ("b", "Failed"), ("c", "Pending"), ("d", "Succeeded"))
    )
    signals = RouteSignals(verdicts={"a": VerdictCounts(1), "b": VerdictCounts(2)}, classifier=said)
    return RouteView(routes.route(given=given, status=known), pods=pods, signals=signals)


PLAN = RoutePlan(view().route.key, ())
MEASURED = QualityStatus(since="2026-11-30T12:00:00Z", samples=7)


@dataclass
class Asked:
    """Stands where quality is measured, and keeps what it was asked with."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def __call__(
        self,
        before: QualityStatus | None,
        given: RouteQuality,
        aim: Aim,
        routers: dict[str, VerdictCounts | None],
        now: float,
    ) -> QualityStatus:
        self.calls.append((before, given, aim, routers, now))
        return MEASURED


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    made = Asked()
    monkeypatch.setattr(measured_route, "measure", made)
    return made


def aim_of(asked: Asked, given: RouteView) -> Aim:
    with_quality(PLAN, given, {}, AT)
    aim = asked.calls[-1][2]
    assert isinstance(aim, Aim)
    return aim


def test_quality_is_measured_from_what_is_known_with_the_routers_that_there_are(asked: Asked) -> None:
    before = QualityStatus(since="2026-11-20T00:00:00Z", added_share_percent=15, classifier_hash="abc")
    given = view(FREE, {"quality": before.model_dump(by_alias=True)})
    assert with_quality(PLAN, given, {}, AT) == replace(PLAN, quality=MEASURED)
    routers = {"uid-a": VerdictCounts(1), "uid-c": None}
    assert asked.calls == [(before, RouteQuality.model_validate(QUALITY), Aim(0.93, 55.0, False, "abc"), routers, AT)]
    with_quality(PLAN, view(FREE), {}, AT)
    assert asked.calls[1][0] is None


@pytest.mark.parametrize(
    ("needed", "added", "share"),
    [(40.0, 0, 40.0), (40.0, -15, 25.0), (90.0, 15, 100.0), (99.5, 1, 100.0), (10.0, -15, 0.0), (0.5, 0, 0.5)],
)
def test_the_share_is_what_labels_ask_for_and_what_was_added_within_all_and_none(
    asked: Asked, needed: float, added: int, share: float
) -> None:
    known = {"quality": {"since": "2026-11-20T00:00:00Z", "addedSharePercent": added, "classifierHash": "abc"}}
    assert aim_of(asked, view(replace(FREE, needed_share=needed), known)).share == share


def test_what_was_added_for_another_classifier_is_not_added(asked: Asked) -> None:
    known = {"quality": {"since": "2026-11-20T00:00:00Z", "addedSharePercent": 15, "classifierHash": "old"}}
    assert aim_of(asked, view(FREE, known)) == Aim(0.93, 40.0, False, "abc")


@pytest.mark.parametrize(
    ("given", "aim"),
    [
        (view(FREE), Aim(0.93, 40.0, False, "abc")),
        (view(PRESSED), Aim(0.93, 40.0, True, "abc")),
        (view(PRESSED, pressure=None), Aim(0.93, 40.0, False, "abc")),
        (view(FREE, policy={**CLASSIFIER, "mode": "Shadow"}), Aim(0.93, None, False, "abc")),
        (view(), Aim(0.93, None, False, "")),
        (view(replace(FREE, needed_share=None)), Aim(0.93, None, False, "abc")),
        (view(replace(FREE, standings=())), Aim(0.93, 40.0, False, "")),
        (view(FREE, policy={"type": "Rules"}), Aim()),
        (view(FREE, policy={**CLASSIFIER, "type": "Rules"}), Aim()),
        (view(FREE, policy={**CLASSIFIER, "type": "Cascade", "cascade": {}}), Aim()),
        (view(FREE, policy={"type": "Classifier"}), Aim()),
    ],
    ids=[
        "acts",
        "pressed",
        "not to be pressed",
        "shadow",
        "no router heard",
        "no share said",
        "no file in use",
        "rules",
        "rules with a classifier at hand",
        "cascade with a classifier at hand",
        "classifier without one",
    ],
)
def test_what_can_be_moved_is_what_the_policy_acts_on(asked: Asked, given: RouteView, aim: Aim) -> None:
    found = aim_of(asked, given)
    assert found == aim
    assert isinstance(found.held, bool)


@pytest.mark.parametrize(
    ("digests", "known"),
    [((), ""), (("",), ""), (("x",), "x"), (("x", ""), "x"), (("x", "x"), "x"), (("x", "y"), "")],
)
def test_a_digest_is_that_of_all_routers_that_use_a_file(asked: Asked, digests: tuple[str, ...], known: str) -> None:
    standings = tuple(ClassifierStanding("Serves", "ClassifierServes", digest, 1) for digest in digests)
    assert aim_of(asked, view(replace(FREE, standings=standings))).classifier == known


# --- pressure --------------------------------------------------------------------------------------------------------


def tiers(*views: TierView) -> dict[TierKey, TierView]:
    return {each.tier.key: each for each in views}


@pytest.mark.parametrize(
    ("seen", "fields", "limited"),
    [
        ((tier("small"), FULL), {}, reasons.MAX_REPLICAS),
        ((tier("small"), tier("large")), {}, ""),
        ((tier("small"),), {}, ""),
        ((tier("small", make.spec(maxReplicas=1)), tier("large")), {}, ""),
        ((tier("small", make.spec(maxReplicas=1)), tier("large")), {"referenceTier": "small"}, reasons.MAX_REPLICAS),
    ],
    ids=["full", "can grow", "not there", "another one is full", "the reference tier is named"],
)
def test_pressure_says_what_keeps_the_reference_tier_from_growing(
    asked: Asked, seen: tuple[TierView, ...], fields: dict[str, Any], limited: str
) -> None:
    expected = PRESSURE.model_copy(update={"limited": limited})
    assert with_quality(PLAN, view(PRESSED, **fields), tiers(*seen), AT) == replace(
        PLAN, quality=MEASURED, pressure=expected
    )


def test_a_tier_of_another_namespace_is_not_the_reference_tier(asked: Asked) -> None:
    plan = with_quality(PLAN, view(PRESSED), {TierKey("other", "large"): FULL}, AT)
    assert plan.pressure == PRESSURE
    assert TierKey(NAMESPACE, "large") in tiers(FULL)


def test_pressure_is_told_where_quality_is_not_measured(asked: Asked) -> None:
    assert with_quality(PLAN, view(PRESSED, quality=None), {}, AT) == replace(PLAN, pressure=PRESSURE)
    assert asked.calls == []


def test_a_spec_that_cannot_be_used_keeps_quality_and_pressure(asked: Asked) -> None:
    status = ModelRouteStatus(quality=MEASURED, pressure=PRESSURE)
    given = view(FREE)
    broken = replace(given, route=replace(given.route, spec=None, invalid="no", status=status))
    assert with_quality(PLAN, broken, {}, AT) == replace(PLAN, quality=MEASURED, pressure=PRESSURE)
    assert asked.calls == []


@pytest.mark.parametrize(
    ("change", "cost"),
    [
        ({}, "-2.1"),
        ({"expected_quality": 95.6}, "0.0"),
        ({"expected_quality": None}, ""),
        ({"unpressed_quality": None}, ""),
        ({"expected_quality": None, "unpressed_quality": None}, ""),
    ],
)
def test_what_pressure_costs_is_never_a_gain_and_empty_where_it_is_not_known(
    change: dict[str, float | None], cost: str
) -> None:
    found = pressure_status(view(replace(PRESSED, **change)), reasons.ADVISORY)  # type: ignore[arg-type]
    assert found == PressureStatus(
        wanted_percent=40, applied_percent=21, quality_cost_points=cost, limited=reasons.ADVISORY
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"applied_share": 39.5}, True),
        ({"applied_share": 39.6}, False),
        ({"applied_share": 45.0}, False),
        ({"applied_share": None}, False),
        ({"wanted_share": None}, False),
    ],
)
def test_half_a_point_of_pressure_is_told_and_less_is_rounding(change: dict[str, float | None], told: bool) -> None:
    found = pressure_status(view(replace(PRESSED, **change)), "")  # type: ignore[arg-type]
    assert (found is not None) is told


def test_there_is_no_pressure_where_nobody_allows_it_or_no_router_says_so() -> None:
    given = view(PRESSED)
    assert pressure_status(view(PRESSED, pressure=None), "") is None
    assert pressure_status(view(), "") is None
    assert pressure_status(replace(given, route=replace(given.route, spec=None)), "") is None


# --- tiers that cannot grow ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "terminating", "reason"),
    [
        ("0/3 nodes have a free GPU", False, reasons.UNSCHEDULABLE),
        ("0/3 nodes have a free GPU", True, ""),
        ("", False, ""),
    ],
)
def test_a_tier_is_capped_by_a_replica_that_finds_no_node_and_is_wanted(
    message: str, terminating: bool, reason: str
) -> None:
    seen = tier("large")
    waiting = replace(make.pod("new", ready=False, terminating=terminating), unschedulable_message=message)
    (workload,) = seen.workloads
    assert why_capped(replace(seen, workloads=(replace(workload, pods=(*workload.pods, waiting)),))) == reason


def test_nothing_is_said_of_a_tier_that_is_not_understood_or_goes() -> None:
    for change in ({"spec": None}, {"deleting": True}):
        assert why_capped(replace(FULL, tier=replace(FULL.tier, **change))) == ""
    assert why_capped(external("bought")) == reasons.EXTERNAL


# --- the reference tier ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uses", "named", "expected"),
    [
        (("Always", "Always", "Overflow"), None, "b"),
        (("Always", "Overflow", "Overflow"), None, "a"),
        (("Overflow", "Overflow", "Overflow"), None, "c"),
        (("Always", "Always", "Overflow"), "a", "a"),
        (("Overflow", "Overflow", "Overflow"), "b", "b"),
    ],
)
def test_quality_is_measured_against_the_tier_that_is_named_or_the_last_that_is_always_used(
    uses: tuple[str, ...], named: str | None, expected: str
) -> None:
    listed = [{"name": name, "use": use} for name, use in zip("abc", uses, strict=True)]
    given: dict[str, Any] = {"tiers": listed} | ({"referenceTier": named} if named else {})
    assert ModelRouteSpec.model_validate(given).reference == expected
