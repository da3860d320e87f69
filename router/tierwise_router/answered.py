"""Counts what was answered, apart from what was only paid for.

A bill has both: tokens of answers, and tokens of attempts that gave none. Savings compare the answers with what another
tier would have cost and subtract the rest, so each charge is one of them. Every series of the route's tiers is there
from the start, at 0: of one that begins later Prometheus would not know the first step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric

from tierwise.routing.cost import NOTHING
from tierwise.routing.tier_choice import DIRECT, FALLBACK, SPILL

if TYPE_CHECKING:
    from tierwise_router.record import Record

PREFIX = "tierwise_router_"
KINDS = ("input", "cached_input", "cache_write", "output")
ANSWER, FAILED, DISCARDED = "answer", "failed", "discarded"
"""What a charge was for: an answer that reached its client, at least in part; an attempt that gave none; an answer that
a cascade threw away."""
WASTED = (DISCARDED, FAILED)


def purposes(record: Record) -> list[str]:
    """What each of the record's charges was for, in their order."""
    found = [DISCARDED if charge.discarded else FAILED for charge in record.charges]
    reached = record.outcome == "ok" or (record.outcome == "client_gone" and record.first_content_at is not None)
    if reached and found and found[-1] == FAILED and record.charges[-1].tier == record.tier:
        found[-1] = ANSWER
    return found


def first_choice(record: Record) -> str:
    """The tier that the policy had chosen; "" where the client asked for a tier by its name.

    A spent budget's choice of a cheaper tier counts as the policy's."""
    if record.reason == DIRECT:
        return ""
    return (record.first if record.reason in (SPILL, FALLBACK) else "") or record.tier


class Answers:
    """Of one router; numbers only grow."""

    def __init__(self) -> None:
        self.tokens: Counter[tuple[str, str, str]] = Counter()
        """By the tier that answered, the first choice, and kind."""
        self.cost: dict[str, Decimal] = {}
        self.seconds: dict[str, float] = {}
        self.wasted: dict[tuple[str, str], Decimal] = {}

    def add(self, record: Record, ended_at: float) -> None:
        """A request has ended."""
        first = first_choice(record)
        for charge, purpose in zip(record.charges, purposes(record), strict=True):
            tier = charge.tier
            if purpose != ANSWER:
                self.wasted[tier, purpose] = self.wasted.get((tier, purpose), NOTHING) + charge.cost
                continue
            for kind in KINDS:
                self.tokens[tier, first, kind] += getattr(charge.usage, kind)
            self.cost[tier] = self.cost.get(tier, NOTHING) + charge.cost
            worked = ended_at - record.began_at - record.waited_seconds
            self.seconds[tier] = self.seconds.get(tier, 0.0) + max(0.0, worked)

    def collect(self, ladder: Sequence[str]) -> Iterator[Metric]:
        """The series, as they are now. `ladder`: the names of the route's tiers, cheapest first."""
        tokens = _counter(
            "answered_tokens",
            "Tokens of answers that reached their clients, by the tier that the policy had chosen first (empty: the "
            "client asked for the tier by its name).",
            *("tier", "first", "kind"),
        )
        possible = {
            (tier, first, kind)
            for place, tier in enumerate(ladder)
            for first in ("", *ladder[: place + 1])
            for kind in KINDS
        }
        for labels in sorted(possible | set(self.tokens)):
            tokens.add_metric(labels, self.tokens.get(labels, 0))
        cost = _counter("answered_cost_usd", "US dollars of these answers.", "tier")
        seconds = _counter(
            "answered_seconds", "Seconds from the arrival of these requests to their end, without waiting.", "tier"
        )
        for tier in sorted({*ladder, *self.cost}):
            cost.add_metric([tier], float(self.cost.get(tier, NOTHING)))
            seconds.add_metric([tier], self.seconds.get(tier, 0.0))
        wasted = _counter(
            "wasted_cost_usd", "US dollars of attempts that gave no answer, and of answers thrown away.", "tier", "why"
        )
        for pair in sorted({(tier, why) for tier in ladder for why in WASTED} | set(self.wasted)):
            wasted.add_metric(pair, float(self.wasted.get(pair, NOTHING)))
        yield from (tokens, cost, seconds, wasted)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, text, labels=labels)
