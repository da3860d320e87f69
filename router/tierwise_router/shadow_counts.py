"""Counts what the comparisons in the background have found and cost, and shows it to Prometheus.

Every verdict is a counter, so that the operator adds up what all routers have seen and a router that ends takes nothing
along. The moments of the output tokens of pairs are kept whole: the ratio of two sums and its interval follow from
them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric

from tierwise.routing.cost import NOTHING

PREFIX = "tierwise_router_"

CHEAPER, MARGIN, REFERENCE, AGAIN = "cheaper", "margin", "reference", "again"
"""Who answered the client: a cheaper tier; the reference tier, though a share that is one step smaller would have sent
the request to a cheaper one; the reference tier. `again` compares the reference tier with its own second answer."""
GOOD, BAD, UNKNOWN = "good", "bad", "unknown"
VERDICTS = (GOOD, BAD, UNKNOWN)
"""Whether an answer was at least as good as the reference tier's. Unknown: the judge said nothing that can be read."""
ANSWER, JUDGE = "answer", "judge"
KINDS = PROMPT, OUTPUT = "prompt", "output"
"""Of tokens."""
DROPPED = ("failed", "full", "not_comparable", "stopped", "too_large")


class ShadowCounts:
    """Of one router; numbers only grow."""

    def __init__(self) -> None:
        self.sampled: Counter[str] = Counter({CHEAPER: 0, REFERENCE: 0})
        """Requests that were chosen, by who answered them."""
        self.verdicts: Counter[tuple[str, str, str]] = Counter()
        """By tier, who answered the client, and verdict."""
        self.cost: dict[tuple[str, str], Decimal] = {}
        """US dollars by tier and purpose."""
        self.took: Counter[tuple[str, str]] = Counter()
        """Tokens of questions in the background, by tier and kind."""
        self.dropped: Counter[str] = Counter(dict.fromkeys(DROPPED, 0))
        self.pairs = 0
        self.tokens: Counter[str] = Counter(reference=0, small=0)
        self.squares: Counter[str] = Counter(reference=0, small=0, product=0)

    def pay(self, tier: str, purpose: str, cost: Decimal) -> None:
        """A question in the background has cost so much."""
        self.cost[tier, purpose] = self.cost.get((tier, purpose), NOTHING) + cost

    def work(self, tier: str, prompt: int, output: int) -> None:
        """A question in the background has taken so many tokens of a tier."""
        self.took[tier, PROMPT] += prompt
        self.took[tier, OUTPUT] += output

    def pair(self, reference: int, small: int) -> None:
        """A request that a cheaper tier answered was answered by both: their output tokens."""
        self.pairs += 1
        self.tokens.update(reference=reference, small=small)
        self.squares.update(reference=reference**2, small=small**2, product=reference * small)

    def collect(self, ladder: Sequence[str]) -> Iterator[Metric]:
        """The series, as they are now. `ladder`: the names of the route's tiers, each of whose costs begins at 0: of a
        series that begins later Prometheus would not know the first step."""
        sampled = _counter("sampled", "Requests chosen to be compared, by who answered the client.", "routed")
        for routed, count in sorted(self.sampled.items()):
            sampled.add_metric([routed], count)
        verdicts = _counter(
            "verdicts",
            "Comparisons with the reference tier, by the tier whose answer was judged, who answered the client, and "
            "whether the answer was at least as good.",
            *("tier", "routed", "verdict"),
        )
        for labels, count in sorted(self.verdicts.items()):
            verdicts.add_metric(labels, count)
        cost = _counter(
            "shadow_cost_usd", "US dollars of questions in the background: answers and judges.", "tier", "purpose"
        )
        for pair in sorted({(tier, purpose) for tier in ladder for purpose in (ANSWER, JUDGE)} | set(self.cost)):
            cost.add_metric(pair, float(self.cost.get(pair, NOTHING)))
        took = _counter(
            "shadow_tokens",
            "Tokens of questions in the background, which those of clients do not contain.",
            "tier",
            "kind",
        )
        for pair in sorted({(tier, kind) for tier in ladder for kind in KINDS} | set(self.took)):
            took.add_metric(pair, self.took[pair])
        dropped = _counter("samples_dropped", "Chosen requests that were not compared.", "reason")
        for reason, count in sorted(self.dropped.items()):
            dropped.add_metric([reason], count)
        pairs = _counter("pairs", "Requests answered by a cheaper tier and, in the background, by the reference tier.")
        pairs.add_metric([], self.pairs)
        tokens = _counter("pair_output_tokens", "Output tokens of these pairs.", "which")
        squares = _counter(
            "pair_output_tokens_squared", "Sum over these pairs of squared output tokens, and of products.", "which"
        )
        for which, total in sorted(self.tokens.items()):
            tokens.add_metric([which], total)
        for which, total in sorted(self.squares.items()):
            squares.add_metric([which], total)
        yield from (sampled, verdicts, cost, took, dropped, pairs, tokens, squares)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, text, labels=labels)
