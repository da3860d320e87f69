"""Makes the waterfall of savings: from the bill of the reference tier, tactic by tactic, to what was paid.

The terminal, the page of `tierwise savings` and the page of a simulation show these rows, so that no two can differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tierwise.html_page.bars import COST, LEVEL, SAVED, Bar, bars, legend
from tierwise.routing import savings as tactics

TITLES = {
    tactics.ROUTING: "routing to cheaper tiers",
    tactics.PREFIX_CACHE: "prefix cache",
    tactics.CACHE_WRITES: "cache writes",
    tactics.SPILL: "spilled and fell back",
    tactics.OTHER_RATES: "rates of flex and batch",
    tactics.RETRIES: "attempts without an answer",
    tactics.DISCARDED: "answers thrown away",
    tactics.JUDGES: "judges",
    tactics.SHADOWS: "answers for comparison",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One row of the waterfall: the level before and after it, in US dollars. `whole`: a level, not a tactic."""

    title: str
    before: Decimal
    after: Decimal
    whole: bool = False

    @property
    def change(self) -> Decimal:
        """What it did to the bill: negative where it saved."""
        return self.after - self.before

    @property
    def amount(self) -> str:
        """As it is shown: a level plainly, a change with its sign."""
        return f"{self.after:f}" if self.whole else f"{self.change:+f}".replace("-", "\N{MINUS SIGN}")


def waterfall_steps(
    reference: str, baseline: Decimal, parts: Iterable[tuple[str, Decimal]], actual: Decimal
) -> tuple[Step, ...]:
    """The rows: the baseline, each tactic (its name and what it saved) that did something, and what was paid."""
    level = baseline
    found = [Step(f"all on {reference}, uncached", Decimal(0), level, whole=True)]
    for tactic, amount in parts:
        if amount:
            found.append(Step(TITLES.get(tactic, tactic), level, level - amount))
            level -= amount
    return (*found, Step("paid", Decimal(0), actual, whole=True))


def with_idle(rows: Sequence[Step], paid: Decimal) -> tuple[Step, ...]:
    """The rows of a bill by use, carried on to what was paid for: GPUs are paid while nobody uses them, too."""
    used = rows[-1].after
    return (
        *rows[:-1],
        Step("used", Decimal(0), used, whole=True),
        Step("GPU time that no request used", used, paid),
        Step("paid", Decimal(0), paid, whole=True),
    )


def waterfall(rows: Sequence[Step]) -> str:
    """The rows as HTML. The page needs `tierwise.html_page.bars.HATCH` and its style."""
    most = max((max(row.before, row.after) for row in rows), default=Decimal(0))
    return bars("Waterfall, US dollars", "US dollars", [_bar(row) for row in rows], float(most)) + legend(
        (LEVEL, "a level: what it would cost, what it costs"), (SAVED, "saved"), (COST, "cost more")
    )


def _bar(row: Step) -> Bar:
    low, high = sorted((float(row.before), float(row.after)))
    kind = LEVEL if row.whole else SAVED if row.change < 0 else COST
    return Bar(row.title, row.amount, low, high, kind, row.whole)
