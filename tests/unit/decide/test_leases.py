"""Checks that the leases of a route's routers stay within its budget, and that money is not held for nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tierwise.api.modelroute import RouteBudget
from tierwise.api.modelroute_status import BudgetStatus, RouterLease
from tierwise.decide.leases import LEASE_SECONDS, RENEW_SECONDS, SKEW_SECONDS, renew
from tierwise.times import rfc3339
from tierwise.types import WalletReport

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()
TODAY = datetime(2026, 11, 29, tzinfo=UTC).timestamp()


def budget(amount: str = "100", period: str = "Day", **more: Any) -> RouteBudget:
    return RouteBudget.model_validate({"amount": amount, "period": period, **more})


def says(
    spent: str, *, reserved: str = "0", largest: str = "0", at: float = NOON, period: float = TODAY
) -> WalletReport:
    return WalletReport(at, period, Decimal(spent), Decimal(reserved), Decimal(largest))


def amounts(status: BudgetStatus) -> dict[str, str]:
    return {lease.router: lease.amount for lease in status.leases}


def total(status: BudgetStatus) -> Decimal:
    return Decimal(status.vanished) + sum((Decimal(one.amount) for one in status.leases), Decimal(0))


def two() -> BudgetStatus:
    return renew(None, budget(), {"a": None, "b": None}, 2, NOON)


def test_each_router_gets_a_small_lease_at_once() -> None:
    status = two()
    assert amounts(status) == {"a": "0.5", "b": "0.5"}
    assert (status.period, status.spent, status.left) == ("2026-11-29T00:00:00Z", "0", "99")
    assert {one.expires for one in status.leases} == {rfc3339(NOON + LEASE_SECONDS)}


def test_of_a_small_budget_a_lease_still_lets_a_request_through_and_leaves_most_to_be_leased() -> None:
    status = renew(None, budget("1"), dict.fromkeys("abcd"), 4, NOON)
    assert set(amounts(status).values()) == {"0.0625"}
    assert status.left == "0.75"


def test_nothing_is_written_anew_while_nothing_happens() -> None:
    status = two()
    assert renew(status, budget(), {"a": None, "b": None}, 2, NOON + 10) == status
    assert renew(status, budget(), {"a": says("0.05"), "b": None}, 2, NOON + 10) == status


def test_a_router_that_says_nothing_gets_nothing_more() -> None:
    later = renew(two(), budget(), {"a": None, "b": None}, 2, NOON + LEASE_SECONDS)
    assert amounts(later) == {"a": "0.5", "b": "0.5"}
    assert {one.expires for one in later.leases} == {rfc3339(NOON + 2 * LEASE_SECONDS)}


def test_a_lease_is_renewed_before_it_runs_out() -> None:
    soon = NOON + LEASE_SECONDS - RENEW_SECONDS
    assert renew(two(), budget(), {"a": None, "b": None}, 2, soon) == two()
    later = renew(two(), budget(), {"a": None, "b": None}, 2, soon + 1)
    assert {one.expires for one in later.leases} == {rfc3339(soon + 1 + LEASE_SECONDS)}


def test_who_has_spent_half_of_a_lease_gets_more_and_the_spending_is_told() -> None:
    status = renew(two(), budget(), {"a": says("0.3"), "b": says("0.1")}, 2, NOON + 10)
    # Four times what was spent since: 1.2 dollars beyond what is spent.
    assert amounts(status) == {"a": "1.5", "b": "0.5"}
    assert (status.spent, status.left) == ("0.4", "98")


def test_what_is_set_aside_for_open_requests_needs_a_lease_too() -> None:
    status = renew(two(), budget(), {"a": says("0", reserved="0.4"), "b": None}, 2, NOON + 10)
    assert amounts(status)["a"] == "0.9"
    assert status.spent == "0"


def test_a_request_that_was_too_dear_for_a_lease_makes_it_larger() -> None:
    status = renew(two(), budget(), {"a": says("0", largest="3"), "b": None}, 2, NOON + 10)
    assert amounts(status)["a"] == "6"


def test_the_lease_of_a_router_that_is_gone_counts_as_spent() -> None:
    status = renew(two(), budget(), {"b": None, "c": None}, 2, NOON + 10)
    assert amounts(status) == {"b": "0.5", "c": "0.5"}
    assert (status.vanished, status.spent, status.left) == ("0.5", "0.5", "98.5")
    again = renew(status, budget(), {"b": None, "c": None}, 2, NOON + 20)
    assert again == status


def test_a_pod_that_comes_back_gets_a_lease_beside_the_one_that_counts_as_spent() -> None:
    gone = renew(two(), budget(), {"b": None}, 2, NOON + 10)
    back = renew(gone, budget(), {"a": says("0.4"), "b": None}, 2, NOON + 20)
    assert back.vanished == "0.5"
    assert Decimal(amounts(back)["a"]) > Decimal("0.4")


def test_what_cost_more_than_its_estimate_counts_whole() -> None:
    status = renew(two(), budget(), {"a": says("7"), "b": None}, 2, NOON + 10)
    gone = renew(status, budget(), {"b": None}, 2, NOON + 20)
    assert Decimal(gone.vanished) >= 7


def test_the_rest_is_shared_and_the_sum_never_passes_the_budget() -> None:
    status = renew(None, budget("1"), dict.fromkeys("abcd"), 4, NOON)
    spent = dict.fromkeys("abcd", Decimal(0))
    for step in range(1, 60):
        for uid in spent:
            spent[uid] = Decimal(amounts(status)[uid])  # each spends all it may
        reports = {uid: says(str(much), largest="0.0225", at=NOON + 10 * step) for uid, much in spent.items()}
        status = renew(status, budget("1"), reports, 4, NOON + 10 * step)
        assert total(status) <= 1
    assert sum(spent.values()) == 1
    assert (status.left, status.spent) == ("0", "1")


def test_what_is_left_for_one_request_goes_to_one_router() -> None:
    lease = [RouterLease(router=uid, amount="0.49", spent="0.49", expires=rfc3339(NOON + 900)) for uid in "ab"]
    before = BudgetStatus(period=rfc3339(TODAY), spent="0.98", left="0.02", leases=lease)
    reports: dict[str, WalletReport | None] = {uid: says("0.49", largest="0.018") for uid in "ab"}
    assert amounts(renew(before, budget("1"), reports, 2, NOON)) == {"a": "0.508", "b": "0.492"}


def test_a_lease_that_is_much_too_large_runs_out_where_others_go_short_and_becomes_small() -> None:
    def lease(uid: str, amount: str, spent: str) -> RouterLease:
        return RouterLease(router=uid, amount=amount, spent=spent, expires=rfc3339(NOON + 300))

    before = BudgetStatus(period=rfc3339(TODAY), spent="52", leases=[lease("a", "50", "2"), lease("b", "50", "50")])

    def at(seconds: float, spent: str = "2") -> BudgetStatus:
        reports: dict[str, WalletReport | None] = {
            uid: says(said, at=NOON + seconds) for uid, said in (("a", spent), ("b", "50"))
        }
        return renew(before, budget(), reports, 2, NOON + seconds)

    for seconds in (0, 299, 301, 300 + SKEW_SECONDS):
        (fat, _) = at(seconds).leases
        assert (fat.amount, fat.expires) == ("50", rfc3339(NOON + 300)), seconds
    fat, thin = at(301 + SKEW_SECONDS).leases
    assert (fat.amount, fat.expires) == ("2.5", rfc3339(NOON + 301 + SKEW_SECONDS + LEASE_SECONDS))
    assert Decimal(thin.amount) > 50
    assert total(at(301 + SKEW_SECONDS)) <= 100


def test_a_report_from_before_a_lease_ran_out_makes_it_no_smaller() -> None:
    large = RouterLease(router="a", amount="100", spent="2", expires=rfc3339(NOON))
    before = BudgetStatus(period=rfc3339(TODAY), spent="2", leases=[large])
    after = renew(before, budget(), {"a": says("2", at=NOON + SKEW_SECONDS)}, 1, NOON + 3600)
    assert amounts(after) == {"a": "100"}


def test_a_new_day_begins_with_nothing_spent_and_with_new_leases() -> None:
    status = renew(two(), budget(), {"a": says("0.3"), "c": None}, 2, NOON + 10)
    tomorrow = renew(status, budget(), {"a": says("0.3"), "c": None}, 2, NOON + 86400)
    assert amounts(tomorrow) == {"a": "0.5", "c": "0.5"}
    assert (tomorrow.period, tomorrow.spent, tomorrow.vanished) == ("2026-11-30T00:00:00Z", "0", "0")


def test_what_a_router_says_of_another_period_is_not_of_this_one() -> None:
    status = renew(two(), budget(), {"a": says("90", period=TODAY - 86400), "b": None}, 2, NOON + 10)
    assert status == two()


@pytest.mark.parametrize("back", [-3600.0, -86400.0, -86400.0 * 40])
def test_a_clock_that_goes_back_begins_no_period_again(back: float) -> None:
    status = renew(two(), budget(), {"a": says("0.3"), "b": None}, 2, NOON + back)
    assert (status.period, status.spent) == ("2026-11-29T00:00:00Z", "0.3")


def test_a_period_that_is_made_longer_forgets_nothing() -> None:
    status = renew(two(), budget(), {"a": says("0.3"), "b": None}, 2, NOON + 10)
    month = renew(status, budget(period="Month"), {"a": says("0.3"), "b": None}, 2, NOON + 20)
    assert month.spent == "0.3"
    december = renew(month, budget(period="Month"), {"a": None, "b": None}, 2, NOON + 5 * 86400)
    assert (december.period, december.spent) == ("2026-12-01T00:00:00Z", "0")


def test_a_budget_that_is_made_smaller_than_its_leases_hands_out_nothing_more() -> None:
    status = renew(two(), budget("0.7"), {"a": says("0.5"), "b": None}, 2, NOON + 10)
    assert amounts(status) == {"a": "0.5", "b": "0.5"}
    assert status.left == "0"


@pytest.mark.parametrize("period", ["yesterday", rfc3339(TODAY)])
@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-3", "much"])
def test_a_status_that_was_not_written_by_us_does_no_harm(period: str, amount: str) -> None:
    leases = [RouterLease(router="a", amount=amount, spent="x", expires="soon")]
    before = BudgetStatus(period=period, spent="?", vanished="-5", left="", leases=leases)
    status = renew(before, budget(), {"a": None}, 1, NOON)
    assert (amounts(status), status.vanished) == ({"a": "1"}, "0")
    assert status.leases[0].expires == rfc3339(NOON + LEASE_SECONDS)


def test_a_time_zone_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(LookupError):
        renew(None, budget(timeZone="Nowhere/At-All"), {}, 1, NOON)


def lease(uid: str, amount: str, spent: str = "0", expires: float = NOON + 900) -> RouterLease:
    return RouterLease(router=uid, amount=amount, spent=spent, expires=rfc3339(expires))


def told(*leases: RouterLease, **fields: Any) -> BudgetStatus:
    return BudgetStatus(period=rfc3339(TODAY), leases=list(leases), **fields)


def test_amounts_are_rounded_down_so_that_their_sum_never_grows() -> None:
    status = renew(None, budget("200"), dict.fromkeys("abc"), 3, NOON)
    assert amounts(status) == dict.fromkeys("abc", "0.666666")
    assert status.left == "198.000002"
    shrunk = renew(told(lease("a", "90", expires=NOON)), budget("200"), {"a": says("0", at=NOON + 61)}, 3, NOON + 61)
    assert amounts(shrunk) == {"a": "0.666666"}


def test_half_of_what_a_router_should_hold_is_enough_and_less_is_not() -> None:
    before = told(lease("a", "1"))
    for reserved, amount in (("0.5", "1"), ("0.500001", "1.500001")):
        after = renew(before, budget(), {"a": says("0", reserved=reserved)}, 1, NOON)
        assert amounts(after) == {"a": amount}


def test_a_lease_that_becomes_larger_is_renewed_as_well() -> None:
    before = told(lease("a", "1", expires=NOON + 700))
    after = renew(before, budget(), {"a": says("0.9")}, 1, NOON)
    assert after.leases[0].expires == rfc3339(NOON + LEASE_SECONDS)


def test_a_lease_that_runs_longer_than_ours_do_stays_as_it_is() -> None:
    before = told(lease("a", "1", expires=NOON + 7200))
    after = renew(before, budget(), {"a": says("0.9")}, 1, NOON)
    assert after.leases[0].expires == rfc3339(NOON + 7200)


@pytest.mark.parametrize(
    ("spent", "others", "renewed"),
    [("10", "1", True), ("10", "89.5", False), ("87", "2", True), ("86.999", "2.5", False)],
    ids=["large, and there is enough", "large, and others go short", "twice what it needs", "a little more than that"],
)
def test_only_a_large_lease_is_not_renewed_and_only_where_others_go_short(
    spent: str, others: str, renewed: bool
) -> None:
    gone = "9" if others != "1" else "0"
    before = told(lease("a", "89", spent, NOON + 100), lease("b", others, others, NOON + 100), vanished=gone)
    after = renew(before, budget(), {"a": says(spent), "b": says(others, largest="1")}, 1, NOON)
    assert (after.leases[0].expires == rfc3339(NOON + LEASE_SECONDS)) is renewed
    assert after.leases[0].amount == "89"


def test_a_large_lease_of_a_router_that_says_nothing_is_renewed_all_the_same() -> None:
    before = told(lease("a", "90", "1", NOON + 100), lease("b", "10", "10", NOON + 100))
    after = renew(before, budget(), {"a": None, "b": says("10")}, 2, NOON)
    assert {one.expires for one in after.leases} == {rfc3339(NOON + LEASE_SECONDS)}


def test_who_wants_least_is_served_first_and_the_rest_is_shared() -> None:
    before = told(lease("a", "1", "1"), lease("b", "1", "1"), lease("c", "1", "0.9"))
    reports: dict[str, WalletReport | None] = {
        "a": says("1", largest="5"), "b": says("1", largest="4"), "c": says("0.9", largest="0.3")
    }  # fmt: skip
    after = renew(before, budget("9.5"), reports, 3, NOON)
    # c wants 0.5; of the 6 that are left then, b and a get 3 each, and what one request needs.
    assert amounts(after) == {"a": "3", "b": "5", "c": "1.5"}
    assert after.left == "0"


def test_a_tenth_of_a_percent_of_the_budget_is_told_and_less_waits() -> None:
    before = told(lease("a", "1", "0.2"), spent="0.2")
    for spent, shown in (("0.299", "0.2"), ("0.3", "0.3")):
        assert renew(before, budget(), {"a": says(spent, largest="0")}, 1, NOON).spent == shown


def test_what_was_spent_in_a_status_never_falls() -> None:
    before = told(lease("a", "10", "4"), vanished="3", spent="7")
    after = renew(before, budget(), {"a": says("1"), "b": None}, 2, NOON)
    assert (after.spent, after.vanished) == ("7", "3")


def test_more_routers_than_a_status_can_hold_get_no_lease_and_those_that_have_one_keep_it() -> None:
    many: dict[str, WalletReport | None] = {f"pod-{number:03d}": None for number in range(80)}
    old = told(lease("pod-079", "1"))
    after = renew(old, budget(), many, 20, NOON)
    assert len(after.leases) == 64
    assert after.leases[0].router == "pod-079"


def test_a_route_without_replicas_is_no_error() -> None:
    assert amounts(renew(None, budget(), {"a": None}, 0, NOON)) == {"a": "1"}


def test_a_router_that_has_used_up_its_lease_and_says_nothing_gets_nothing_more() -> None:
    after = renew(told(lease("a", "1", "0.9")), budget(), {"a": None}, 1, NOON)
    assert amounts(after) == {"a": "1"}


def test_what_is_left_is_shared_evenly_and_rounded_down() -> None:
    after = renew(told(vanished="0.8"), budget("1"), dict.fromkeys("abc"), 1, NOON)
    assert amounts(after) == {"a": "0.066666", "b": "0.066667", "c": "0.066667"}
    assert after.left == "0"


def test_a_router_gets_what_its_dearest_request_lacks_and_no_more_where_little_is_left() -> None:
    before = told(lease("a", "0.49", "0.48"), lease("b", "0.49", "0.48"), vanished="0.01")
    reports: dict[str, WalletReport | None] = {uid: says("0.48", largest="0.018") for uid in "ab"}
    assert amounts(renew(before, budget("1"), reports, 2, NOON)) == {"a": "0.498", "b": "0.492"}


def test_a_lease_that_becomes_smaller_is_rounded_down() -> None:
    before = told(lease("a", "90", "1", NOON))
    after = renew(before, budget(), {"a": says("1.0000006", at=NOON + 61)}, 1, NOON + 61)
    assert amounts(after) == {"a": "2"}
