"""Lists what each engine release has.

Read in the sources of vLLM 0.30.0, 0.32.0 and 0.33.0 (config/cache.py, config/speculative.py,
model_executor/layers/quantization/__init__.py, engine/arg_utils.py, v1/metrics/loggers.py); the test-suite asks the
argument parsers of these releases again. Where a release differs from the one before it, the entry says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tierwise.api.modeltier import Engine
from tierwise.engines.hardware import Hardware
from tierwise.engines.removed_features import DEPRECATED_CHECKPOINTS, REMOVED_FLAGS, REMOVED_METHODS, RENAMED_METRICS
from tierwise.errors import Unsupported


@dataclass(frozen=True, slots=True)
class MetricNames:
    """How the engine calls what we measure, as Prometheus stores it (counters with `_total`).

    Units: requests, tokens; `kv_usage` is a fraction 0..1. `cache_info` is a constant 1 whose label
    `kv_tokens_label` holds the KV capacity of the replica in tokens."""

    running: str = "vllm:num_requests_running"
    waiting: str = "vllm:num_requests_waiting"
    kv_usage: str = "vllm:kv_cache_usage_perc"
    cache_info: str = "vllm:cache_config_info"
    kv_tokens_label: str = "kv_cache_size_tokens"
    prefix_queries: str = "vllm:prefix_cache_queries_total"
    prefix_hits: str = "vllm:prefix_cache_hits_total"
    drafts: str = "vllm:spec_decode_num_drafts_total"
    draft_tokens: str = "vllm:spec_decode_num_draft_tokens_total"
    accepted_tokens: str = "vllm:spec_decode_num_accepted_tokens_total"
    prompt_tokens: str = "vllm:prompt_tokens_total"
    generation_tokens: str = "vllm:generation_tokens_total"
    # Histograms over finished requests: their sums and counts give a mean that no unfinished request distorts.
    request_prompt_tokens: str = "vllm:request_prompt_tokens"
    request_generation_tokens: str = "vllm:request_generation_tokens"
    # Histograms of every request that has got so far.
    ttft: str = "vllm:time_to_first_token_seconds"
    # Of every answer that has ended: the mean time between its tokens.
    tpot: str = "vllm:request_time_per_output_token_seconds"
    rejections: str = "vllm:admission_rejections_total"  # since 0.32: 503 for want of room in the engine's queue


@dataclass(frozen=True, slots=True)
class Profile:
    """One minor release of one engine. `minor` compares as a tuple of integers."""

    engine: str
    minor: tuple[int, int]
    repository: str
    program: tuple[str, ...]
    port: int
    health_path: str
    metrics: MetricNames
    online_quantization: frozenset[str]  # quantized while loading: the flag is passed
    checkpoint_quantization: frozenset[str]  # the checkpoint says so itself: the flag is omitted
    kv_cache_dtypes: frozenset[str]
    speculation: frozenset[str]
    removed: Mapping[str, str]  # what earlier releases had and this one has not -> what to do instead
    # What a checkpoint may say of itself as quant_method; any other is unknown to this release.
    known_quantization: frozenset[str]
    # What it reads only with --allow-deprecated-quantization, which is not open -> what to do instead.
    deprecated: Mapping[str, str]
    hardware: Hardware
    drain_flag: str = "--shutdown-timeout"  # seconds that running requests get after SIGTERM; the default 0 aborts them
    speculation_refuses: tuple[str, ...] = ("min_p", "logit_bias")  # fields of a request: HTTP 400 while drafting
    removed_flags: Mapping[str, str] = field(default_factory=lambda: REMOVED_FLAGS)
    renamed_metrics: Mapping[str, str] = field(default_factory=lambda: RENAMED_METRICS)

    @property
    def release(self) -> str:
        """The minor release as people write it, e.g. 0.33."""
        return f"{self.minor[0]}.{self.minor[1]}"

    def image(self, engine: Engine) -> str:
        """The container image: the one that is named, else the engine's own of this version."""
        return engine.image or f"{self.repository}:v{engine.version}"


_VLLM_0_33 = Profile(
    engine="vllm",
    minor=(0, 33),
    repository="vllm/vllm-openai",
    program=("vllm", "serve"),
    port=8000,
    health_path="/health",
    metrics=MetricNames(),
    online_quantization=frozenset(
        {
            "fp8_per_tensor",
            "fp8_per_channel",
            "fp8_per_block",
            "mxfp8",
            "mxfp4",
            "int8_per_channel_weight_only",
            "nvfp4_per_token",
        }
    ),
    checkpoint_quantization=frozenset(
        {"compressed-tensors", "awq", "gptq", "fp8", "modelopt", "modelopt_fp4", "quark", "torchao"}
    ),
    kv_cache_dtypes=frozenset({"auto", "bfloat16", "float16", "fp8", "fp8_e4m3", "fp8_e5m2", "nvfp4"}),
    speculation=frozenset({"ngram", "draft_model", "eagle", "eagle3", "mtp", "suffix"}),
    removed=REMOVED_METHODS
    | {
        "medusa": "use eagle3, or engine.version 0.32",
        "mlp_speculator": "use eagle3, or engine.version 0.32",
    },
    known_quantization=frozenset(
        {"auto_awq", "auto_gptq", "auto-round", "awq", "awq_marlin", "compressed-tensors", "deepseek_v4_fp8"}
        | {"experts_int8", "fp8", "fp8_per_block", "fp8_per_channel", "fp8_per_tensor"}
        | {"gpt_oss_mxfp4", "gptq", "gptq_marlin", "humming", "inc", "int8_per_channel_weight_only", "modelopt"}
        | {"modelopt_fp4", "modelopt_mixed", "modelopt_mxfp8", "moe_wna16", "mxfp4", "mxfp8", "nvfp4_per_token"}
        | {"online", "quark", "torchao"}
    ),
    deprecated=DEPRECATED_CHECKPOINTS,
    hardware=Hardware(),
)
# 0.33 removed the speculation methods medusa and mlp_speculator.
_VLLM_0_32 = replace(
    _VLLM_0_33,
    minor=(0, 32),
    speculation=_VLLM_0_33.speculation | {"medusa", "mlp_speculator"},
    removed=REMOVED_METHODS,
    hardware=Hardware(refuses_other_float_cache=False),
)
# 0.32 added --custom-histogram-buckets and --max-num-active-seqs (see `extra`); --max-num-queued-reqs,
# --shutdown-timeout, --kv-offloading-size and the schedule by batch size are in 0.30 already.
# 0.30 reads an nvfp4 cache on compute capability 10 alone, and its CUTLASS kernel of FP8 asks for no capability.
_VLLM_0_30 = replace(
    _VLLM_0_32,
    minor=(0, 30),
    hardware=Hardware(refuses_other_float_cache=False, nvfp4_cache=frozenset({10}), plain_fp8_falls_back=False),
)

_PROFILES: dict[tuple[str, str], Profile] = {
    (each.engine, each.release): each for each in (_VLLM_0_30, _VLLM_0_32, _VLLM_0_33)
}


def profiles() -> tuple[Profile, ...]:
    """Every profile, sorted by engine and release."""
    return tuple(_PROFILES[key] for key in sorted(_PROFILES))


def profile(engine: Engine) -> Profile:
    """The profile of an engine's release. Patch releases share one: raises Unsupported when there is none."""
    release = ".".join(engine.version.split(".")[:2])
    found = _PROFILES.get((engine.name, release))
    if found is None:
        known = ", ".join(each.release for each in profiles() if each.engine == engine.name) or "none"
        raise Unsupported(f"engine {engine.name} {engine.version} is not known; known releases: {known}")
    return found
