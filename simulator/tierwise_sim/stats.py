"""Holds the counters and histograms of an engine.

Counters and histograms as plain numbers, filled by the engine model and read by the metrics page, by replays
and by tests. Bucket bounds are vLLM's (vllm/v1/metrics/buckets.py, the same in 0.32 and 0.33).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise

Buckets = Mapping[str, tuple[float, ...]]

# vLLM's bucket families; `request_tokens` depends on the model length.
FAMILIES: Buckets = {
    "request_latency": (
        0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
        960.0, 1920.0, 7680.0,
    ),
    "time_to_first_token": (
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
        80.0, 160.0, 640.0, 2560.0,
    ),
    "inter_token_latency": (
        0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    ),
    "iteration_tokens": (
        1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0,
    ),
    "request_params_n": (1.0, 2.0, 5.0, 10.0, 20.0),
    "request_num_preemptions": (1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0),
}  # fmt: skip
FAMILY_NAMES = (*FAMILIES, "request_tokens", "kv_cache_residency")


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

    def observe_all(self, values: Sequence[float], times: int) -> None:
        """Add `times` observations of each of these values, which must not be empty."""
        first, last = bisect_left(self.bounds, min(values)), bisect_left(self.bounds, max(values))
        if first == last:
            self.counts[first] += times * len(values)
        else:
            for value in values:
                self.counts[bisect_left(self.bounds, value)] += times
        self.total += sum(values) * times

    @property
    def count(self) -> int:
        """Number of observations."""
        return sum(self.counts)


FINISH_REASONS = ("stop", "length", "abort", "error", "repetition")
REJECTIONS = ("max_num_queued_reqs", "max_num_queued_tokens")


class EngineStats:
    """Totals of one engine since its start; token counts are exact.

    `buckets` replaces the bounds of whole families (vLLM's --custom-histogram-buckets).
    """

    def __init__(self, max_model_len: int, buckets: Buckets | None = None) -> None:
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.prefix_queries = 0
        self.prefix_hits = 0
        self.host_queries = 0
        self.host_hits = 0
        self.cached_device = 0
        self.cached_host = 0
        self.preemptions = 0
        self.steps = 0
        self.drafts = 0
        self.draft_tokens = 0
        self.accepted_tokens = 0
        self.accepted_per_position: list[int] = []
        self.finished = dict.fromkeys(FINISH_REASONS, 0)
        self.rejections = dict.fromkeys(REJECTIONS, 0)
        bounds = {**FAMILIES, "request_tokens": request_token_buckets(max_model_len), **(buckets or {})}
        self.time_to_first_token = Histogram(bounds["time_to_first_token"])
        self.inter_token_latency = Histogram(bounds["inter_token_latency"])
        self.time_per_output_token = Histogram(bounds["inter_token_latency"])
        self.e2e_latency = Histogram(bounds["request_latency"])
        self.queue_time = Histogram(bounds["request_latency"])
        self.inference_time = Histogram(bounds["request_latency"])
        self.prefill_time = Histogram(bounds["request_latency"])
        self.decode_time = Histogram(bounds["request_latency"])
        self.iteration_tokens = Histogram(bounds["iteration_tokens"])
        self.params_n = Histogram(bounds["request_params_n"])
        self.num_preemptions = Histogram(bounds["request_num_preemptions"])
        self.request_prompt_tokens = Histogram(bounds["request_tokens"])
        self.request_generation_tokens = Histogram(bounds["request_tokens"])
        self.request_max_generation_tokens = Histogram(bounds["request_tokens"])
        self.params_max_tokens = Histogram(bounds["request_tokens"])
        self.prefill_computed_tokens = Histogram(bounds["request_tokens"])


def parse_buckets(given: object) -> Buckets:
    """Check a --custom-histogram-buckets value as vLLM does; raises ValueError in its words."""
    if not isinstance(given, dict):
        raise ValueError("custom_histogram_buckets: Input should be a valid dictionary")
    checked: dict[str, tuple[float, ...]] = {}
    for family, bounds in given.items():
        name = f"custom_histogram_buckets[{family!r}]"
        if family not in FAMILY_NAMES:
            raise ValueError(
                f"custom_histogram_buckets: unknown bucket family {family!r}; known families: {sorted(FAMILY_NAMES)}"
            )
        if not isinstance(bounds, list) or not bounds:
            raise ValueError(f"{name}: bucket list must not be empty")
        for bound in bounds:
            if isinstance(bound, bool) or not isinstance(bound, int | float):
                raise ValueError(f"{name}: bound {bound!r} must be a number")
            if not 0 < bound < math.inf:
                raise ValueError(f"{name}: bound {bound!r} must be finite and greater than 0")
        if any(low >= high for low, high in pairwise(bounds)):
            raise ValueError(f"{name}: bounds {bounds} must be strictly increasing")
        checked[family] = tuple(float(bound) for bound in bounds)
    return checked
