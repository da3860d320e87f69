"""Hands out a route's budget to its routers, in leases.

A router may have spent at most the amount of its lease since the period began. So what all of them can have spent is
the sum of the leases, whatever is lost on the way: a report that does not come, a status that is not written, a router
or an operator that starts again. The amounts stand in the route's status, which is all that is remembered, and four
rules keep their sum within the budget:

- More is leased only from what no lease has, and only to a router that has said what it spent of the one before.
- The lease of a router that is gone counts as spent, the whole of it: nobody knows what it did last.
- A lease becomes smaller only once it has run out and the router has said, after that, what it spent of it.
- A new period begins when this clock says so, never again for one that has passed. Routers follow the lease's period.

Leases are small, so that little is forfeited with a router: a hundredth of the budget for all together, or what the
dearest requests need, or what the present spending needs until the next renewal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal, InvalidOperation

from tierwise.api.modelroute import RouteBudget
from tierwise.api.modelroute_status import MOST_LEASES, BudgetStatus, BudgetTerms, RouterLease
from tierwise.routing.budget import period_start
from tierwise.routing.route import Budget
from tierwise.times import rfc3339, seconds
from tierwise.types import WalletReport

LEASE_SECONDS = 900.0
RENEW_SECONDS = 600.0
"""A lease that ends sooner than that is renewed."""
SKEW_SECONDS = 60.0
"""Clocks may differ by so much: a router may believe in a lease for so long after it has run out here."""
SHARE = 100
"""What all routers hold at least, as a part of the budget (one hundredth)."""
SMALLEST = Decimal("0.10")
"""US dollars of one router, so that a small budget lets a request through..."""
MOST_SHARE = 4
"""...if all of them together then hold no more than this part of it (a quarter)."""
GROWTH = 4
"""A lease lasts for so many times what was spent since the last renewal."""
LARGEST = 2
"""It covers so many of the dearest requests."""
LARGE = 2
"""A lease of which more than so many times what its router should hold is left is much too large."""
SHOWN_SHARE = 1000
"""What is spent is told again when it has grown by this part of the budget."""
NOTHING = Decimal(0)
_STEP = Decimal("0.000001")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Wallet:
    """One router: its lease, what it has spent as far as anybody knows, and how much it should be able to spend."""

    uid: str
    amount: Decimal
    spent: Decimal
    used: Decimal
    expires: float
    room: Decimal
    largest: Decimal
    at: float | None
    """When it said so; None when it has not said anything of this period."""

    @property
    def held(self) -> Decimal:
        """What counts against the budget: it may have cost more than it was estimated at."""
        return max(self.amount, self.spent)

    @property
    def large(self) -> bool:
        """Whether its lease is known to be much larger than it need be."""
        return self.at is not None and self.amount - self.used > LARGE * self.room


def renew(
    before: BudgetStatus | None,
    budget: RouteBudget,
    routers: Mapping[str, WalletReport | None],
    replicas: int,
    now: float,
) -> BudgetStatus:
    """The leases from now on. `routers`: by the UID of the pods that there are, what each says of its money (None:
    nothing is known); `now` in seconds since the epoch. Raises LookupError for a time zone that nobody knows."""
    total = Decimal(budget.amount)
    began = _began(before, budget, now)
    known = {} if before is None or seconds(before.period) != began else {one.router: one for one in before.leases}
    vanished = _money(before.vanished) if before is not None and seconds(before.period) == began else NOTHING
    vanished += sum(_held(lease) for uid, lease in known.items() if uid not in routers)
    base = _base(total, max(1, replicas))
    uids = sorted(routers, key=lambda uid: (uid not in known, uid))[:MOST_LEASES]
    wallets = [_wallet(uid, known.get(uid), routers[uid], base, began) for uid in uids]
    left = total - vanished - sum(one.held for one in wallets)
    wants = {one.uid: _wants(one) for one in wallets}
    given = _hand_out(wallets, wants, left)
    short = sum(wants.values()) > sum(given.values())
    leases = [_lease(one, known.get(one.uid), given[one.uid], short, now) for one in wallets]
    if _little_new(known, leases, total):
        leases = [known[one.router] for one in leases]
    held = sum(map(_held, leases))
    spent = vanished + sum(_money(one.spent) for one in leases)
    return BudgetStatus(
        period=rfc3339(began),
        spent=_text(spent),
        vanished=_text(vanished),
        left=_text(max(NOTHING, total - vanished - held)),
        leases=leases,
        terms=BudgetTerms(amount=budget.amount, period=budget.period, time_zone=budget.time_zone),
    )


def _began(before: BudgetStatus | None, budget: RouteBudget, now: float) -> float:
    """The start of the period that is counted. It never goes back: neither with a clock, nor with another kind of
    period that began earlier."""
    at = _EPOCH + timedelta(seconds=now)
    start = period_start(at, Budget(Decimal(budget.amount), budget.period, budget.time_zone)).timestamp()
    counted = None if before is None else seconds(before.period)
    return start if counted is None else max(start, counted)


def _base(total: Decimal, replicas: int) -> Decimal:
    """What a router holds that spends little."""
    return max(total / (SHARE * replicas), min(SMALLEST, total / (MOST_SHARE * replicas)))


def _wallet(uid: str, lease: RouterLease | None, report: WalletReport | None, base: Decimal, began: float) -> _Wallet:
    amount = NOTHING if lease is None else _money(lease.amount)
    spent = NOTHING if lease is None else _money(lease.spent)
    expires = (None if lease is None else seconds(lease.expires)) or float("-inf")
    if report is None or report.period != began:
        return _Wallet(uid, amount, spent, spent, expires, base, NOTHING, None)
    said = max(spent, report.spent)
    room = max(base, LARGEST * report.largest, GROWTH * (said - spent))
    wallet = _Wallet(uid, amount, said, said + report.reserved, expires, room, report.largest, report.at)
    if wallet.large and report.at > expires + SKEW_SECONDS:
        # It has spent nothing since its lease ran out, so what it says is all.
        return replace(wallet, amount=wallet.used)
    return wallet


def _wants(one: _Wallet) -> Decimal:
    """What must be added to its lease. Nothing while half of what it should hold is left, and nothing for a router that
    has a lease and says nothing."""
    remaining = one.amount - one.used
    enough = one.amount > 0 if one.at is None else 2 * remaining >= one.room
    return NOTHING if enough else (one.room - remaining).quantize(_STEP, ROUND_DOWN)


def _hand_out(wallets: Sequence[_Wallet], wants: Mapping[str, Decimal], left: Decimal) -> dict[str, Decimal]:
    """Who wants least first; each at most an equal share of what is then left, or else what one request needs."""
    given: dict[str, Decimal] = {}
    left = max(NOTHING, left)
    for place, one in enumerate(sorted(wallets, key=lambda one: (wants[one.uid], one.uid))):
        useful = one.largest - (one.amount - one.used)
        share = max(left / (len(wallets) - place), min(useful, left))
        given[one.uid] = min(wants[one.uid], share).quantize(_STEP, ROUND_DOWN)
        left -= given[one.uid]
    return given


def _lease(one: _Wallet, before: RouterLease | None, more: Decimal, short: bool, now: float) -> RouterLease:
    expires = one.expires
    # Where others go short, a lease that is much larger than it need be runs out, so that it can become smaller.
    resting = short and one.large
    if (more or before is None or expires - now < RENEW_SECONDS) and not resting:
        expires = max(expires, now + LEASE_SECONDS)
    amount = (one.amount + more).quantize(_STEP, ROUND_DOWN)
    return RouterLease(router=one.uid, amount=_text(amount), spent=_text(one.spent), expires=rfc3339(expires))


def _little_new(known: Mapping[str, RouterLease], leases: Sequence[RouterLease], total: Decimal) -> bool:
    """Whether nothing has changed but a little spending, which can be told later."""
    if {one.router for one in leases} != set(known):
        return False
    if any((one.amount, one.expires) != (known[one.router].amount, known[one.router].expires) for one in leases):
        return False
    grown = sum(_money(one.spent) - _money(known[one.router].spent) for one in leases)
    return grown < total / SHOWN_SHARE


def _held(lease: RouterLease) -> Decimal:
    return max(_money(lease.amount), _money(lease.spent))


def _money(text: str) -> Decimal:
    """Of a status. What is no number counts as nothing leased and nothing spent: it was not written by us."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return NOTHING
    return max(NOTHING, amount) if amount.is_finite() else NOTHING


def _text(amount: Decimal) -> str:
    """Six decimals, without zeros at the end."""
    return f"{amount.quantize(_STEP):f}".rstrip("0").rstrip(".")
