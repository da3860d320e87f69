"""Reads the simulation's configuration: which GPU, how fast time runs, what goes wrong.

Everything comes from the environment, because a pod's command line belongs to vLLM: variables named
`TIERWISE_SIM_*`, or a JSON object in `TIERWISE_SIM_CONFIG` (or in the file that it names) whose keys are the
lower-case rest of the same names. In the object, `models` maps name patterns to such keys, so that one image
serves a tier that works beside one that dies at start; a variable overrides the object, a matching pattern
overrides both.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tierwise_sim.arithmetic import Skill
from tierwise_sim.hardware import UnknownGpuError, find_gpu
from tierwise_sim.models import checkpoint_precision, kv_element_bytes, precision_of, shape_of
from tierwise_sim.settings import EngineSettings, StartupError, default_batch_limits
from tierwise_sim.speculation import DEFAULT_ACCEPTANCE, Speculation, parse_schedule
from tierwise_sim.stats import Buckets, parse_buckets

PREFIX = "TIERWISE_SIM_"
DEFAULT_VERSION = "0.33.0"
DEFAULT_MAX_MODEL_LEN = 32768
DEFAULT_GPU = "NVIDIA-L4"
# The GPU of the node, by its product label, as the playground's kubelet tells every container that has one.
OF_THE_NODE = "node"
NODE_GPU = "PLAYGROUND_GPU"

OUT_OF_MEMORY = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
    "22.03 GiB of which 1.12 GiB is free."
)


class ConfigError(ValueError):
    """A TIERWISE_SIM_ setting that means nothing."""


@dataclass(frozen=True, slots=True)
class SimConfig:
    """The simulated surroundings of one engine; every field is a variable `TIERWISE_SIM_<NAME>`.

    `gpu`: a product label, or `node` for that of the node.
    `load_seconds`: wall seconds from start to listening (default: the model's, divided by `speed`).
    `speed`: how many times faster than the GPU everything runs. `params_b`: billions of parameters instead of
    those in the model's name. `acceptance`: per drafted token. `output_tokens`: mean answer length when the
    model decides. `tick_seconds`: how often tokens are sent to clients, at most. `fail`: the last line of a
    start that fails after the load ("oom" for CUDA's), with `fail_exit_code`. `abort_mode`: what open
    requests see when the engine is killed at the shutdown deadline, an error or (vLLM, 9 of 14 times) nothing.
    `answers_skill`: arithmetic with up to so many operators is answered rightly, but for the share `answers_slip`, and
    beyond it in the share `answers_luck` (arithmetic.py); without it answers are mere words.
    `right_percent`: how many answers are right, by a hash of the prompt; `confidence_auc`: how well the
    log-probabilities tell them from the others (`tierwise_sim.confidence`).
    `calibration`: a file of `tierwise calibrate`, whose step times are taken instead of those of the GPU.
    """

    version: str = DEFAULT_VERSION
    gpu: str = DEFAULT_GPU
    load_seconds: float | None = None
    speed: float = 1.0
    params_b: float | None = None
    acceptance: float | None = None
    output_tokens: int = 200
    seed: int = 0
    tick_seconds: float = 0.02
    fail: str | None = None
    fail_exit_code: int = 1
    abort_mode: str = "error"
    answers_skill: int | None = None
    answers_slip: float = 0.0
    answers_luck: float = 0.0
    right_percent: float | None = None
    confidence_auc: float = 0.5
    calibration: str | None = None

    def __post_init__(self) -> None:
        if self.speed <= 0 or self.tick_seconds <= 0 or self.output_tokens < 1:
            raise ConfigError(f"{PREFIX}SPEED, TICK_SECONDS and OUTPUT_TOKENS must be positive")
        if self.acceptance is not None and not 0 <= self.acceptance <= 1:
            raise ConfigError(f"{PREFIX}ACCEPTANCE must be between 0 and 1, got {self.acceptance}")
        if self.right_percent is not None and not 0 <= self.right_percent <= 100:
            raise ConfigError(f"{PREFIX}RIGHT_PERCENT must be between 0 and 100, got {self.right_percent}")
        if not 0 < self.confidence_auc < 1:
            raise ConfigError(f"{PREFIX}CONFIDENCE_AUC must be between 0 and 1, got {self.confidence_auc}")
        if self.abort_mode not in ("error", "hang"):
            raise ConfigError(f"{PREFIX}ABORT_MODE must be 'error' or 'hang', got {self.abort_mode!r}")
        try:
            _ = self.skill
        except ValueError as error:
            raise ConfigError(f"{PREFIX}ANSWERS_SKILL, ANSWERS_SLIP, ANSWERS_LUCK: {error}") from error

    @property
    def skill(self) -> Skill | None:
        """What of arithmetic is answered rightly; None where answers are mere words."""
        if self.answers_skill is None:
            return None
        return Skill(self.answers_skill, self.answers_slip, self.answers_luck)


_INTEGERS = ("output_tokens", "seed", "fail_exit_code", "answers_skill")
_NUMBERS = (
    "load_seconds",
    "speed",
    "params_b",
    "acceptance",
    "tick_seconds",
    "answers_slip",
    "answers_luck",
    "right_percent",
    "confidence_auc",
)


def _convert(name: str, value: object) -> object:
    if value is None:
        return None
    try:
        if name in _INTEGERS:
            return int(str(value))
        if name in _NUMBERS:
            return float(str(value))
    except ValueError:
        raise ConfigError(f"{PREFIX}{name.upper()} must be a number, got {value!r}") from None
    return str(value)


def _content(given: str) -> dict[str, Any]:
    """The object that TIERWISE_SIM_CONFIG is, or that the file it names holds."""
    try:
        content = json.loads(given if given.startswith("{") else Path(given).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{PREFIX}CONFIG is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{PREFIX}CONFIG must hold a JSON object, not {type(content).__name__}")
    return content


def load_config(environment: Mapping[str, str], model: str) -> SimConfig:
    """The configuration for one model from the environment and the object or file it gives.

    Raises ConfigError for unknown names and bad values, OSError when the file cannot be read.
    """
    known = {field.name for field in fields(SimConfig)}
    merged: dict[str, Any] = {}
    patterns: dict[str, dict[str, Any]] = {}
    if given := environment.get(f"{PREFIX}CONFIG"):
        content = _content(given)
        patterns = content.pop("models", {})
        merged.update(content)
    for variable, value in environment.items():
        name = variable.removeprefix(PREFIX).lower()
        if variable.startswith(PREFIX) and name != "config":
            merged[name] = value
    for pattern, overrides in patterns.items():
        if fnmatchcase(model, pattern):
            merged.update(overrides)
    if merged.get("gpu") == OF_THE_NODE:
        merged["gpu"] = environment.get(NODE_GPU) or DEFAULT_GPU
    if unknown := sorted(set(merged) - known):
        raise ConfigError(f"unknown {PREFIX} settings: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    return SimConfig(**{name: _convert(name, value) for name, value in merged.items()})  # type: ignore[arg-type]


def _speculation(options: argparse.Namespace, config: SimConfig) -> Speculation | None:
    """The speculation that the options ask for; raises StartupError as vLLM's config check does."""
    raw: dict[str, Any] = dict(options.speculative_config or {})
    if options.spec_method or options.spec_model or options.spec_tokens:
        if raw:
            raise StartupError("ValueError: --speculative-config and --spec-* cannot be used together.")
        raw = {"method": options.spec_method, "model": options.spec_model}
        raw["num_speculative_tokens"] = options.spec_tokens
    if not raw:
        return None
    model = str(raw.get("model") or "")
    method = str(raw.get("method") or ("draft_model" if model else ""))
    tokens = raw.get("num_speculative_tokens")
    if not method:
        raise StartupError("ValueError: num_speculative_tokens was provided but without speculative model.")
    if not isinstance(tokens, int) or tokens <= 0:
        raise StartupError(
            "ValueError: A speculative model was provided, but `num_speculative_tokens` was not provided"
        )
    draft_b = 0.0
    if method == "draft_model":
        draft_b = shape_of(model).params_b
    elif not method.startswith(("ngram", "suffix")):
        shape = shape_of(options.model, config.params_b)
        layers = shape.params_b - 2e-9 * shape.embedding_params
        draft_b = max(layers, 0.0) / shape.layers + 32000 * shape.hidden * 1e-9
    acceptance = config.acceptance
    if acceptance is None:
        acceptance = DEFAULT_ACCEPTANCE.get(method, 0.6)
    try:
        entries = raw.get("num_speculative_tokens_per_batch_size")
        schedule = parse_schedule(entries) if entries is not None else ()
    except ValueError as error:
        raise StartupError(f"ValueError: {error}") from error
    return Speculation(method, tokens, acceptance, draft_b, schedule)


def _buckets(options: argparse.Namespace) -> Buckets:
    """The histogram bounds that the options ask for; an option that release 0.30 does not have."""
    given = getattr(options, "custom_histogram_buckets", None)
    try:
        return parse_buckets(given) if given is not None else {}
    except ValueError as error:
        raise StartupError(f"ValueError: {error}") from error


def build_settings(options: argparse.Namespace, config: SimConfig) -> EngineSettings:
    """The engine that this command line starts on this hardware.

    Raises StartupError, with the line that vLLM would end with, when it would not start.
    """
    try:
        gpu = find_gpu(config.gpu)
    except UnknownGpuError as error:
        raise StartupError(f"RuntimeError: {error}") from error
    release = tuple(int(part) for part in config.version.split(".")[:2])
    named = "/" in options.model and not options.model.startswith("/")
    if options.quantization == "fp8" and named and not checkpoint_precision(options.model) and release >= (0, 31):
        raise StartupError(
            "ValueError: The `fp8` quantization method no longer supports online quantization. "
            "Please use `--quantization fp8_per_tensor` instead. "
            "See https://docs.vllm.ai/en/stable/features/quantization/online/"
        )
    batched, seqs = default_batch_limits(gpu)
    if options.max_num_batched_tokens is not None:
        batched = options.max_num_batched_tokens
    if options.max_num_seqs is not None:
        seqs = options.max_num_seqs
    elif options.max_num_batched_tokens is not None:
        seqs = min(seqs, batched)
    length = options.max_model_len if options.max_model_len is not None else DEFAULT_MAX_MODEL_LEN
    values: dict[str, Any] = {
        "model": options.model,
        "shape": shape_of(options.model, config.params_b),
        "precision": precision_of(options.model, options.quantization),
        "gpu": gpu,
        "tensor_parallel": options.tensor_parallel_size,
        "pipeline_parallel": options.pipeline_parallel_size,
        "max_num_seqs": seqs,
        "max_num_batched_tokens": batched,
        "max_num_queued_reqs": options.max_num_queued_reqs,
        "max_num_queued_tokens": options.max_num_queued_tokens,
        "block_size": options.block_size or 16,
        "kv_element_bytes": kv_element_bytes(options.kv_cache_dtype),
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "kv_cache_memory_bytes": options.kv_cache_memory_bytes,
        "kv_blocks_override": options.num_gpu_blocks_override,
        "prefix_caching": options.enable_prefix_caching is not False,
        "kv_offload_gib": options.kv_offloading_size or 0.0,
        "speculation": _speculation(options, config),
        "speed": config.speed,
        "histogram_buckets": _buckets(options),
    }
    settings = EngineSettings(max_model_len=max(1, length), **values)
    if length == -1:
        settings = EngineSettings(max_model_len=min(131072, max(1, settings.kv_tokens)), **values)
    settings.check()
    return settings
