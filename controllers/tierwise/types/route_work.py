"""Holds what a route has answered in a window of time, and what that has cost: what savings are computed from.

Answers are kept apart from attempts that gave none, since only an answer is work that another tier would have had to
do. It is one value whoever counted it: the routers' metrics, or their access log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens by their four kinds, each counted once."""

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    output: int = 0

    @property
    def prompt(self) -> int:
        """All tokens of the prompts."""
        return self.input + self.cached_input + self.cache_write

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.input + other.input,
            self.cached_input + other.cached_input,
            self.cache_write + other.cache_write,
            self.output + other.output,
        )


class Answered(NamedTuple):
    """Who answered, and the tier that the policy had chosen: another one where the request spilled or fell back,
    "" where the client asked for the tier by its name."""

    tier: str
    first: str


@dataclass(frozen=True, slots=True)
class PairSums:
    """Output tokens of requests that a cheaper tier answered and, in the background, the reference tier as well: sums,
    sums of squares, and of products."""

    pairs: int = 0
    reference: int = 0
    cheaper: int = 0
    reference_squares: int = 0
    cheaper_squares: int = 0
    products: int = 0


@dataclass(frozen=True, slots=True)
class RouteWork:
    """Of one route in `window_seconds`. `answers`: tokens of answers that reached their client. `costs`: US dollars of
    these by tier; `seconds`: how long replicas worked on them, by tier, one second for each request.

    `failed`, `discarded`, `judges`, `shadows`: US dollars of attempts that gave no answer, of answers that a cascade
    threw away, of judging, and of the reference tier's answers in the background. `uncounted` names those of these that
    nobody has counted; they are 0 here."""

    window_seconds: int
    answers: Mapping[Answered, Tokens] = field(default_factory=dict)
    costs: Mapping[str, Decimal] = field(default_factory=dict)
    seconds: Mapping[str, Decimal] = field(default_factory=dict)
    failed: Decimal = NOTHING
    discarded: Decimal = NOTHING
    judges: Decimal = NOTHING
    shadows: Decimal = NOTHING
    pairs: PairSums = PairSums()
    uncounted: tuple[str, ...] = ()
