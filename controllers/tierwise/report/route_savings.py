"""Says in the status of a route what it has saved.

The figures are `tierwise.routing.savings`'; here they are rounded. Levels are rounded and parts are their differences,
so that what is shown adds up too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal

from tierwise.api.external import TokenPrices
from tierwise.api.modelroute_status import LadderTier
from tierwise.api.savings_status import MOST_NOTES, SavedPart, SavingsStatus
from tierwise.routing.route import Tariff, TokenRates
from tierwise.routing.savings import NoSavings, PricedTier, Savings, savings
from tierwise.text_sanitize import truncate
from tierwise.types import RoutePlan, RouteView

DIGITS = 4
_NOTE = 256
_LEAST_PERCENT = -999  # more digits would say no more: ten times as much was paid, or more


def route_savings(view: RouteView, plan: RoutePlan) -> SavingsStatus | None:
    """What the route has saved in the last hour, or why that is not known; None while nothing is measured of it."""
    spec, work = view.route.spec, view.signals.work
    if spec is None or work is None:
        return None
    reference = spec.reference
    found = savings(work, [priced(tier) for tier in plan.ladder], reference)
    if isinstance(found, NoSavings):
        return SavingsStatus(
            reference_tier=reference, window_seconds=work.window_seconds, notes=[truncate(found.why, _NOTE)]
        )
    return savings_status(found)


def priced(tier: LadderTier) -> PricedTier:
    """A tier of the ladder as far as its price goes."""
    hour = None if tier.replica_hour is None else Decimal(tier.replica_hour)
    return PricedTier(
        tier.name, Tariff(None if tier.prices is None else _rates(tier.prices), {}, hour), tier.concurrency
    )


def _rates(prices: TokenPrices) -> TokenRates:
    ordinary = Decimal(prices.input)
    return TokenRates(
        ordinary,
        ordinary if prices.cached_input is None else Decimal(prices.cached_input),
        ordinary if prices.cache_write is None else Decimal(prices.cache_write),
        Decimal(prices.output),
    )


def savings_status(found: Savings) -> SavingsStatus:
    """The figures, rounded to what is shown: a step that has the baseline in four digits."""
    step = _step(max(found.baseline, found.actual))
    level = _round(found.baseline, step)
    exact, shown, parts = found.baseline, level, []
    for part in found.parts:
        exact -= part.amount
        after = _round(exact, step)
        parts.append(SavedPart(tactic=part.tactic, amount=_text(shown - after)))
        shown = after
    return SavingsStatus(
        reference_tier=found.reference,
        window_seconds=found.window_seconds,
        baseline=_text(level),
        cached_baseline=_text(_round(found.cached_baseline, step)),
        lower_baseline=_text(_round(found.lower_baseline, step)),
        actual=_text(shown),
        saved_percent=_whole(found.saved_percent),
        lower_bound_percent=_whole(found.lower_bound_percent),
        pairs=found.ratio.pairs,
        length_ratio=_text(_round(found.ratio.value, Decimal("0.01"))),
        length_ratio_lower=_text(_round(found.ratio.lower, Decimal("0.01"))),
        parts=parts,
        notes=_notes(found.notes),
    )


def _notes(notes: Iterable[str]) -> list[str]:
    return [truncate(note, _NOTE) for note in notes][:MOST_NOTES]


def _step(amount: Decimal) -> Decimal:
    return Decimal(1).scaleb(min(-2, amount.adjusted() + 1 - DIGITS)) if amount > 0 else Decimal("0.01")


def _round(amount: Decimal, step: Decimal) -> Decimal:
    return amount.quantize(step, ROUND_HALF_EVEN)


def _text(amount: Decimal) -> str:
    return f"{amount if amount else abs(amount):f}"


def _whole(percent: Decimal | None) -> int | None:
    """Towards less: what is shown is never more than what was saved."""
    return None if percent is None else max(_LEAST_PERCENT, math.floor(percent))
