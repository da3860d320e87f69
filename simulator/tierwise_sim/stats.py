"""What has this engine done since it started?

Counters and histograms as plain numbers, filled by the engine model and read by the metrics page, by replays
and by tests. Bucket bounds are vLLM's (vllm/v1/metrics/buckets.py, the same in 0.32 and 0.33).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

REQUEST_LATENCY = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
)  # fmt: skip
TIME_TO_FIRST_TOKEN = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
INTER_TOKEN_LATENCY = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
ITERATION_TOKENS = (1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)
REQUEST_PARAMS_N = (1.0, 2.0, 5.0, 10.0, 20.0)
NUM_PREEMPTIONS = (1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0)


def request_token_buckets(max_model_len: int) -> tuple[float, ...]:
    """vLLM's 1-2-5 series up to the model length."""
    bounds: list[float] = []
    scale = 1
    while True:
        for mantissa in (1, 2, 5):
            if mantissa * scale > max_model_len:
                return tuple(bounds)
            bounds.append(float(mantissa * scale))
        scale *= 10


class Histogram:
    """Observations in buckets; `counts` are per bucket, not cumulative, with one more for +Inf."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Add `times` observations of `value`."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    @property
    def count(self) -> int:
        """Number of observations."""
        return sum(self.counts)


FINISH_REASONS = ("stop", "length", "abort", "error", "repetition")
REJECTIONS = ("max_num_queued_reqs", "max_num_queued_tokens")


@dataclass(slots=True)
class EngineStats:
    """Totals of one engine since its start; token counts are exact."""

    max_model_len: int
    prompt_tokens: int = 0
    generation_tokens: int = 0
    prefix_queries: int = 0
    prefix_hits: int = 0
    host_queries: int = 0
    host_hits: int = 0
    cached_device: int = 0
    cached_host: int = 0
    preemptions: int = 0
    steps: int = 0
    drafts: int = 0
    draft_tokens: int = 0
    accepted_tokens: int = 0
    accepted_per_position: list[int] = field(default_factory=list)
    finished: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FINISH_REASONS, 0))
    rejections: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REJECTIONS, 0))
    time_to_first_token: Histogram = field(default_factory=lambda: Histogram(TIME_TO_FIRST_TOKEN))
    inter_token_latency: Histogram = field(default_factory=lambda: Histogram(INTER_TOKEN_LATENCY))
    time_per_output_token: Histogram = field(default_factory=lambda: Histogram(INTER_TOKEN_LATENCY))
    e2e_latency: Histogram = field(default_factory=lambda: Histogram(REQUEST_LATENCY))
    queue_time: Histogram = field(default_factory=lambda: Histogram(REQUEST_LATENCY))
    inference_time: Histogram = field(default_factory=lambda: Histogram(REQUEST_LATENCY))
    prefill_time: Histogram = field(default_factory=lambda: Histogram(REQUEST_LATENCY))
    decode_time: Histogram = field(default_factory=lambda: Histogram(REQUEST_LATENCY))
    iteration_tokens: Histogram = field(default_factory=lambda: Histogram(ITERATION_TOKENS))
    params_n: Histogram = field(default_factory=lambda: Histogram(REQUEST_PARAMS_N))
    num_preemptions: Histogram = field(default_factory=lambda: Histogram(NUM_PREEMPTIONS))
    request_prompt_tokens: Histogram = field(init=False)
    request_generation_tokens: Histogram = field(init=False)
    request_max_generation_tokens: Histogram = field(init=False)
    params_max_tokens: Histogram = field(init=False)
    prefill_computed_tokens: Histogram = field(init=False)

    def __post_init__(self) -> None:
        bounds = request_token_buckets(self.max_model_len)
        self.request_prompt_tokens = Histogram(bounds)
        self.request_generation_tokens = Histogram(bounds)
        self.request_max_generation_tokens = Histogram(bounds)
        self.params_max_tokens = Histogram(bounds)
        self.prefill_computed_tokens = Histogram(bounds)
