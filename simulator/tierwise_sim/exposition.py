"""Writes the page of `GET /metrics`.

vLLM's own metric names, types, help texts, labels and buckets (vllm/v1/metrics/loggers.py and
vllm/v1/spec_decode/metrics.py, 0.33; equal in 0.32, and 0.30 lacks `admission_rejections` and
`prompt_tokens_cached_by_source`), written by hand: rendering costs a fraction of a millisecond and an idle
engine nothing. Left out are the series that say nothing about a simulated engine: `_created` timestamps,
`python_*`, `process_*` and `http_*`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate

from tierwise_sim.engine import Engine
from tierwise_sim.stats import FINISH_REASONS, REJECTIONS, Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_CACHE_SOURCES = ("device", "host", "p2p", "disk", "external_unspecified")
_SLEEP_STATES = ("awake", "weights_offloaded", "discard_all")


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _labels(pairs: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in pairs.items())


def _number(value: float) -> str:
    return "NaN" if value != value else repr(float(value))


class MetricsPage:
    """The page of one engine. `model_name` is the first served name, as in vLLM."""

    def __init__(self, engine: Engine, model_name: str, version: str, cache_info: Mapping[str, str]) -> None:
        self._engine = engine
        self._model = model_name
        self._labels = _labels({"model_name": model_name, "engine": "0"})
        self._info = _labels({**cache_info, "engine": "0"})
        self._since_032 = tuple(int(part) for part in version.split(".")[:2]) >= (0, 32)
        self._lines: list[str] = []
        self._instead = ""

    def render(self, instead: str = "") -> str:
        """The page's text; `instead` (NaN, +Inf) stands in the place of every value, as in a broken exporter's."""
        self._lines, self._instead = [], instead
        self._gauges()
        self._counters()
        self._speculation()
        self._histograms()
        return "\n".join([*self._lines, ""])

    def _family(self, name: str, kind: str, text: str, samples: Iterable[tuple[str, str, float]]) -> None:
        """One family; samples are (suffix of the name, label text, value)."""
        self._lines.append(f"# HELP {name} {text}")
        self._lines.append(f"# TYPE {name} {kind}")
        for suffix, labels, value in samples:
            shown = self._instead or _number(value)
            self._lines.append(f"{name}{suffix}{{{labels}}} {shown}")

    def _gauge(self, name: str, text: str, value: float) -> None:
        self._family(name, "gauge", text, [("", self._labels, value)])

    def _counter(self, name: str, text: str, value: float) -> None:
        self._family(f"{name}_total", "counter", text, [("", self._labels, value)])

    def _split(self, name: str, kind: str, text: str, label: str, values: Mapping[str, float]) -> None:
        samples = [("", f'{self._labels},{label}="{key}"', value) for key, value in values.items()]
        self._family(name, kind, text, samples)

    def _gauges(self) -> None:
        engine = self._engine
        waiting = float(len(engine.waiting))
        self._gauge("vllm:num_requests_running", "Number of requests in model execution batches.", len(engine.running))
        self._gauge("vllm:num_requests_waiting", "Number of requests waiting to be processed.", waiting)
        self._split(
            "vllm:num_requests_waiting_by_reason",
            "gauge",
            "Number of waiting requests by reason. Reason labels: 'capacity' = waiting for scheduling capacity; "
            "'deferred' = deferred by transient constraints (LoRA budget, KV transfer, blocked status). "
            "Sum of all reasons equals vllm:num_requests_waiting.",
            "reason",
            {"capacity": waiting, "deferred": 0},
        )
        self._split(
            "vllm:engine_sleep_state",
            "gauge",
            "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; "
            "weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2.",
            "sleep_state",
            {state: float(state == "awake") for state in _SLEEP_STATES},
        )
        self._gauge("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", engine.kv_usage)
        self._family(
            "vllm:cache_config_info",
            "gauge",
            "Information of the LLMEngine CacheConfig",
            [("", self._info, 1)],
        )

    def _counters(self) -> None:
        stats = self._engine.stats
        unit = "in terms of number of"
        external = "from KV connector cross-instance cache sharing,"
        for name, text, value in (
            ("prefix_cache_queries", f"Prefix cache queries, {unit} queried tokens.", stats.prefix_queries),
            ("prefix_cache_hits", f"Prefix cache hits, {unit} cached tokens.", stats.prefix_hits),
            (
                "external_prefix_cache_queries",
                f"External prefix cache queries {external} {unit} queried tokens.",
                stats.host_queries,
            ),
            (
                "external_prefix_cache_hits",
                f"External prefix cache hits {external} {unit} cached tokens.",
                stats.host_hits,
            ),
            ("mm_cache_queries", f"Multi-modal cache queries, {unit} queried items.", 0),
            ("mm_cache_hits", f"Multi-modal cache hits, {unit} cached items.", 0),
            ("num_preemptions", "Cumulative number of preemption from the engine.", stats.preemptions),
            ("prompt_tokens", "Number of prefill tokens processed.", stats.prompt_tokens),
        ):
            self._counter(f"vllm:{name}", text, value)
        cached = stats.cached_device + stats.cached_host
        self._split(
            "vllm:prompt_tokens_by_source_total",
            "counter",
            "Number of prompt tokens by source.",
            "source",
            {
                "local_compute": stats.prompt_tokens - cached,
                "local_cache_hit": stats.cached_device,
                "external_kv_transfer": stats.cached_host,
            },
        )
        self._counter("vllm:prompt_tokens_cached", "Number of cached prompt tokens (local + external).", cached)
        if self._since_032:
            sources = dict.fromkeys(_CACHE_SOURCES, 0.0)
            sources["device"], sources["host"] = stats.prefix_hits, stats.host_hits
            self._split(
                "vllm:prompt_tokens_cached_by_source_total",
                "counter",
                "Prefix-cache hit tokens by the cache tier that supplied them: device (local HBM), host (offloaded "
                "to DRAM), disk, p2p (transferred from another vLLM instance) or external_unspecified. Counted at "
                "admission; sums to vllm:prefix_cache_hits + vllm:external_prefix_cache_hits.",
                "source",
                sources,
            )
        self._counter("vllm:generation_tokens", "Number of generation tokens processed.", stats.generation_tokens)
        self._split(
            "vllm:request_success_total",
            "counter",
            "Count of successfully processed requests.",
            "finished_reason",
            {reason: stats.finished[reason] for reason in FINISH_REASONS},
        )
        if self._since_032:
            model = _labels({"model_name": self._model})
            self._family(
                "vllm:admission_rejections_total",
                "counter",
                "Number of admission attempts rejected by a queue limit, by reason.",
                [("", f'{model},reason="{reason}"', stats.rejections[reason]) for reason in REJECTIONS],
            )

    def _speculation(self) -> None:
        """Present only when the engine speculates, as in vLLM."""
        stats = self._engine.stats
        if self._engine.settings.speculation is None:
            return
        self._counter("vllm:spec_decode_num_drafts", "Number of spec decoding drafts.", stats.drafts)
        self._counter("vllm:spec_decode_num_draft_tokens", "Number of draft tokens.", stats.draft_tokens)
        self._counter("vllm:spec_decode_num_accepted_tokens", "Number of accepted tokens.", stats.accepted_tokens)
        self._split(
            "vllm:spec_decode_num_accepted_tokens_per_pos_total",
            "counter",
            "Accepted tokens per draft position.",
            "position",
            {str(position): count for position, count in enumerate(stats.accepted_per_position)},
        )

    def _histogram(self, name: str, text: str, histogram: Histogram) -> None:
        bounds = [*(_number(bound) for bound in histogram.bounds), "+Inf"]
        samples: list[tuple[str, str, float]] = [
            ("_bucket", f'{self._labels},le="{bound}"', count)
            for bound, count in zip(bounds, accumulate(histogram.counts), strict=True)
        ]
        samples.append(("_count", self._labels, histogram.count))
        samples.append(("_sum", self._labels, histogram.total))
        self._family(name, "histogram", text, samples)

    def _histograms(self) -> None:
        stats = self._engine.stats
        phase = "Histogram of time spent in {} phase for request."
        for name, text, histogram in (
            ("request_prompt_tokens", "Number of prefill tokens processed.", stats.request_prompt_tokens),
            (
                "request_generation_tokens",
                "Number of generation tokens processed.",
                stats.request_generation_tokens,
            ),
            (
                "iteration_tokens_total",
                "Histogram of number of tokens per engine_step.",
                stats.iteration_tokens,
            ),
            (
                "request_max_num_generation_tokens",
                "Histogram of maximum number of requested generation tokens.",
                stats.request_max_generation_tokens,
            ),
            ("request_params_n", "Histogram of the n request parameter.", stats.params_n),
            (
                "request_params_max_tokens",
                "Histogram of the max_tokens request parameter.",
                stats.params_max_tokens,
            ),
            (
                "time_to_first_token_seconds",
                "Histogram of time to first token in seconds.",
                stats.time_to_first_token,
            ),
            (
                "inter_token_latency_seconds",
                "Histogram of inter-token latency in seconds.",
                stats.inter_token_latency,
            ),
            (
                "request_time_per_output_token_seconds",
                "Histogram of time_per_output_token_seconds per request.",
                stats.time_per_output_token,
            ),
            (
                "e2e_request_latency_seconds",
                "Histogram of e2e request latency in seconds.",
                stats.e2e_latency,
            ),
            ("request_queue_time_seconds", phase.format("WAITING"), stats.queue_time),
            ("request_inference_time_seconds", phase.format("RUNNING"), stats.inference_time),
            ("request_prefill_time_seconds", phase.format("PREFILL"), stats.prefill_time),
            ("request_decode_time_seconds", phase.format("DECODE"), stats.decode_time),
            (
                "request_num_preemptions",
                "Histogram of the number of times a request was preempted.",
                stats.num_preemptions,
            ),
            (
                "request_prefill_kv_computed_tokens",
                "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
                stats.prefill_computed_tokens,
            ),
        ):
            self._histogram(f"vllm:{name}", text, histogram)
