"""Checks when a route says that its routers are not measured, and that spending stops for it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.builders.routes import route, spec
from tests.unit.report.cases import NOW, pod
from tierwise import reasons
from tierwise.api.conditions import Condition
from tierwise.report.conditions import condition_update, merge
from tierwise.report.route_metrics_condition import metrics_available
from tierwise.types import PodFacts, RouteSignals, RouteView, WalletReport

SAID = WalletReport(NOW, NOW - 9, Decimal(0), Decimal(0), Decimal(0))
BUDGET = {"budget": {"amount": "10"}}


def routers(*names: str, **changes: Any) -> tuple[PodFacts, ...]:
    return tuple(pod(name, **{"ready_at": NOW - 600, **changes}) for name in names)


def before(status: str, reason: str, ago: float) -> dict[str, Any]:
    """A status in which this was said, since so many seconds."""
    said = condition_update(reasons.METRICS_AVAILABLE, status, reason)  # type: ignore[arg-type]
    return {"conditions": [each.model_dump(by_alias=True) for each in merge([], (said,), 1, NOW - ago)]}


LONG_AGO = before("False", reasons.ROUTERS_NOT_MEASURED, 999)


def view(
    *pods: PodFacts, heard: bool | None = True, money: bool = True, status: Any = LONG_AGO, **signals: Any
) -> RouteView:
    """A route that was silent before, unless `status` says otherwise."""
    given = spec("small", **(BUDGET if money else {}))
    return RouteView(route(given=given, status=status), pods=pods, signals=RouteSignals(heard=heard, **signals))


def verdict(found: RouteView) -> tuple[str, str, str]:
    said = metrics_available(found, NOW)
    assert said.type == reasons.METRICS_AVAILABLE
    return said.status, said.reason, said.message


def test_routers_that_all_say_what_they_spend_are_measured() -> None:
    found = view(*routers("r-0", "r-1"), wallets={"r-0": SAID, "r-1": SAID})
    assert verdict(found)[:2] == ("True", reasons.METRICS_OK)


def test_with_a_budget_each_router_must_say_it() -> None:
    found = view(*routers("r-0", "r-1"), wallets={"r-1": SAID}, waiting=0.0)
    status, reason, message = verdict(found)
    assert (status, reason) == ("False", reasons.ROUTERS_NOT_MEASURED)
    assert message.startswith("no fresh metrics from r-0")


def test_without_one_anything_that_is_heard_of_the_route_is_enough() -> None:
    assert verdict(view(*routers("r-0", "r-1"), money=False, waiting=0.0))[:2] == ("True", reasons.METRICS_OK)
    assert verdict(view(*routers("r-0", "r-1"), money=False))[:2] == ("False", reasons.ROUTERS_NOT_MEASURED)


def test_many_that_are_silent_are_counted() -> None:
    message = verdict(view(*routers(*"abcde")))[2]
    assert message.startswith("no fresh metrics from a, b, c and 2 more")


@pytest.mark.parametrize(("age", "expected"), [(44.0, "Unknown"), (45.0, "False")])
def test_a_new_router_is_no_fault(age: float, expected: str) -> None:
    new = routers("r-0", ready_at=NOW - age)
    assert verdict(view(*new))[0] == expected
    assert verdict(view(*new, *routers("r-1"), wallets={"r-1": SAID}))[0] == expected
    assert verdict(view(*new, *routers("r-1")))[0] == "False", "an old one is silent too"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, "Unknown"),
        (before("True", reasons.METRICS_OK, 999), "Unknown"),
        (before("Unknown", reasons.METRICS_PENDING, 44), "Unknown"),
        (before("Unknown", reasons.METRICS_PENDING, 45), "False"),
        (LONG_AGO, "False"),
    ],
)
def test_silence_is_a_fault_when_it_lasts(status: Any, expected: str) -> None:
    """A budget that was just given to old routers shows with the next scrape, and a scrape may fail."""
    assert verdict(view(*routers("r-0"), status=status))[0] == expected


@pytest.mark.parametrize("changes", [{"ready": False}, {"terminating": True}])
def test_who_takes_no_request_need_not_be_measured(changes: dict[str, Any]) -> None:
    assert verdict(view(*routers("r-0", **changes)))[:2] == ("Unknown", reasons.METRICS_NOT_NEEDED)
    assert verdict(view())[:2] == ("Unknown", reasons.METRICS_NOT_NEEDED)


def test_a_prometheus_that_does_not_answer_is_said_first() -> None:
    assert verdict(view(*routers("r-0"), heard=False))[:2] == ("False", reasons.PROMETHEUS_ERROR)


def test_before_anybody_has_asked_what_was_said_stands() -> None:
    found = view(*routers("r-0"), heard=None, status=None)
    assert verdict(found)[:2] == ("Unknown", reasons.METRICS_PENDING)
    said = condition_update(
        reasons.METRICS_AVAILABLE, "False", reasons.ROUTERS_NOT_MEASURED, "no fresh metrics from r-0"
    )
    conditions: list[Condition] = merge([], (said,), 1, NOW - 100)
    told = replace(found.route, status=found.route.status.model_copy(update={"conditions": conditions}))
    assert metrics_available(replace(found, route=told), NOW).reason == reasons.ROUTERS_NOT_MEASURED


@pytest.mark.parametrize(("budget", "reason"), [(None, reasons.METRICS_OK), ({"period": "now"}, "RoutersNotMeasured")])
def test_a_spec_that_is_not_understood_has_the_budget_that_is_leased(budget: Any, reason: str) -> None:
    status = {**LONG_AGO, **({"budget": budget} if budget else {})}
    ill = replace(route(status=status), spec=None, invalid="no")
    found = RouteView(ill, pods=routers("r-0"), signals=RouteSignals(heard=True, waiting=0.0))
    assert verdict(found)[1] == reason
