"""Holds the money of a route while the router runs: the budget's account, and the cap of spilling.

A router alone may spend the whole budget. One of several spends within its lease, which the operator renews; without
one it spends nothing. What is spent is written down before it is spent: the file holds a mark that spending may not
pass, and the mark is moved on, and synced to the disk, before a request is sent that needs it. A router that is killed
has then spent at most what its file says, and counts that as spent when it starts again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from tierwise.routing.budget import Account, HourlyCap, Lease, Reservation, Told, next_period, period_start
from tierwise.routing.cost import NOTHING
from tierwise.routing.route import Budget, Overflow

STEP = Decimal("0.01")
"""The mark is moved on by this share of the budget, so that a crash forfeits at most as much..."""
LEASE_STEP = Decimal("0.1")
"""...or by this share of what is left of the lease."""
RECENT_SECONDS = 300.0
RETRY_SECONDS = 15.0
LONGEST_RETRY_SECONDS = 120.0
"""Clients of OpenAI's libraries give up when they are told to wait for longer."""
_NO_PERIOD = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True, eq=False)
class Hold:
    """Money set aside for one attempt."""

    reservation: Reservation | None
    spill: Decimal | None


class Purse:
    """Of one route. `now` is the time of day, `monotonic` a clock that only grows; `path` None keeps nothing.

    `leased`: it spends within leases (`follow`), not within the budget."""

    def __init__(
        self,
        budget: Budget | None,
        overflow: Overflow,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        path: Path | None = None,
        *,
        leased: bool = False,
    ) -> None:
        self._budget = budget
        self._overflow = overflow
        self._now = now
        self._monotonic = monotonic
        self._path = path
        self._lease: Lease | None = None
        self.leased = leased
        self._largest = _Largest()
        self.cap = HourlyCap()
        self.spilled = NOTHING
        """US dollars that spilled requests have ever cost here."""
        self._spilled_by_all = Told()
        self._account: Account | None = None
        self._mark = NOTHING
        if leased:
            period, self._mark = _written(path) or (_NO_PERIOD, NOTHING)
            self._account = Account(NOTHING, period, self._mark)
        elif budget is not None:
            period = period_start(now(), budget)
            written = _written(path)
            self._mark = written[1] if written is not None and written[0] == period else NOTHING
            self._account = Account(budget.amount, period, self._mark)

    @property
    def account(self) -> Account | None:
        """What is spent and set aside; None without a budget."""
        return self._account if self._budget is not None else None

    @property
    def largest(self) -> Decimal:
        """The dearest estimate of the last minutes, also of a request that was refused."""
        return self._largest.of(self._monotonic())

    def serve(self, budget: Budget | None, overflow: Overflow) -> None:
        """The route says something else of its money. A budget of its own (without leases) stays as it was."""
        self._overflow = overflow
        if self.leased:
            self._budget = budget

    def follow(self, lease: Lease | None) -> None:
        """Spend within this lease from now on; nothing without one."""
        self._lease = lease
        if self.leased and self._account is not None:
            before = self._account.period
            self._account.follow(lease)
            self._entered(before, self._account)

    def spill_fits(self, estimate: Decimal) -> bool:
        """Whether a spilled request of this cost is within the hour's cap: this router's part of it, and the whole."""
        now, whole = self._monotonic(), self._overflow.max_cost_of_all
        mine = self.cap.fits(now, estimate, self._overflow.max_cost_per_hour)
        return mine and (whole is None or self._spilled_by_all.amount(now) + estimate <= whole)

    def hear_spilled(self, amount: Decimal | None) -> None:
        """What the spilled requests of all routers have cost in the last hour, those included that are gone; None where
        nobody knows."""
        self._spilled_by_all.hear(self._monotonic(), amount)

    def hold(self, estimate: Decimal, spilled: bool) -> Hold | None:
        """Set `estimate` aside; None where the budget, or the cap of spilling, does not allow it.
        Raises OSError where what is spent cannot be written down."""
        if spilled and not self.spill_fits(estimate):
            return None
        reservation = None
        if self.account is not None and self._budget is not None and estimate:
            self._largest.seen(self._monotonic(), estimate)
            reservation = self._reserve(self.account, self._budget, estimate)
            if reservation is None:
                return None
        if spilled:
            self.cap.reserve(estimate)
        return Hold(reservation, estimate if spilled else None)

    def settle(self, hold: Hold, cost: Decimal) -> None:
        """Replace what was held by what it cost."""
        if self._account is not None and hold.reservation is not None:
            self._account.settle(hold.reservation, cost)
            if cost > hold.reservation.amount:
                with suppress(OSError):  # the next request that needs money hears of it
                    self._write_ahead(self._account, NOTHING)
        if hold.spill is not None:
            self.cap.settle(self._monotonic(), hold.spill, cost)
            self.spilled += cost
            hold.spill = None

    def refusal(self) -> tuple[float, bool]:
        """After how many seconds it is worth to ask again, and whether asking before that is not."""
        if self._budget is None:
            return 0.0, False
        now = self._now()
        lease = self._lease
        if self.leased and (lease is None or lease.expires <= now or lease.left > 0):
            return RETRY_SECONDS, False  # the operator is about to renew it
        return min(LONGEST_RETRY_SECONDS, (next_period(now, self._budget) - now.astimezone(UTC)).total_seconds()), True

    def _reserve(self, account: Account, budget: Budget, estimate: Decimal) -> Reservation | None:
        now = self._now()
        step = budget.amount * STEP
        if self.leased:
            if self._lease is None or self._lease.expires <= now:
                return None
            step = account.left * LEASE_STEP
        else:
            before = account.period
            account.enter(period_start(now, budget))
            self._entered(before, account)
        reservation = account.reserve(estimate)
        if reservation is not None:
            try:
                self._write_ahead(account, step)
            except OSError:
                account.settle(reservation, NOTHING)
                raise
        return reservation

    def _entered(self, before: datetime, account: Account) -> None:
        if account.period != before:
            self._mark = NOTHING  # what the file says is of the period before

    def _write_ahead(self, account: Account, step: Decimal) -> None:
        needed = account.spent + account.reserved
        if self._path is None or needed <= self._mark:
            return
        mark = max(needed, min(account.allowance, needed + step))
        text = json.dumps({"period": account.period.isoformat(), "spentUSD": format(mark, "f")})
        beside = self._path.with_name(self._path.name + ".new")
        with open(beside, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self._path)
        self._mark = mark


class _Largest:
    """The largest amount of the last minutes: of the present ones, and of as many before."""

    def __init__(self) -> None:
        self._since = 0.0
        self._present = self._before = NOTHING

    def seen(self, now: float, amount: Decimal) -> None:
        self.of(now)
        self._present = max(self._present, amount)

    def of(self, now: float) -> Decimal:
        if now - self._since >= RECENT_SECONDS:
            recent = now - self._since < 2 * RECENT_SECONDS
            self._before = self._present if recent else NOTHING
            self._present, self._since = NOTHING, now
        return max(self._present, self._before)


def _written(path: Path | None) -> tuple[datetime, Decimal] | None:
    """The period in the file, and what was spent in it. Raises OSError or ValueError where it cannot be read: a budget
    that forgets what is spent is none."""
    if path is None or not path.exists():
        return None
    values = json.loads(path.read_text(encoding="utf-8"))
    return datetime.fromisoformat(values["period"]), Decimal(values["spentUSD"])
