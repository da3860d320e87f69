"""Holds the money of a route while the router runs: the budget's account, and the cap of spilling.

What is spent is written down before it is spent: the file holds a mark that spending may not pass, and the mark is
moved on, and synced to the disk, before a request is sent that needs it. A router that is killed has then spent at most
what its file says, and counts that as spent when it starts again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from tierwise.routing.budget import Account, HourlyCap, Reservation, next_period, period_start
from tierwise.routing.cost import NOTHING
from tierwise.routing.route import Budget, Overflow

STEP = Decimal("0.01")
"""The mark is moved on by this share of the budget, so that a crash forfeits at most as much."""


@dataclass(slots=True, eq=False)
class Hold:
    """Money set aside for one attempt."""

    reservation: Reservation | None
    spill: Decimal | None


class Purse:
    """Of one route. `now` is the time of day, `monotonic` a clock that only grows; `path` None keeps nothing."""

    def __init__(
        self,
        budget: Budget | None,
        overflow: Overflow,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        path: Path | None = None,
    ) -> None:
        self._budget = budget
        self._overflow = overflow
        self._now = now
        self._monotonic = monotonic
        self._path = path
        self._mark = NOTHING
        self.cap = HourlyCap()
        self.account: Account | None = None
        if budget is not None:
            period = period_start(now(), budget)
            self._mark = _spent_before(path, period)
            self.account = Account(budget.amount, period, self._mark)

    def limit_spilling(self, overflow: Overflow) -> None:
        """The route says something else about spilling."""
        self._overflow = overflow

    def spill_fits(self, estimate: Decimal) -> bool:
        """Whether a spilled request of this cost is within the hour's cap."""
        return self.cap.fits(self._monotonic(), estimate, self._overflow.max_cost_per_hour)

    def hold(self, estimate: Decimal, spilled: bool) -> Hold | None:
        """Set `estimate` aside; None where the budget, or the cap of spilling, does not allow it.
        Raises OSError where what is spent cannot be written down."""
        if spilled and not self.spill_fits(estimate):
            return None
        reservation = None
        if self.account is not None and self._budget is not None and estimate:
            before = self.account.period
            self.account.enter(period_start(self._now(), self._budget))
            if self.account.period != before:
                self._mark = NOTHING  # what the file says is of the period before
            reservation = self.account.reserve(estimate)
            if reservation is None:
                return None
            self._write_ahead(self.account, self._budget)
        if spilled:
            self.cap.reserve(estimate)
        return Hold(reservation, estimate if spilled else None)

    def settle(self, hold: Hold, cost: Decimal) -> None:
        """Replace what was held by what it cost."""
        if self.account is not None and hold.reservation is not None:
            self.account.settle(hold.reservation, cost)
        if hold.spill is not None:
            self.cap.settle(self._monotonic(), hold.spill, cost)
            hold.spill = None

    def seconds_until_renewed(self) -> float:
        """Until the budget begins anew; 0 without one."""
        if self._budget is None:
            return 0.0
        now = self._now()
        return (next_period(now, self._budget) - now.astimezone(UTC)).total_seconds()

    def _write_ahead(self, account: Account, budget: Budget) -> None:
        needed = account.spent + account.reserved
        if self._path is None or needed <= self._mark:
            return
        self._mark = min(budget.amount, needed + budget.amount * STEP)
        text = json.dumps({"period": account.period.isoformat(), "spentUSD": format(self._mark, "f")})
        beside = self._path.with_name(self._path.name + ".new")
        with open(beside, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self._path)


def _spent_before(path: Path | None, period: datetime) -> Decimal:
    """What the file says was spent in this period. Raises OSError or ValueError where it cannot be read: a budget that
    forgets what is spent is none."""
    if path is None or not path.exists():
        return NOTHING
    values = json.loads(path.read_text(encoding="utf-8"))
    return Decimal(values["spentUSD"]) if datetime.fromisoformat(values["period"]) == period else NOTHING
