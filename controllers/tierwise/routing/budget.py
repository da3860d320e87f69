"""Keeps spending within a budget: what is about to be spent is reserved before it is sent, and settled by usage.

Checking first and recording afterwards lets two hundred requests through where one would fit. A reservation counts
from the moment it is made, belongs to the period in which it was made, and is settled once. With several routers each
has a lease of its own (`tierwise.decide.leases`), so that together they cannot pass the budget. A lease names its
period: the one clock that says when a new one begins is the clock of whoever hands the leases out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from tierwise.routing.route import Budget

NOTHING = Decimal(0)


def period_start(at: datetime, budget: Budget) -> datetime:
    """The beginning of the calendar day or month that holds `at`, in the budget's time zone, as UTC."""
    local = at.astimezone(ZoneInfo(budget.time_zone)).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if budget.period == "Month":
        local = local.replace(day=1)
    return local.astimezone(UTC)


@dataclass(slots=True, eq=False)
class Reservation:
    """Money that a request may need. `period` is the account that it belongs to."""

    amount: Decimal
    period: datetime
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """What one router may spend in the period that began at `period`: `amount` US dollars since its beginning, until
    `expires`. `left` is what nobody has a lease for, so that more may come."""

    period: datetime
    amount: Decimal
    expires: datetime
    left: Decimal = NOTHING


class Account:
    """What is spent and reserved in the present period, against `allowance` US dollars."""

    def __init__(self, allowance: Decimal, period: datetime, spent: Decimal = NOTHING) -> None:
        self.allowance = allowance
        self.period = period
        self.spent = spent
        self.reserved = NOTHING

    def follow(self, lease: Lease | None) -> None:
        """Spend within this lease from now on; nothing without one, or with one of an earlier period: that is what was
        read late, and what was spent since is not in it."""
        if lease is not None:
            self.enter(lease.period)
        self.allowance = lease.amount if lease is not None and lease.period == self.period else NOTHING

    @property
    def left(self) -> Decimal:
        """What may still be reserved."""
        return max(NOTHING, self.allowance - self.spent - self.reserved)

    def enter(self, period: datetime) -> None:
        """A new period begins with nothing spent; an older one is ignored, whatever a clock says."""
        if period > self.period:
            self.period, self.spent, self.reserved = period, NOTHING, NOTHING

    def reserve(self, amount: Decimal) -> Reservation | None:
        """Set `amount` aside, or None where it does not fit any more."""
        if self.spent + self.reserved + amount > self.allowance or self.left <= 0:
            return None
        self.reserved += amount
        return Reservation(amount, self.period)

    def settle(self, reservation: Reservation, cost: Decimal) -> None:
        """Replace the reservation by what it cost; a second time changes nothing.

        A request that was reserved in an earlier period counted there: its reservation was spent money when that period
        ended."""
        if reservation.settled:
            return
        reservation.settled = True
        if reservation.period == self.period:
            self.reserved -= reservation.amount
            self.spent += cost


class HourlyCap:
    """Spending of the last hour, by minutes, against a cap: what spilling may cost. A minute counts until all of it is
    an hour ago, so that no hour has more than the cap, wherever it begins."""

    def __init__(self) -> None:
        self._minutes: dict[int, Decimal] = {}
        self._reserved = NOTHING

    def fits(self, now: float, amount: Decimal, cap: Decimal | None) -> bool:
        """Whether `amount` still fits. `now` in seconds of a clock that only grows."""
        return cap is None or self.spent(now) + self._reserved + amount <= cap

    def reserve(self, amount: Decimal) -> None:
        """Set `amount` aside."""
        self._reserved += amount

    def settle(self, now: float, reserved: Decimal, cost: Decimal) -> None:
        """Replace what was set aside by what it cost."""
        self._reserved -= reserved
        self._forget(now)
        minute = int(now // 60)
        self._minutes[minute] = self._minutes.get(minute, NOTHING) + cost

    def spent(self, now: float) -> Decimal:
        """US dollars of the last hour."""
        self._forget(now)
        return sum(self._minutes.values(), NOTHING)

    def _forget(self, now: float) -> None:
        oldest = int(now // 60) - 60
        for gone in [minute for minute in self._minutes if minute < oldest]:
            del self._minutes[gone]


class Told:
    """An amount of the last hour that somebody else has added up. One that does not change is of spending that grows
    older: after an hour it is nothing."""

    def __init__(self) -> None:
        self._amount: Decimal | None = None
        self._since = 0.0

    def hear(self, now: float, amount: Decimal | None) -> None:
        """What is told now; None where nothing is. `now` in seconds of a clock that only grows."""
        if amount != self._amount:
            self._amount, self._since = amount, now

    def amount(self, now: float) -> Decimal:
        """US dollars."""
        return NOTHING if self._amount is None or now - self._since >= 3600 else self._amount


def next_period(at: datetime, budget: Budget) -> datetime:
    """When the budget begins anew, as UTC."""
    start = period_start(at, budget)
    # 32 days later is in the next month, 36 hours later in the next day, whatever the clocks of the zone do.
    return period_start(start + (timedelta(days=32) if budget.period == "Month" else timedelta(hours=36)), budget)
