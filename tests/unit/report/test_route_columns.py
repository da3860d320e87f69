"""Checks what `kubectl get modelroutes` shows of traffic and money, and when that is worth a write."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import routes
from tests.builders.routes import spec
from tierwise.api.modelroute_status import BudgetStatus, LadderTier, ModelRouteStatus, RouterLease
from tierwise.report.route_columns import budget_spent, columns, share
from tierwise.report.route_throttle import should_write_route
from tierwise.types import RoutePlan, RouteSignals, RouteView

EMPTY = {
    "requests_per_second": "",
    "share": "",
    "cost_per_hour": "",
    "saved": "",
    "savings": None,
    "spent": "",
    "spill_cost": "",
    "waiting": None,
    "spilled": None,
    "fallbacks": None,
    "ttft_p95_seconds": "",
}


def shown(signals: RouteSignals, told: BudgetStatus | None = None, **fields: Any) -> dict[str, Any]:
    route = routes.route(given=spec("small", "large", **fields))
    ladder = tuple(
        LadderTier(name=name, use="Always", model="m", concurrency=1, keep_alive_seconds=4)
        for name in ("small", "large")
    )
    return columns(RouteView(route, signals=signals), RoutePlan(route.key, ladder, budget=told))


def test_what_is_not_known_is_empty() -> None:
    assert shown(RouteSignals()) == EMPTY


def test_a_route_without_requests_shows_that_there_are_none() -> None:
    idle = RouteSignals(0.0, {}, 0.0, 0.0, 0.0, 0.0, None)
    counts = {"waiting": 0, "spilled": 0, "fallbacks": 0}
    assert shown(idle) == {**EMPTY, **counts, "requests_per_second": "0", "cost_per_hour": "0.00"}


def test_figures_have_two_digits_that_say_something() -> None:
    busy = RouteSignals(12.53, {"small": 82.4, "large": 17.6}, 3.2549, 1234.0, 7.4, 0.2, 0.4321)
    assert shown(busy) == {
        "requests_per_second": "13",
        "share": "82/18",
        "cost_per_hour": "3.30",
        "saved": "",
        "savings": None,
        "spent": "",
        "spill_cost": "",
        "waiting": 1200,
        "spilled": 7,
        "fallbacks": 0,
        "ttft_p95_seconds": "0.43",
    }


def test_what_is_spent_stands_beside_the_budget() -> None:
    budget = BudgetStatus(period="2026-11-01T00:00:00Z", spent="12.345678")
    assert shown(RouteSignals(), budget, budget={"amount": "100"})["spent"] == "12.35/100"
    assert shown(RouteSignals(), None, budget={"amount": "100"})["spent"] == ""


@pytest.mark.parametrize(
    ("cost", "text"),
    [(None, ""), (0.0, "0"), (1.2341, "1.24"), (12.0, "12"), (0.0999, "0.0999"), (4.9951, "5"), (1234.0, "1240")],
)
def test_what_was_spilled_for_is_told_where_it_is_capped_and_never_too_small(cost: float | None, text: str) -> None:
    signals = RouteSignals(spill_cost=cost)
    assert shown(signals, overflow={"maxCostPerHour": "5"})["spill_cost"] == text
    assert shown(signals)["spill_cost"] == ""


@given(st.floats(0, 1e9))
def test_nothing_that_was_spilled_for_is_rounded_away(cost: float) -> None:
    text = shown(RouteSignals(spill_cost=cost), overflow={"maxCostPerHour": "5"})["spill_cost"]
    assert cost <= float(text) <= 1.011 * cost + 1e-6


WRITTEN_BY_HAND = ["", "much", "NaN", "-Infinity", "-1", "1e9999", "1e30", "12,5", "9" * 32]


@pytest.mark.parametrize("text", WRITTEN_BY_HAND)
def test_a_status_that_somebody_has_edited_is_not_known_and_hides_nothing_else(text: str) -> None:
    budget = BudgetStatus(period="2026-11-01T00:00:00 Nowhere", spent=text, left=text)
    told = shown(RouteSignals(requests_per_second=2.0), budget, budget={"amount": "100"})
    assert (told["spent"], told["requests_per_second"]) == ("", "2")
    route = routes.route(given=spec("small", budget={"amount": "100"}))
    assert not budget_spent(RouteView(route), RoutePlan(route.key, (), budget=budget))


@given(st.text(max_size=32), st.text(max_size=32))
def test_no_text_of_a_status_keeps_a_route_from_being_told_of(spent: str, left: str) -> None:
    budget = BudgetStatus(period="now", spent=spent, left=left)
    told = shown(RouteSignals(requests_per_second=2.0), budget, budget={"amount": "100"})
    assert told["requests_per_second"] == "2"
    route = routes.route(given=spec("small", budget={"amount": "100"}))
    assert budget_spent(RouteView(route), RoutePlan(route.key, (), budget=budget)) in (True, False)


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({}, ""),
        ({"gone": 5.0}, ""),
        ({"a": 0.0}, ""),
        ({"a": 1.0}, "100/0/0"),
        ({"a": 1.0, "b": 1.0, "c": 1.0}, "34/33/33"),
        ({"a": 82.0, "b": 15.0, "c": 3.0}, "82/15/3"),
        ({"a": 999.0, "c": 1.0}, "100/0/0"),
        ({"b": 1.0, "gone": 1.0}, "0/100/0"),
    ],
)
def test_the_share_stands_in_the_order_of_the_ladder(counts: dict[str, float], text: str) -> None:
    assert share(counts, ["a", "b", "c"]) == text


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8))
def test_the_shares_add_up_to_a_hundred_and_each_is_right_to_one_percent(counts: list[float]) -> None:
    text = share(
        {str(place): count for place, count in enumerate(counts)}, [str(place) for place in range(len(counts))]
    )
    if sum(counts) > 0:
        parts = list(map(int, text.split("/")))
        assert sum(parts) == 100
        assert all(abs(part - 100 * count / sum(counts)) <= 1 for part, count in zip(parts, counts, strict=True))


def status(**fields: Any) -> ModelRouteStatus:
    return ModelRouteStatus.model_validate({"state": "Ready", **fields})


def leased(amount: str = "1", spent: str = "0", expires: str = "later") -> dict[str, Any]:
    lease = RouterLease(router="a", amount=amount, spent=spent, expires=expires)
    return {"budget": BudgetStatus(period="now", spent=spent, leases=[lease])}


def test_nothing_is_written_for_an_equal_status() -> None:
    assert not should_write_route(status(), status(), None)


@pytest.mark.parametrize(
    "changed", [{"requestsPerSecond": "3"}, {"share": "90/10"}, {"waiting": 4}, {"spent": "1/2"}, {"saved": "3%"}]
)
def test_what_follows_the_load_waits(changed: dict[str, Any]) -> None:
    assert not should_write_route(status(), status(**changed), 14.9)
    assert should_write_route(status(), status(**changed), 15.0)
    assert should_write_route(status(), status(**changed), None)


def test_what_was_spent_waits_and_a_lease_does_not() -> None:
    assert not should_write_route(status(**leased()), status(**leased(spent="0.5")), 1.0)
    assert should_write_route(status(**leased()), status(**leased(amount="2")), 1.0)
    assert should_write_route(status(**leased()), status(**leased(expires="much later")), 1.0)
    assert should_write_route(status(), status(**leased()), 1.0)
    assert should_write_route(status(), status(state="Degraded"), 1.0)


@pytest.mark.parametrize(
    ("spent", "left", "is_spent"), [("94", "0", False), ("95", "0", True), ("99", "0.5", False), ("100", "0", True)]
)
def test_a_budget_is_spent_when_hardly_any_request_fits(spent: str, left: str, is_spent: bool) -> None:
    route = routes.route(given=spec("small", budget={"amount": "100"}))
    plan = RoutePlan(route.key, (), budget=BudgetStatus(period="now", spent=spent, left=left))
    assert budget_spent(RouteView(route), plan) is is_spent
    assert not budget_spent(RouteView(routes.route()), plan)
    assert not budget_spent(RouteView(route), RoutePlan(route.key, ()))
