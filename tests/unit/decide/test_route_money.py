"""Checks whose leases a route's plan holds, and that no way through a cycle forgets what is spent."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.builders import routes
from tests.builders.routes import external, snapshot, spec
from tests.unit.decide import make
from tierwise.api.modelroute_status import BudgetStatus
from tierwise.decide import plan_routes
from tierwise.times import seconds
from tierwise.types import PodFacts, RouteObject, RoutePlan, RouteSignals, RouteView, WalletReport

BUDGET = {"amount": "100", "period": "Month"}


def pod(name: str, phase: str = "Running", **fields: Any) -> PodFacts:
    known = {"uid": f"uid-{name}", "phase": phase, "ready": True, "terminating": False, "scheduled": True}
    return PodFacts(name=name, **{**known, **fields})


def view(
    route: RouteObject | None = None, *pods: PodFacts, wallets: dict[str, WalletReport] | None = None, **given: Any
) -> RouteView:
    made = route or routes.route(given=spec("bought", **{"budget": BUDGET, **given}))
    return RouteView(made, pods=pods or (pod("a"), pod("b")), signals=RouteSignals(wallets=wallets or {}))


def planned(given: RouteView) -> RoutePlan:
    (plan,) = plan_routes(snapshot([external("bought")], given))
    return plan


def leased(plan: RoutePlan) -> dict[str, str]:
    assert plan.budget is not None
    return {lease.router: lease.amount for lease in plan.budget.leases}


def spent_before(amount: str = "7") -> dict[str, Any]:
    status = BudgetStatus(period="2026-11-01T00:00:00Z", spent=amount, vanished=amount)
    return {"budget": status.model_dump(by_alias=True)}


def later(plan: RoutePlan, given: RouteView, **changes: Any) -> RouteView:
    """The route as it is seen once its plan is told."""
    status = given.route.status.model_copy(update={"budget": plan.budget})
    return replace(given, route=replace(given.route, status=status, **changes))


def test_each_router_that_there_is_has_a_lease_by_the_uid_of_its_pod() -> None:
    ending = pod("b", terminating=True)
    plan = planned(view(None, pod("a"), ending, pod("c", "Failed"), pod("d", "Succeeded")))
    assert leased(plan) == {"uid-a": "0.5", "uid-b": "0.5"}
    assert plan.serve


def test_what_a_router_says_goes_to_the_lease_of_its_pod() -> None:
    first = view()
    plan = planned(first)
    assert plan.budget is not None
    began = seconds(plan.budget.period)
    assert began is not None
    report = WalletReport(make.NOW, began, Decimal("0.4"), Decimal(0), Decimal(0))
    told = later(plan, replace(first, signals=RouteSignals(wallets={"b": report})))
    assert leased(planned(told)) == {"uid-a": "0.5", "uid-b": "2"}


def test_without_a_budget_there_is_nothing_to_lease() -> None:
    assert planned(view(routes.route(given=spec("bought")))).budget is None
    assert planned(view(routes.route(given=spec("bought"), status=spent_before()))).budget is None


def test_a_spec_that_cannot_be_read_forgets_nothing() -> None:
    broken = routes.route(status=spent_before())
    plan = planned(view(replace(broken, spec=None, invalid="no")))
    assert plan.budget == broken.status.budget


NOWHERE = {**BUDGET, "timeZone": "Nowhere/At-All"}
ILL: dict[str, dict[str, Any]] = {
    "a spec that cannot be read": {"spec": None, "invalid": "no"},
    "a time zone that nobody knows": {"spec": spec("bought", budget=NOWHERE)},
}


@pytest.mark.parametrize("changes", ILL.values(), ids=ILL)
def test_while_a_spec_is_not_understood_the_leases_go_on_by_the_budget_that_was(changes: dict[str, Any]) -> None:
    """Or the external tiers would stop when the leases run out, a quarter of an hour later."""
    first = view()
    told = later(planned(first), first, **changes)
    assert told.route.status.budget is not None
    soon = plan_routes(replace(snapshot([external("bought")], told), at=make.NOW + 60))[0]
    assert soon.budget == told.route.status.budget, "nothing to renew yet"
    (late,) = plan_routes(replace(snapshot([external("bought")], told), at=make.NOW + 400))
    assert late.invalid is not None
    assert not late.serve
    assert late.budget is not None
    assert leased(late) == {"uid-a": "0.5", "uid-b": "0.5"}
    assert all((seconds(each.expires) or 0) == make.NOW + 1300 for each in late.budget.leases)
    began = seconds(late.budget.period)
    assert began is not None
    report = WalletReport(make.NOW, began, Decimal("0.4"), Decimal(0), Decimal(0))
    spending = planned(replace(told, signals=RouteSignals(wallets={"b": report})))
    assert leased(spending) == {"uid-a": "0.5", "uid-b": "2"}, "and grow by what is spent"


@pytest.mark.parametrize("terms", [None, {"amount": "x", "period": "Day", "timeZone": "UTC"}, NOWHERE])
def test_where_no_budget_was_understood_the_leases_stay_as_they_are(terms: dict[str, Any] | None) -> None:
    first = view()
    told = later(planned(first), first, spec=None, invalid="no")
    assert told.route.status.budget is not None
    said = {**told.route.status.budget.model_dump(by_alias=True), "terms": terms}
    spoilt = BudgetStatus.model_validate(said)
    status = told.route.status.model_copy(update={"budget": spoilt})
    (late,) = plan_routes(
        replace(
            snapshot([external("bought")], replace(told, route=replace(told.route, status=status))), at=make.NOW + 400
        )
    )
    assert late.failure == ""
    assert late.budget == spoilt


@pytest.mark.parametrize("changes", [{"deleting": True}, {"key": None}])
def test_a_route_that_is_deleted_or_not_accepted_goes_on_with_its_leases(changes: dict[str, Any]) -> None:
    first = view()
    told = later(planned(first), first)
    if "key" in changes:  # an older route has its name
        older = routes.route("older", spec("bought", modelNames=["chat"]), created_at=1.0)
        plans = plan_routes(snapshot([external("bought")], told, older))
        plan = next(each for each in plans if each.key == told.route.key)
        assert not plan.serve
    else:
        plan = planned(replace(told, route=replace(told.route, **changes)))
    assert leased(plan) == {"uid-a": "0.5", "uid-b": "0.5"}


def test_a_time_zone_that_nobody_knows_is_said_and_forgets_nothing() -> None:
    route = routes.route(given=spec("bought", budget={**BUDGET, "timeZone": "Nowhere/At-All"}), status=spent_before())
    plan = planned(view(route))
    assert plan.invalid == (
        "InvalidSpec",
        "budget.timeZone Nowhere/At-All is no IANA time zone, such as Europe/Berlin",
    )
    assert plan.serve is False
    assert plan.budget == route.status.budget


def test_another_reason_why_a_route_is_not_accepted_stays_the_first() -> None:
    route = routes.route(given=spec("bought", "gone", budget={**BUDGET, "timeZone": "Nowhere/At-All"}))
    plan = planned(view(route))
    assert plan.invalid is not None
    assert plan.invalid[0] == "TierNotFound"


def test_what_was_spent_by_routers_that_are_gone_stays_spent() -> None:
    first = view()
    told = later(planned(first), first)
    plan = planned(replace(told, pods=(pod("b"),)))
    assert plan.budget is not None
    assert (plan.budget.vanished, leased(plan)) == ("0.5", {"uid-b": "0.5"})
