"""Checks that a router spends within its lease, and that what it spent is known when it starts again."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tierwise.routing.budget import Lease
from tierwise.routing.route import Budget, Overflow
from tierwise_router.purse import Purse


def leased(path: Path | None = None) -> tuple[Purse, list[datetime]]:
    now = [datetime(2026, 11, 1, 12, tzinfo=UTC)]
    purse = Purse(Budget(Decimal(10), "Day"), Overflow(), lambda: now[0], lambda: now[0].timestamp(), path, leased=True)
    return purse, now


def a_lease(amount: str, day: int = 1, **more: Decimal) -> Lease:
    return Lease(
        datetime(2026, 11, day, tzinfo=UTC), Decimal(amount), datetime(2026, 11, day, 12, 15, tzinfo=UTC), **more
    )


def test_a_lease_that_has_run_out_is_worth_nothing() -> None:
    purse, now = leased()
    purse.follow(a_lease("1"))
    assert purse.hold(Decimal("0.1"), spilled=False) is not None
    now[0] = datetime(2026, 11, 1, 12, 15, tzinfo=UTC)
    assert purse.hold(Decimal("0.1"), spilled=False) is None
    assert purse.refusal() == (15.0, False)


def test_a_new_day_begins_with_its_lease_and_an_older_lease_does_not_come_back() -> None:
    purse, now = leased()
    purse.follow(a_lease("1"))
    old = purse.hold(Decimal(1), spilled=False)
    assert old is not None
    now[0] = datetime(2026, 11, 2, 12, tzinfo=UTC)
    purse.follow(a_lease("2", day=2))
    purse.settle(old, Decimal("0.5"))
    assert purse.account is not None
    assert (purse.account.spent, purse.account.reserved) == (Decimal(0), Decimal(0))
    assert purse.hold(Decimal(2), spilled=False) is not None
    purse.follow(a_lease("9"))
    assert purse.account.allowance == 0


def test_what_a_killed_router_may_have_spent_of_its_lease_counts_when_it_starts_again(tmp_path: Path) -> None:
    path = tmp_path / "spent"
    purse, _ = leased(path)
    purse.follow(a_lease("1"))
    for _ in range(4):
        assert purse.hold(Decimal("0.2"), spilled=False) is not None
    again, _ = leased(path)
    again.follow(a_lease("1"))
    assert again.account is not None
    assert Decimal("0.8") <= again.account.spent <= Decimal("0.84")
    assert again.hold(Decimal("0.2"), spilled=False) is None
    tomorrow, now = leased(path)
    now[0] = datetime(2026, 11, 2, 12, tzinfo=UTC)
    tomorrow.follow(a_lease("1", day=2))
    assert tomorrow.hold(Decimal(1), spilled=False) is not None


def test_an_answer_that_cost_more_than_was_set_aside_is_written_down_as_well(tmp_path: Path) -> None:
    purse, _ = leased(tmp_path / "spent")
    purse.follow(a_lease("1"))
    hold = purse.hold(Decimal("0.1"), spilled=False)
    assert hold is not None
    purse.settle(hold, Decimal("0.9"))
    again, _ = leased(tmp_path / "spent")
    assert again.account is not None
    assert again.account.spent >= Decimal("0.9")


def test_money_that_cannot_be_written_down_is_not_kept_aside_for_ever(tmp_path: Path) -> None:
    purse, _ = leased(tmp_path / "no folder" / "spent")
    purse.follow(a_lease("1"))
    with pytest.raises(OSError, match="no folder"):
        purse.hold(Decimal("0.1"), spilled=False)
    assert purse.account is not None
    assert purse.account.reserved == 0


def test_a_route_without_a_budget_needs_no_lease_and_one_that_gets_a_budget_does() -> None:
    purse, _ = leased()
    purse.serve(None, Overflow())
    assert purse.account is None
    assert purse.hold(Decimal(100), spilled=False) is not None
    purse.serve(Budget(Decimal(10), "Day"), Overflow())
    assert purse.hold(Decimal("0.01"), spilled=False) is None


def test_the_dearest_estimate_is_known_for_some_minutes() -> None:
    purse, now = leased()
    purse.hold(Decimal(3), spilled=False)
    purse.hold(Decimal(1), spilled=False)
    for minutes, largest in ((0, 3), (4, 3), (9, 3), (16, 0)):
        now[0] = datetime(2026, 11, 1, 12, minutes, tzinfo=UTC)
        assert purse.largest == largest, minutes


# --- the cap of spilling --------------------------------------------------------------------------------------------


def spilling() -> Purse:
    """One of two routers under a cap of two dollars an hour."""
    overflow = Overflow(max_cost_per_hour=Decimal(1), max_cost_of_all=Decimal(2))
    return Purse(None, overflow, lambda: datetime(2026, 11, 29, tzinfo=UTC), lambda: 100.0)


def test_a_router_that_replaces_another_spills_for_no_more_than_the_hour_has_left() -> None:
    new = spilling()
    assert new.spill_fits(Decimal(1)), "alone it knows nothing of the others"
    new.hear_spilled(Decimal("1.5"))
    assert new.spill_fits(Decimal("0.5"))
    assert not new.spill_fits(Decimal("0.51"))
    assert new.hold(Decimal("0.51"), spilled=True) is None
    new.hear_spilled(Decimal(2))
    assert not new.spill_fits(Decimal("0.01"))
    new.hear_spilled(None)
    assert new.spill_fits(Decimal(1)), "where nobody knows it goes on with its part"


def test_its_own_part_is_kept_whatever_is_told() -> None:
    purse = spilling()
    purse.hear_spilled(Decimal(0))
    hold = purse.hold(Decimal("0.8"), spilled=True)
    assert hold is not None
    assert not purse.spill_fits(Decimal("0.21"))
    purse.settle(hold, Decimal("0.7"))
    assert purse.spilled == Decimal("0.7")
    assert not purse.spill_fits(Decimal("0.31"))
    other = purse.hold(Decimal("0.1"), spilled=False)
    assert other is not None
    purse.settle(other, Decimal("0.1"))
    assert purse.spilled == Decimal("0.7"), "what did not spill is no part of it"
