"""Checks which classifiers a route uses, which share it takes from them, and that the rest is refused with a reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.routing.classifiers import classifier
from tierwise import reasons
from tierwise.routing.classifier import CurvePoint
from tierwise.routing.content import LEAST_LABELS, ActiveClassifier, Refusal, needed_share, usable
from tierwise.routing.route import ClassifierFile, Content, Decider, Route, RouteTier, Use
from tierwise.routing.score_window import WINDOW
from tierwise.routing.text_features import TextFacts
from tierwise.routing.tier_choice import CLASSIFIED, ContentChoice

SMALL, MIDDLE, LARGE = (RouteTier(name, "m", urls=("http://a",)) for name in ("small", "middle", "large"))
POLICY = Content(Decider.CLASSIFIER, classifier=ClassifierFile("c", 95))
ROUTE = Route("chat", ("chat",), (SMALL, MIDDLE, LARGE), "small", content=POLICY)
PROMISE: dict[str, Any] = {"route": "chat", "from_tier": "small", "reference_tier": "large", "labels": 500}
CURVE = tuple(
    CurvePoint(share_percent=share, quality_percent=quality, lower_percent=lower)
    for share, quality, lower in ((0, 80, 76), (20, 90, 86), (40, 95, 92), (60, 98, 96), (80, 99, 94), (100, 100, 100))
)


def judged(served: Route = ROUTE, **header: Any) -> ActiveClassifier | Refusal:
    given = {"quality_percent": 95, "large_share_percent": 40, "curve": CURVE, **PROMISE, **header}
    return usable(classifier(**given), served, "abc")


def reason(served: Route = ROUTE, **header: Any) -> str:
    found = judged(served, **header)
    return found.reason if isinstance(found, Refusal) else ""


def test_one_that_belongs_to_the_route_is_used_with_the_share_that_it_names() -> None:
    found = judged()
    assert isinstance(found, ActiveClassifier)
    assert (found.digest, found.needed_share, found.reason) == ("abc", 40, reasons.CLASSIFIER_SERVES)


@pytest.mark.parametrize(
    ("route", "header", "says"),
    [
        (ROUTE, {"route": "other"}, "trained for route 'other', and this is 'chat'"),
        (ROUTE, {"from_tier": "tiny"}, "no tier 'tiny' with use Always"),
        (ROUTE, {"reference_tier": "huge"}, "no tier 'huge' with use Always"),
        (replace(ROUTE, tiers=(SMALL, replace(LARGE, use=Use.OVERFLOW))), {}, "no tier 'large' with use Always"),
        (replace(ROUTE, tiers=(LARGE, SMALL)), {}, "'small' must stand before 'large'"),
        (ROUTE, {"reference_tier": "small"}, "must stand before"),
        (replace(ROUTE, content=replace(POLICY, reference_tier="middle")), {}, "referenceTier is middle"),
    ],
)
def test_one_of_another_route_or_of_other_tiers_is_refused(route: Route, header: dict[str, Any], says: str) -> None:
    found = judged(route, **header)
    assert isinstance(found, Refusal)
    assert found.reason == reasons.CLASSIFIER_MISFIT
    assert says in found.message


def test_the_reference_of_the_labels_may_be_said() -> None:
    assert reason(replace(ROUTE, content=replace(POLICY, reference_tier="large"))) == ""
    assert reason(reference_tier="middle") == ""


def test_fewer_than_300_labels_promise_nothing() -> None:
    assert reason(labels=LEAST_LABELS - 1) == reasons.TOO_FEW_LABELS
    assert reason(labels=LEAST_LABELS) == ""


@pytest.mark.parametrize("header", [{"large_share_percent": 100}, {"refusal": "the labels are noise"}])
def test_a_promise_that_is_not_kept_is_refused(header: dict[str, Any]) -> None:
    assert reason(**header) == reasons.PROMISE_NOT_KEPT


@pytest.mark.parametrize(
    ("wanted", "share"),
    [(95, 40), (94, 60), (96, None), (97, None), (86, 20), (80, 20), (76, 0), (50, 0)],
)
def test_for_another_quality_the_curve_is_walked_down_and_not_jumped_over(wanted: int, share: float | None) -> None:
    """At 80 % the lower bound is 94: whoever wants 96 cannot go below 100, though at 60 % it is 96 again."""
    header = classifier(quality_percent=95, large_share_percent=40, curve=CURVE, **PROMISE).header
    assert needed_share(header, wanted) == share
    found = judged(replace(ROUTE, content=replace(POLICY, classifier=ClassifierFile("c", wanted))))
    if share is None:
        assert isinstance(found, Refusal)
        assert found.reason == reasons.PROMISE_NOT_KEPT
    else:
        assert isinstance(found, ActiveClassifier)
        assert found.needed_share == share


@given(st.integers(50, 100), st.integers(50, 100))
def test_a_higher_quality_never_needs_a_smaller_share(one: int, other: int) -> None:
    header = classifier(quality_percent=49, large_share_percent=0, curve=CURVE, **PROMISE).header
    low, high = sorted((one, other))
    of = [100.0 if (share := needed_share(header, quality)) is None else share for quality in (low, high)]
    assert of[0] <= of[1]


# --- choosing --------------------------------------------------------------------------------------------------------


def chosen(found: ActiveClassifier, share: float, size: int = 40) -> str:
    choice = found.choose(b"a" * size, TextFacts(), share)
    assert choice.reason == CLASSIFIED
    assert not choice.bound
    return choice.tier


def test_the_whole_share_and_none_of_it() -> None:
    found = judged()
    assert isinstance(found, ActiveClassifier)
    assert (chosen(found, 100), chosen(found, 0)) == ("large", "small")
    assert found.choose(b"", TextFacts(), 100) == ContentChoice("large", CLASSIFIED)


def test_the_harder_half_goes_to_the_large_tier() -> None:
    """A classifier that knows only the length: the longer questions are the harder ones."""
    found = judged()
    assert isinstance(found, ActiveClassifier)
    sizes = [10 * (number * 37 % 100 + 1) for number in range(2_000)]
    tiers = [chosen(found, 50, size) for size in sizes][WINDOW:]
    large = [size for size, tier in zip(sizes[WINDOW:], tiers, strict=True) if tier == "large"]
    small = [size for size, tier in zip(sizes[WINDOW:], tiers, strict=True) if tier == "small"]
    assert len(large) / WINDOW == pytest.approx(0.5, abs=0.03)
    assert min(large) >= max(small) - 20


def test_it_says_so_when_the_traffic_has_shifted_and_another_route_with_the_same_file_remembers_it() -> None:
    found = judged()
    assert isinstance(found, ActiveClassifier)
    for _ in range(WINDOW):
        found.choose(b"a" * 100_000, TextFacts(), 40)
    assert found.reason == reasons.TRAFFIC_SHIFTED
    again = judged(replace(ROUTE, rules=()))
    assert isinstance(again, ActiveClassifier)
    assert again.reason == reasons.CLASSIFIER_SERVES
    assert again.after(found).reason == reasons.TRAFFIC_SHIFTED
    assert again.after(replace(found, digest="other")).reason == reasons.CLASSIFIER_SERVES
    assert again.after(None) is again


def test_what_is_predicted_follows_the_share() -> None:
    found = judged()
    assert isinstance(found, ActiveClassifier)
    assert found.predicted(40).quality_percent == 95
    assert found.predicted(30).lower_percent == pytest.approx(89)
