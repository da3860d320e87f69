"""Renders the speculative-decoding configuration of a spec.

Drafting pays while the GPU waits for memory: measured gains shrink as the batch grows (arXiv 2601.11580, H100,
batches 1-128: verification takes 42-95 % of the time; TensorRT-LLM's n-gram report, 8 x B200: +96 % at batch 1,
+64 % at 4, +33 % at 32; vLLM's own page on dynamic speculation: past a critical batch the time per token gets worse).
So `Auto` drafts up to a batch of 32 and not above, through the engine's own schedule: no restart.
"""

from __future__ import annotations

import json
from typing import Any

from tierwise.api.modeltier import Speculation

DEFAULT_TOKENS = 3
AUTO_UNTIL_BATCH = 32
NEEDS_DRAFT_MODEL = frozenset({"draft_model", "eagle", "eagle3", "medusa", "mlp_speculator"})
IGNORES_SCHEDULE = frozenset({"suffix", "medusa", "mlp_speculator"})


def batch_schedule(speculation: Speculation, max_sequences: int) -> tuple[tuple[int, int, int], ...]:
    """Tokens to draft by batch size, as (first, last, tokens) with both ends included; () is a fixed number.

    Steps beyond `max_sequences` are kept: the engine ignores them, and the user sees what was written."""
    if speculation.schedule:
        starts = [step.from_batch for step in speculation.schedule]
        ends = [start - 1 for start in starts[1:]] + [max(starts[-1], max_sequences)]
        tokens = [step.tokens for step in speculation.schedule]
        return tuple(zip(starts, ends, tokens, strict=True))
    if speculation.mode != "Auto":
        return ()
    drafted = speculation.tokens or DEFAULT_TOKENS
    if max_sequences <= AUTO_UNTIL_BATCH:
        return ((1, max_sequences, drafted),)
    return ((1, AUTO_UNTIL_BATCH, drafted), (AUTO_UNTIL_BATCH + 1, max_sequences, 0))


def most_tokens(speculation: Speculation, max_sequences: int) -> int:
    """The most tokens that are drafted for a request in one step, at any batch size."""
    schedule = batch_schedule(speculation, max_sequences)
    return max((tokens for _, _, tokens in schedule), default=speculation.tokens or DEFAULT_TOKENS)


def speculative_config(speculation: Speculation, max_sequences: int) -> str | None:
    """The value of --speculative-config, compact and with sorted keys; None when nothing is drafted."""
    if speculation.mode == "Disabled" or speculation.method is None:
        return None
    schedule = batch_schedule(speculation, max_sequences)
    value: dict[str, Any] = {
        "method": speculation.method,
        "num_speculative_tokens": most_tokens(speculation, max_sequences),
    }
    if speculation.draft_model is not None and speculation.method in NEEDS_DRAFT_MODEL:
        value["model"] = speculation.draft_model
    if schedule:
        value["num_speculative_tokens_per_batch_size"] = [list(step) for step in schedule]
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
