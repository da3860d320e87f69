"""Computes what tiers cost: per hour in each pool, and per million tokens on two bases.

    allocation   what is paid: replicas x GPUs x price, idle or not. It adds up to the bill.
    usage        the part of it in which replicas worked. It does not add up to the bill, and says what a token costs
                 when nothing is idle.

The two bases are those of OpenCost 1.121 (label `cost_basis` of llm_cost_per_million_tokens; "AI Inference Cost
Tracking" in its documentation). Apart they say little; together they say what to change (`judge`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tierwise.decide.fleet.values import PoolState, TierClaim
from tierwise.types.snapshot import TierKey

_SECONDS_PER_HOUR, _MILLION = Decimal(3600), Decimal(1_000_000)
LEAST_TOKENS_PER_SECOND = 0.01
"""Below it a price per token says nothing."""


@dataclass(frozen=True, slots=True)
class Spend:
    """What one tier costs in one pool: GPUs that its pods hold, and US dollars per hour (None: without a price)."""

    tier: TierKey
    pool: str
    gpus: int
    usd_per_hour: Decimal | None


def spending(claims: Iterable[TierClaim], pools: Iterable[PoolState]) -> tuple[Spend, ...]:
    """For each tier and pool, sorted. A GPU costs from when a node runs the pod until the pod is gone: what is pending
    costs nothing yet, what terminates still does."""
    prices = {pool.name: pool.gpu_hour for pool in pools}
    found = []
    for claim in sorted(claims, key=lambda claim: claim.tier):
        for place in sorted(claim.places, key=lambda place: place.pool):
            gpus = place.gpus * (max(0, place.replicas - place.pending) + place.terminating)
            price = prices.get(place.pool)
            found.append(Spend(claim.tier, place.pool, gpus, None if price is None else gpus * price))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class TokenCost:
    """US dollars per million tokens, prompt and generated together: of all that is paid, and of what was busy."""

    allocation: Decimal
    usage: Decimal


def token_cost(usd_per_hour: Decimal, tokens_per_second: float, busy: float) -> TokenCost | None:
    """$/h / (tokens/s x 3600) x 10^6, and that times the part (0..1) of what was paid in which replicas were `busy`.
    None where hardly a token was served."""
    if not tokens_per_second >= LEAST_TOKENS_PER_SECOND:
        return None
    allocation = usd_per_hour / _SECONDS_PER_HOUR / Decimal(repr(tokens_per_second)) * _MILLION
    return TokenCost(allocation, allocation * Decimal(repr(min(1.0, max(0.0, busy)))))


class Verdict(StrEnum):
    """What the two bases say together."""

    PAYS = "Pays"
    IDLE = "PoorUtilization"
    WRONG_MODEL = "WrongModel"
    SLOW = "DearTokens"


ADVICE: Mapping[Verdict, str] = {
    Verdict.PAYS: "Nothing: it is paid for what it serves, and serves it for little.",
    Verdict.IDLE: "Replicas idle. Run fewer (scaling.minReplicas, a shorter window), or send more requests here.",
    Verdict.WRONG_MODEL: "Busy or not, these tokens are dear: a smaller model or an external API serves them for less.",
    Verdict.SLOW: "It pays, and would pay more quantized, or on a GPU that serves this model for less.",
}
"""What to do about each."""


def judge(cost: TokenCost, *, alternative: Decimal, attainable: Decimal) -> Verdict:
    """What to change. What is paid is high above what the `alternative` asks for the same tokens; what is busy is high
    above what such tokens cost where they are served well (`attainable`: quantized, on the best GPU for them). Both in
    US dollars per million tokens."""
    if cost.usage > attainable:
        return Verdict.WRONG_MODEL if cost.allocation > alternative else Verdict.SLOW
    return Verdict.IDLE if cost.allocation > alternative else Verdict.PAYS
