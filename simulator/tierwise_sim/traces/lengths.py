"""Draws the lengths of prompts and answers: from quantiles, or of one size.

Lengths are log-linear between the given quantiles, since they spread over orders of magnitude. Prompt and answer are
drawn independently: in the published traces they nearly are.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from tierwise_sim.traces.errors import TraceError

Quantiles = tuple[tuple[float, float], ...]
"""(share of requests, tokens), both rising, from share 0 to share 1."""


def inverse(quantiles: Sequence[tuple[float, float]], share: float) -> float:
    """The length that this share (0 to 1) of the requests does not exceed."""
    index = min(bisect_right([each for each, _ in quantiles], share), len(quantiles) - 1)
    (low, few), (high, many) = quantiles[index - 1], quantiles[index]
    part = (share - low) / (high - low)
    return math.exp(math.log(few) + part * (math.log(many) - math.log(few)))


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of prompts and of answers, as quantiles. Raises TraceError for those from which nothing can be drawn."""

    prompt: Quantiles
    output: Quantiles

    def __post_init__(self) -> None:
        """Refuse quantiles that do not rise from share 0 to share 1 with at least one token."""
        for name, quantiles in (("prompt", self.prompt), ("output", self.output)):
            shares = [share for share, _ in quantiles]
            tokens = [count for _, count in quantiles]
            rising = all(low < high for low, high in pairwise(shares))
            if not (len(shares) > 1 and shares[0] == 0 and shares[-1] == 1 and rising):
                raise TraceError(f"{name} quantiles at {shares}; expected shares that rise from 0 to 1")
            if tokens != sorted(tokens) or tokens[0] < 1:
                raise TraceError(f"{name} quantiles of {tokens} tokens; expected numbers that do not fall, from 1 on")

    def draw(self, rng: Random) -> tuple[int, int]:
        """Tokens of one prompt and of its answer."""
        return round(inverse(self.prompt, rng.random())), round(inverse(self.output, rng.random()))


def fixed(prompt_tokens: int, output_tokens: int) -> Lengths:
    """Every request alike."""
    return Lengths(((0.0, prompt_tokens), (1.0, prompt_tokens)), ((0.0, output_tokens), (1.0, output_tokens)))


CONVERSATION = Lengths(
    (
        (0.0, 10), (0.01, 29), (0.05, 181), (0.1, 207), (0.25, 396), (0.5, 1020), (0.75, 1189), (0.9, 2735),
        (0.95, 4083), (0.99, 4142), (1.0, 8000),
    ),
    (
        (0.0, 7), (0.01, 16), (0.05, 41), (0.1, 54), (0.25, 85), (0.5, 129), (0.75, 395), (0.9, 424), (0.95, 451),
        (0.99, 601), (1.0, 1000),
    ),
)  # fmt: skip
"""Of the Azure LLM inference trace 2023, conversation service (Patel et al., "Splitwise", ISCA 2024)."""
