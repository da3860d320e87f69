"""Tells step times from kernels that were measured on the GPU itself.

NVIDIA's package `aiconfigurator-core` (the extra `tierwise[kernels]`) ships measurements of single kernels: matrix
products, attention, all-reduces, on a dozen GPUs in the formats that vLLM runs. This module asks it for the parts of a
step and adds them up: what works on all tokens alike, the attention of the prompts, the attention of the decodes. A
kernel that was not measured is an error that says which, never a guess.

The package is imported when it is asked for the first time, since neither the operator nor a router has it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from tierwise_sim.settings import EngineSettings
from tierwise_sim.step_time import Batch

EXTRA = "pip install 'tierwise[kernels]' (Python 3.11 to 3.13)"
# A KV cache's length is asked for in steps of this many tokens per sequence: the answers are all but linear in it.
_CONTEXT_STEP = 32

# The folder in the package by the product that a node's label names.
SYSTEMS = {
    "NVIDIA-A100-SXM4-80GB": "a100_sxm",
    "NVIDIA-B200": "b200_sxm",
    "NVIDIA-GB200": "gb200",
    "NVIDIA-H100-80GB-HBM3": "h100_sxm",
    "NVIDIA-H200": "h200_sxm",
    "NVIDIA-L40S": "l40s",
    "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition": "rtx_pro_6000_server",
}
# The checkpoint in the package whose layers a model has, by a part of the model's name, the longest that fits.
CONFIGS = {
    "llama-3.1-8b": "meta-llama/Meta-Llama-3.1-8B",
    "llama-3.1-70b": "meta-llama/Meta-Llama-3.1-70B",
    "llama-3.3-70b": "meta-llama/Meta-Llama-3.1-70B",
    "llama-3.1-405b": "meta-llama/Meta-Llama-3.1-405B",
    "qwen3-0.6b": "Qwen/Qwen3-0.6B",
    "qwen3-1.7b": "Qwen/Qwen3-1.7B",
    "qwen3-8b": "Qwen/Qwen3-8B",
    "qwen3-32b": "Qwen/Qwen3-32B",
}
_GEMM = {"bf16": "bfloat16", "fp8": "fp8", "nvfp4": "nvfp4"}
_KV = {2.0: "bfloat16", 1.0: "fp8"}


class KernelsUnavailable(Exception):
    """No measured kernels for an engine; the message says what is missing."""


class Answers(Protocol):
    """What is asked of the package; milliseconds."""

    def decode_step_latency(self, sequences: int, context: int, output: int, /) -> float:
        """A step of decodes only."""
        ...

    def mixed_step_breakdown(
        self, prompt_tokens: int, sequences: int, prompt: int, output: int, cached: int, /
    ) -> tuple[float, float, float, float]:
        """The whole; what works on all tokens; the attention of the prompts; that of the decodes."""
        ...


@dataclass(frozen=True)
class Kernels:
    """Step durations from measured kernels, without anything that is not a kernel (`step_time.WithOverheads`)."""

    settings: EngineSettings
    answers: Answers

    @property
    def request_seconds(self) -> float:
        """None: kernels know the GPU only."""
        return 0.0

    def seconds(self, batch: Batch) -> float:
        """Duration of one step, in seconds of the compressed clock."""
        drafted = batch.decodes * batch.drafted
        if not batch.prefill and not drafted:
            return self.decode_seconds(batch.decodes)(batch.decode_context)
        shared, prompts, decodes = self._parts
        milliseconds = shared(batch.prefill + drafted, batch.decodes)
        if batch.prefill:
            chunks = max(1, batch.prefills)
            end = max(1, round(batch.prefill_context / chunks))
            start = max(0, min(end - 1, round(end - batch.prefill / chunks)))
            milliseconds += prompts(batch.prefill, end, start)
        if batch.decodes:
            milliseconds += decodes(batch.decodes, max(1, round(batch.decode_context / batch.decodes)))
        return milliseconds / 1000 / self.settings.speed

    def decode_seconds(self, decodes: int) -> Callable[[int], float]:
        """`seconds` of a step with only these decodes, as a function of their context."""
        one, speed = self._decode, self.settings.speed * 1000 * _CONTEXT_STEP

        def seconds(context: int) -> float:
            mean = context / decodes
            below = int(mean // _CONTEXT_STEP)
            share = mean - below * _CONTEXT_STEP
            return (one(decodes, below) * (_CONTEXT_STEP - share) + one(decodes, below + 1) * share) / speed

        return seconds

    @property
    def _decode(self) -> Callable[[int, int], float]:
        return _cached_decode(self.answers)

    @property
    def _parts(self) -> tuple[Callable[..., float], Callable[..., float], Callable[..., float]]:
        return _cached_parts(self.answers)


@lru_cache(maxsize=64)
def _cached_decode(answers: Answers) -> Callable[[int, int], float]:
    @lru_cache(maxsize=1 << 18)
    def decode(decodes: int, step: int) -> float:
        return answers.decode_step_latency(decodes, max(1, step * _CONTEXT_STEP), 2)

    return decode


@lru_cache(maxsize=64)
def _cached_parts(answers: Answers) -> tuple[Callable[..., float], Callable[..., float], Callable[..., float]]:
    @lru_cache(maxsize=1 << 16)
    def shared(tokens: int, decodes: int) -> float:
        return answers.mixed_step_breakdown(tokens, decodes, tokens, 2, 0)[1]

    @lru_cache(maxsize=1 << 16)
    def prompts(tokens: int, end: int, start: int) -> float:
        return answers.mixed_step_breakdown(tokens, 1, end, 2, start)[2]

    @lru_cache(maxsize=1 << 16)
    def decodes(sequences: int, context: int) -> float:
        return answers.mixed_step_breakdown(1, sequences, context, 2, 0)[3]

    return shared, prompts, decodes


def kernels(settings: EngineSettings) -> Kernels:
    """The measured kernels of an engine. Raises KernelsUnavailable, with what is missing."""
    system = SYSTEMS.get(settings.gpu.product)
    if system is None:
        raise KernelsUnavailable(f"no kernels were measured on {settings.gpu.product}")
    lowered = settings.model.lower()
    fitting = [part for part in CONFIGS if part in lowered]
    if not fitting:
        raise KernelsUnavailable(f"no layers are known of {settings.model}; known: {', '.join(sorted(CONFIGS))}")
    gemm, kv = _GEMM.get(settings.precision.name), _KV.get(settings.kv_element_bytes)
    if gemm is None or kv is None:
        raise KernelsUnavailable(
            f"no kernels were measured for {settings.precision.name} weights with "
            f"{settings.kv_element_bytes:g} bytes per element of the KV cache"
        )
    if settings.pipeline_parallel > 1:
        raise KernelsUnavailable("no kernels were measured for pipeline parallelism")
    answers = _compiled(CONFIGS[max(fitting, key=len)], system, settings.tensor_parallel, gemm, kv)
    return Kernels(settings, answers)


@lru_cache(maxsize=64)
def _compiled(model: str, system: str, tensor_parallel: int, gemm: str, kv: str) -> Answers:
    """The package's engine, after it answered once: whether it has the kernels shows only then."""
    try:
        from aiconfigurator_core import AicEngine
        from aiconfigurator_core.sdk.engine import compile_engine
    except ImportError as error:
        raise KernelsUnavailable(f"{error.name} is not installed: {EXTRA}") from error
    made: Any = None
    with _quiet():
        reasons = []
        for attention in ("fp8", "bfloat16") if kv == "fp8" else ("bfloat16",):
            try:
                spec = compile_engine(
                    model,
                    system,
                    "vllm",
                    None,
                    tp_size=tensor_parallel,
                    gemm_quant_mode=gemm,
                    kvcache_quant_mode=kv,
                    fmha_quant_mode=attention,
                )
                made = AicEngine.from_spec(spec)
                made.decode_step_latency(1, 1000, 2)
                made.mixed_step_breakdown(1000, 1, 1000, 2, 0)
            except (RuntimeError, ValueError, LookupError) as error:
                reasons.append(str(error).splitlines()[0][:200])
            else:
                return _Engine(made)
    raise KernelsUnavailable(f"{model}, {gemm}, {kv} KV cache, on {tensor_parallel} {system}: {reasons[0]}")


class _Engine:
    """The package's engine, compared by identity, so that answers can be kept by it."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def decode_step_latency(self, sequences: int, context: int, output: int, /) -> float:
        return float(self._made.decode_step_latency(sequences, context, output))

    def mixed_step_breakdown(
        self, prompt_tokens: int, sequences: int, prompt: int, output: int, cached: int, /
    ) -> tuple[float, float, float, float]:
        whole, shared, prompts, decodes = self._made.mixed_step_breakdown(
            prompt_tokens, sequences, prompt, output, cached
        )
        return whole, shared, prompts, decodes


class _quiet:
    """Keeps the package's warnings off a command's output while it loads its tables."""

    def __enter__(self) -> None:
        self._level = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self._level)
