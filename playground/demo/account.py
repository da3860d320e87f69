"""Computes what the run cost and served, and whether the client's and the engines' figures agree.

Pure arithmetic over what was seen, so that it can be tested: samples of the tiers' status over time, the answers that
the client got, and the engines' own counters as Prometheus last scraped them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

# Why a route sends a request to another tier than the one that its policy names.
ELSEWHERE = frozenset({"Spill", "Fallback", "ContextLength"})


Tokens = tuple[float, float]
"""Of prompts, and generated."""


@dataclass(frozen=True, slots=True)
class TierSample:
    """One look at a tier. `at` in seconds, `cost` in US dollars per hour."""

    at: float
    replicas: int
    ready: int
    desired: int
    cost: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client measured of one request. Seconds; tokens as the API's `usage` says; `lag` is how late it was
    sent. `tier` is the one that answered (empty where none did), `why` the route's reason for it; `right`: the answer
    is."""

    tier: str
    ok: bool
    prompt_tokens: int
    completion_tokens: int
    ttft: float
    total: float
    lag: float = 0.0
    outcome: str = "ok"
    why: str = ""
    right: bool = False


@dataclass(frozen=True, slots=True)
class TierAccount:
    """The figures of one tier over the run. Seconds and US dollars. `share` is of all requests; `spilled` are those
    that came because another tier was full, short or failing; `right`: answers that are."""

    tier: str
    requests: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    engine_prompt_tokens: int
    engine_completion_tokens: int
    ttft_p50: float
    ttft_p95: float
    replica_seconds: float
    cost: float
    most_replicas: int
    cost_of_most: float  # had the dearest moment lasted all the time
    share: float = 0.0
    spilled: int = 0
    right: int = 0
    external: bool = False

    @property
    def tokens(self) -> int:
        """What the client counted."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def engine_tokens(self) -> int:
        """What the engines counted, as far as it was scraped."""
        return self.engine_prompt_tokens + self.engine_completion_tokens

    @property
    def gap(self) -> float:
        """Difference of the two as a fraction of the client's; 0 when nothing was asked."""
        return (self.engine_tokens - self.tokens) / self.tokens if self.tokens else 0.0


def percentile(values: Iterable[float], percent: float) -> float:
    """Nearest-rank percentile; NaN of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)] if ordered else math.nan


def integral(samples: Sequence[TierSample], value: str) -> float:
    """Area under a field of the samples over time (each holds until the next one)."""
    return sum((later.at - earlier.at) * float(getattr(earlier, value)) for earlier, later in pairwise(samples))


def _duration(samples: Sequence[TierSample]) -> float:
    return samples[-1].at - samples[0].at if samples else 0.0


def account(
    tier: str,
    answers: Sequence[Answer],
    samples: Sequence[TierSample],
    engine: Tokens,
    prices: tuple[float, float] | None = None,
) -> TierAccount:
    """The figures of one tier. `engine`: prompt and generated tokens by the engines' counters, without those of
    questions in the background; `prices`: of an external API, US dollars per million of each."""
    mine = [answer for answer in answers if answer.tier == tier]
    good = [answer for answer in mine if answer.ok]
    cost, of_most = integral(samples, "cost") / 3600, max((sample.cost for sample in samples), default=0.0)
    if prices is not None:
        cost = sum(each.prompt_tokens * prices[0] + each.completion_tokens * prices[1] for each in mine) / 1e6
    return TierAccount(
        tier=tier,
        requests=len(mine),
        failed=len(mine) - len(good),
        prompt_tokens=sum(answer.prompt_tokens for answer in mine),
        completion_tokens=sum(answer.completion_tokens for answer in mine),
        engine_prompt_tokens=round(engine[0]),
        engine_completion_tokens=round(engine[1]),
        ttft_p50=percentile((answer.ttft for answer in good), 50),
        ttft_p95=percentile((answer.ttft for answer in good), 95),
        replica_seconds=integral(samples, "replicas"),
        cost=cost,
        most_replicas=max((sample.replicas for sample in samples), default=0),
        cost_of_most=cost if prices is not None else of_most * _duration(samples) / 3600,
        share=len(mine) / len(answers) if answers else 0.0,
        spilled=sum(answer.why in ELSEWHERE for answer in mine),
        right=sum(answer.right for answer in good),
        external=prices is not None,
    )
