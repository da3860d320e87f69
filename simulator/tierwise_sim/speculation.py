"""Computes how many tokens a step with drafts yields, and how many are drafted at a batch size.

The model of Leviathan et al., "Fast Inference from Transformers via Speculative Decoding" (arXiv 2211.17192):
each drafted token is accepted with one probability, independently, until the first rejection; the verifying
step always adds one token of its own. The schedule by batch size is vLLM's
`num_speculative_tokens_per_batch_size`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from random import Random

# Acceptance per drafted token when nothing else is configured: chat-like text, rounded from the reports that
# arXiv 2601.11580 compares. The real value is the workload's; it is what the operator has to measure.
DEFAULT_ACCEPTANCE = {
    "ngram": 0.3,
    "ngram_gpu": 0.3,
    "suffix": 0.4,
    "draft_model": 0.6,
    "eagle": 0.6,
    "eagle3": 0.7,
    "mtp": 0.75,
}


@dataclass(frozen=True, slots=True)
class Speculation:
    """One speculation setting: K tokens at most, acceptance per token, the draft's size, the schedule.

    `draft_params_b` is in billions (0: no model, as for n-gram lookup); `schedule` holds inclusive
    (first batch, last batch, K) ranges, sorted, the first one starting at 1.
    """

    method: str
    tokens: int
    acceptance: float
    draft_params_b: float = 0.0
    schedule: tuple[tuple[int, int, int], ...] = ()

    def tokens_at(self, batch: int) -> int:
        """K for this many running requests; a gap or the tail keeps the K of the range before it."""
        if not self.schedule:
            return self.tokens
        chosen = 0
        for first, _last, tokens in self.schedule:
            if batch < first:
                break
            chosen = tokens
        return min(chosen, self.tokens)

    def drafted(self, batch: int, budget: int) -> int:
        """K for this many running requests (at least one) where a step has room for `budget` tokens."""
        return max(0, min(self.tokens_at(batch), budget // batch - 1))

    def expected_tokens(self, drafted: int) -> float:
        """Mean tokens per step: (1 - a^(K+1)) / (1 - a), equation 1 of arXiv 2211.17192."""
        if self.acceptance >= 1.0:
            return drafted + 1.0
        return float((1.0 - self.acceptance ** (drafted + 1)) / (1.0 - self.acceptance))

    def accepted(self, drafted: int, rng: Random) -> int:
        """Draw how many of `drafted` tokens are accepted (geometric, cut at `drafted`)."""
        if self.acceptance <= 0.0:
            return 0
        if self.acceptance >= 1.0:
            return drafted
        return min(drafted, int(math.log(1.0 - rng.random()) / math.log(self.acceptance)))


def parse_schedule(entries: object) -> tuple[tuple[int, int, int], ...]:
    """Check and sort a `num_speculative_tokens_per_batch_size` value as vLLM does.

    Raises ValueError with vLLM's own messages (vllm/v1/spec_decode/dynamic/utils.py, 0.33).
    """
    if not isinstance(entries, list):
        raise ValueError(
            "num_speculative_tokens_per_batch_size must be a non-empty list of "
            "(range_start, range_end, num_speculative_tokens) entries."
        )
    if not entries:
        raise ValueError("num_speculative_tokens_per_batch_size must not be empty.")
    parsed: list[tuple[int, int, int]] = []
    for entry in entries:
        if not isinstance(entry, list | tuple) or len(entry) != 3:
            raise ValueError(
                "Each num_speculative_tokens_per_batch_size entry must be a "
                "3-item sequence: (range_start, range_end, num_speculative_tokens)."
            )
        first, last, tokens = (int(value) for value in entry)
        if first <= 0 or last <= 0:
            raise ValueError(f"Batch-size range ({first}, {last}) must be positive.")
        if first > last:
            raise ValueError(f"Batch-size range start must be <= end for ({first}, {last}, {tokens}).")
        if tokens < 0:
            raise ValueError("num_speculative_tokens_per_batch_size values must be >= 0.")
        parsed.append((first, last, tokens))
    parsed.sort()
    for (_, previous_end, _), (first, _, _) in pairwise(parsed):
        if first <= previous_end:
            raise ValueError("Batch-size ranges must be non-overlapping and sorted.")
    if parsed[0][0] != 1:
        raise ValueError(
            "The first batch-size range must start at 1 so every runtime batch size has a defined schedule."
        )
    return tuple(parsed)
