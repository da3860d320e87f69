"""Predicts how much load one replica carries.

Closed-form steady state of the engine model, so that a test or a plan can say beforehand how many replicas a
load needs. It uses the same memory and step-time formulas as the engine and averages over a request's life;
a run of the engine lands within about ten per cent of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tierwise_sim.roofline import Roofline
from tierwise_sim.settings import EngineSettings
from tierwise_sim.step_time import Batch, StepTime


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests of one kind: mean tokens of prompt and answer, and the share of the prompt found in the cache."""

    prompt_tokens: float
    output_tokens: float
    cached_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Capacity:
    """What one replica does with a fixed number of requests running at all times.

    `running` requests at once, seconds of one request's life, finished requests and generated tokens per
    second, and seconds between two tokens of one request.
    """

    running: int
    request_seconds: float
    requests_per_second: float
    tokens_per_second: float
    token_seconds: float


def max_running(settings: EngineSettings, workload: Workload) -> int:
    """How many requests run at once in a full replica: seats, or KV memory if that is less.

    A request holds its prompt and, on average over its life, half its answer.
    """
    tokens = workload.prompt_tokens + workload.output_tokens / 2
    by_memory = int(settings.kv_tokens / (tokens + settings.block_size / 2))
    return max(1, min(settings.max_num_seqs, by_memory))


def at_running(
    settings: EngineSettings, workload: Workload, running: int, step_time: StepTime | None = None
) -> Capacity:
    """The steady state with this many requests always running; without a `step_time` a plain roofline's.

    While `running` requests finish, each of them decodes its answer and each prompt is computed once: some
    steps carry prompt chunks and are longer, the rest only decode.
    """
    step = step_time or Roofline(settings)
    drafted = settings.speculation.tokens_at(running) if settings.speculation else 0
    per_step = settings.speculation.expected_tokens(drafted) if settings.speculation else 1.0
    prompt = max(1.0, workload.prompt_tokens * (1 - workload.cached_share))
    context = round(running * (workload.prompt_tokens + workload.output_tokens / 2))
    room = max(1.0, settings.max_num_batched_tokens - running * (1 + drafted))
    all_prompts = running * prompt
    steps = max(workload.output_tokens / per_step, all_prompts / room)
    mixed = min(steps, max(running * 1.0, all_prompts / room))
    chunk = all_prompts / mixed
    decode = step.seconds(Batch(decodes=running, decode_context=context, drafted=drafted))
    both = step.seconds(
        Batch(
            decodes=running,
            decode_context=context,
            drafted=drafted,
            prefill=round(chunk),
            prefill_context=round(workload.prompt_tokens),
            prefill_pairs=chunk * (workload.prompt_tokens - prompt / 2),
            prefills=max(1, round(chunk / prompt)),
        )
    )
    seconds = (steps - mixed) * decode + mixed * both + step.request_seconds
    return Capacity(
        running=running,
        request_seconds=seconds,
        requests_per_second=running / seconds,
        tokens_per_second=running * workload.output_tokens / seconds,
        token_seconds=seconds / workload.output_tokens,
    )


def capacity(settings: EngineSettings, workload: Workload, step_time: StepTime | None = None) -> Capacity:
    """A replica that is kept full: its concurrency and throughput."""
    return at_running(settings, workload, max_running(settings, workload), step_time)


def running_at_rate(
    settings: EngineSettings, workload: Workload, rate: float, step_time: StepTime | None = None
) -> int | None:
    """Requests that run at once when `rate` requests per second arrive; None when the replica cannot keep up.

    Little's law at the smallest batch whose throughput meets the rate.
    """
    low, high = 1, max_running(settings, workload)
    if at_running(settings, workload, high, step_time).requests_per_second < rate:
        return None
    while low < high:
        middle = (low + high) // 2
        if at_running(settings, workload, middle, step_time).requests_per_second >= rate:
            high = middle
        else:
            low = middle + 1
    return low
