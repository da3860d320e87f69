"""Spreads counted requests over the time in which they were counted.

A bill or a metric says: so many requests and tokens in this hour. A simulation needs each request. What was counted is
kept to the token; when within the hour each came, and how long each was, is drawn, with a burstiness that the user
declares and a seed. An hour's mean hides its peaks: the bill of a fleet that follows the load depends on them, so a
result that stands on a spread trace says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random

from tierwise_sim.traces.arrival import MOST_TOKENS, Arrival
from tierwise_sim.traces.beginnings import ASSUMED, BLOCK_TOKENS, Beginnings
from tierwise_sim.traces.errors import TraceError
from tierwise_sim.traces.gathering import MOST_ARRIVALS
from tierwise_sim.traces.lengths import Quantiles, inverse

MOST_BURSTINESS = 10.0
EVEN = 0.001
"""A coefficient of variation below which gaps are equal: the gamma distribution's shape would have no end."""
MOST_VARIATION = 2.0
MOST_OVER_MEAN = 16.0
"""No drawn length is longer than so many means: a context window ends too."""
MOST_MEAN = MOST_TOKENS // 40


@dataclass(frozen=True, slots=True)
class Spreading:
    """How to spread.

    `burstiness`: the coefficient of variation of the gaps between requests (0 = a metronome, 1 = Poisson, more = in
    bursts; the Azure conversation trace has 1.09). `variation`: the standard deviation of the logarithm of lengths
    around their mean, where no histogram says more (1.0: about that of the Azure conversation trace, both lengths).
    """

    burstiness: float = 1.0
    variation: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if not 0 <= self.burstiness <= MOST_BURSTINESS:
            raise TraceError(f"burstiness is {self.burstiness}; expected 0 (even) to {MOST_BURSTINESS:g}, 1 = Poisson")
        if not 0 <= self.variation <= MOST_VARIATION:
            raise TraceError(f"variation of lengths is {self.variation}; expected 0 (all alike) to {MOST_VARIATION:g}")

    @property
    def said(self) -> str:
        """The note of a trace that was spread so."""
        return (
            f"spread: times within each interval are drawn (burstiness {self.burstiness:g}, seed {self.seed}), lengths "
            f"around its mean; counts of requests and tokens are as recorded, peaks within an interval are not known"
        )


POISSON = Spreading()
"""Where nothing else is declared."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted from `start` on for `seconds`. `cached_tokens` are part of `prompt_tokens`. Lengths as quantiles
    where they are known (only their shape counts: the sums are those given)."""

    start: float
    seconds: float
    requests: int
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    tenant: str = ""
    model: str = ""
    prompt_lengths: Quantiles = ()
    output_lengths: Quantiles = ()


def spread(counts: Iterable[Counted], spreading: Spreading) -> tuple[tuple[Arrival, ...], tuple[str, ...]]:
    """The requests, sorted, and the notes for their trace.

    Sums per interval are exact, but every request has at least one token of each kind; cached tokens are right to a
    block. Raises TraceError for more requests than fit, or longer ones than any model takes.
    """
    ordered = sorted(counts, key=lambda each: (each.start, each.seconds, each.tenant, each.model))
    total = sum(each.requests for each in ordered)
    if total > MOST_ARRIVALS:
        raise TraceError(f"{total:,} requests; expected at most {MOST_ARRIVALS:,}: cut the export to fewer hours")
    rng = Random(spreading.seed)  # noqa: S311 - a repeatable workload, no secret
    beginnings = Beginnings()
    arrivals = [arrival for each in ordered for arrival in _interval(each, spreading, beginnings, rng)]
    cached = (ASSUMED,) if any(each.cached_tokens for each in ordered) else ()
    return tuple(sorted(arrivals, key=lambda arrival: arrival.at)), (spreading.said, *cached)


def _interval(counted: Counted, spreading: Spreading, beginnings: Beginnings, rng: Random) -> Iterable[Arrival]:
    many = counted.requests
    if not many:
        return
    prompt_sum, output_sum = max(many, counted.prompt_tokens), max(many, counted.output_tokens)
    if max(prompt_sum, output_sum) / many > MOST_MEAN:
        raise TraceError(
            f"{many:,} requests with {prompt_sum:,} prompt and {output_sum:,} output tokens; expected at most "
            f"{MOST_MEAN:,} tokens in the mean request"
        )
    times = moments(many, spreading.burstiness, rng)
    prompts = shares(prompt_sum, _weights(many, counted.prompt_lengths, spreading.variation, rng))
    outputs = shares(output_sum, _weights(many, counted.output_lengths, spreading.variation, rng))
    part = min(1.0, counted.cached_tokens / prompt_sum)
    last = math.nextafter(counted.start + counted.seconds, 0.0)
    for time, prompt, output in zip(times, prompts, outputs, strict=True):
        prefix = beginnings.for_cached(counted.tenant, counted.model, part * prompt, prompt) if part else ()
        yield Arrival(
            at=min(last, counted.start + time * counted.seconds),
            prompt_tokens=prompt,
            output_tokens=output,
            prefix=prefix,
            block_tokens=BLOCK_TOKENS if prefix else 0,
            tenant=counted.tenant,
            model=counted.model,
        )


def moments(many: int, burstiness: float, rng: Random) -> list[float]:
    """So many times in [0, 1), sorted: a renewal process with gamma gaps of this coefficient of variation, given its
    count. With 1 they are uniform, as those of a Poisson process are."""
    if burstiness < EVEN:
        return [(index + 0.5) / many for index in range(many)]
    shape = 1 / burstiness**2
    gaps = [rng.gammavariate(shape, 1.0) for _ in range(many + 1)]
    reached = list(accumulate(gaps))
    if reached[-1] <= 0:  # a shape of 0.01 draws numbers below the smallest float
        return sorted(rng.random() for _ in range(many))
    last = math.nextafter(1.0, 0.0)
    return [min(each / reached[-1], last) for each in reached[:-1]]


def shares(total: int, weights: Sequence[float]) -> list[int]:
    """`total` in whole parts of at least 1, as near to the weights as that lets them be. total >= len(weights)."""
    rest = total - len(weights)
    reached = list(accumulate(weights))
    cuts = [0, *(round(rest * each / reached[-1]) for each in reached)]
    return [1 + high - low for low, high in pairwise(cuts)]


def _weights(many: int, lengths: Quantiles, variation: float, rng: Random) -> list[float]:
    if lengths:
        return [inverse(lengths, rng.random()) for _ in range(many)]
    most = MOST_OVER_MEAN * math.exp(variation**2 / 2)
    return [min(most, rng.lognormvariate(0.0, variation)) for _ in range(many)]
