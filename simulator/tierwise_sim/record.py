"""Records the engine's events in counters and histograms.

The definitions are vLLM's (vllm/v1/metrics/stats.py, 0.33): the queue interval ends when a request is first
scheduled, prefill when its first token comes, decode with its last token; preemptions stay inside them. The
inter-token latency is observed once per step and sequence, however many tokens that step yielded.
"""

from __future__ import annotations

from collections.abc import Sequence as ReadOnlySequence

from tierwise_sim.sequence import Sequence
from tierwise_sim.settings import EngineSettings
from tierwise_sim.stats import EngineStats


def count_hits(stats: EngineStats, sequence: Sequence, settings: EngineSettings, device: int, host: int) -> None:
    """A request is scheduled for the first time: so many of its blocks were found on the GPU, and in host memory."""
    size, prompt = settings.block_size, sequence.request.prompt_tokens
    sequence.cached_tokens = (device + host) * size
    sequence.host_tokens = host * size
    if settings.prefix_caching:
        stats.prefix_queries += prompt
        stats.prefix_hits += device * size
    if settings.host_blocks:
        stats.host_queries += prompt - device * size
        stats.host_hits += host * size


def first_token(stats: EngineStats, sequence: Sequence, now: float) -> None:
    """The prompt is processed and its first token is there."""
    sequence.first_token_at = now
    stats.time_to_first_token.observe(now - sequence.arrival)
    stats.prompt_tokens += sequence.request.prompt_tokens
    stats.cached_device += sequence.cached_tokens - sequence.host_tokens
    stats.cached_host += sequence.host_tokens


def step_done(stats: EngineStats, durations: ReadOnlySequence[float], decodes: int, tokens: int) -> None:
    """One step, or several with the same decodes, are over; `tokens` computed and generated in all of them."""
    steps = len(durations)
    stats.steps += steps
    if tokens:
        stats.iteration_tokens.observe(tokens / steps, steps)
    if decodes:
        stats.inter_token_latency.observe_all(durations, decodes)


def verified(stats: EngineStats, sequence: Sequence, drafted: int, accepted: int) -> int:
    """Drafted tokens were verified: the tokens that this yields, never more than the answer still needs."""
    stats.drafts += 1
    stats.draft_tokens += drafted
    stats.accepted_tokens += accepted
    for position in range(accepted):
        stats.accepted_per_position[position] += 1
    return min(accepted + 1, sequence.remaining)


def finished_request(stats: EngineStats, sequence: Sequence, now: float) -> None:
    """A request ran to its end (aborted ones are only counted, as in vLLM)."""
    request = sequence.request
    scheduled = sequence.scheduled_at if sequence.scheduled_at is not None else now
    first = sequence.first_token_at if sequence.first_token_at is not None else now
    decode = sequence.last_token_at - first
    stats.e2e_latency.observe(now - sequence.arrival)
    stats.queue_time.observe(scheduled - sequence.arrival)
    stats.prefill_time.observe(first - scheduled)
    stats.inference_time.observe(sequence.last_token_at - scheduled)
    stats.decode_time.observe(decode)
    stats.num_preemptions.observe(sequence.preemptions)
    stats.params_n.observe(1)
    stats.request_prompt_tokens.observe(request.prompt_tokens)
    stats.request_generation_tokens.observe(sequence.generated)
    stats.request_max_generation_tokens.observe(sequence.generated)
    stats.prefill_computed_tokens.observe(request.prompt_tokens - sequence.cached_tokens)
    stats.time_per_output_token.observe(decode / (sequence.generated - 1) if sequence.generated > 1 else 0.0)
    if request.max_tokens is not None:
        stats.params_max_tokens.observe(request.max_tokens)
