"""Checks whether extra arguments agree with the typed fields.

These are the comparisons that the scheduler makes at its start (config/scheduler.py `verify_max_model_len`; the number
of active sequences since 0.32), and on which the engine exits. `extra_args` looks at each argument alone. Where the
context is unknown, or files differ in its meaning, the reading that rejects less is taken.
"""

from __future__ import annotations

from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import arg_values
from tierwise.engines.finding import Finding
from tierwise.engines.resolved_facts import known_context
from tierwise.reasons import INVALID_SPEC
from tierwise.types.capabilities import ModelShape


def check_options(spec: ModelTierSpec, shape: ModelShape | None) -> list[Finding]:
    """What is wrong with `extraArgs` beside the typed fields: fatal problems. `shape` is the effective one."""
    extra, batching = spec.extra_args, spec.batching
    least, most = known_context(spec, shape)
    found = []
    if arg_values.whole_prompts(extra) and least is not None and least > batching.max_batched_tokens:
        found.append(
            f"--no-enable-chunked-prefill reads a whole prompt at once: raise batching.maxBatchedTokens "
            f"({batching.max_batched_tokens}) to the context length ({least}), or lower contextLength"
        )
    threshold = arg_values.number(extra, "--long-prefill-token-threshold")
    if threshold is not None and most is not None and threshold > most:
        found.append(f"--long-prefill-token-threshold={threshold} is more than the context length ({most}): lower it")
    active = arg_values.number(extra, "--max-num-active-seqs")
    if active is not None and active > batching.max_sequences:
        found.append(
            f"--max-num-active-seqs={active} is more than batching.maxSequences ({batching.max_sequences}): lower it"
        )
    return [Finding(INVALID_SPEC, f"extraArgs: {message}") for message in found]
