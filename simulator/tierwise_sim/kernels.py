"""Tells step times from kernels that were measured on the GPU itself.

NVIDIA's package `aiconfigurator-core` (the extra `tierwise[kernels]`) ships measurements of single kernels: matrix
products, attention, all-reduces, on a dozen GPUs in the formats that vLLM runs. This module asks it for the parts of a
step and adds them up: what works on all tokens alike, the attention of the prompts, the attention of the decodes. A
kernel that was not measured is an error that says which, never a guess. Single measurements are noisy (4 sequences that
take longer than 12): a step is never longer than a larger one, because it could be padded to that.

The package is imported when it is asked for the first time, since neither the operator nor a router has it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from tierwise_sim.roofline import Roofline
from tierwise_sim.settings import EngineSettings
from tierwise_sim.step_time import Batch

EXTRA = "pip install '.[kernels]' in Tierwise's source (Python 3.11 to 3.13)"
# A KV cache's length is asked for in steps of this many tokens per sequence: the answers are all but linear in it.
_CONTEXT_STEP = 32
# Sizes that a step may be padded to. vLLM's CUDA graphs have such sizes (compilation config, cudagraph_capture_sizes).
_PADDED = (
    1,
    2,
    4,
    8,
    12,
    16,
    24,
    32,
    48,
    64,
    96,
    128,
    192,
    256,
    384,
    512,
    768,
    1024,
    1536,
    2048,
    3072,
    4096,
    6144,
    8192,
)

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
    parts: Parts

    @property
    def request_seconds(self) -> float:
        """None: kernels know the GPU only."""
        return 0.0

    def seconds(self, batch: Batch) -> float:
        """Duration of one step, in seconds of the compressed clock."""
        drafted = batch.decodes * batch.drafted
        if not batch.prefill and not drafted and not batch.loaded:
            return self.decode_seconds(batch.decodes)(batch.decode_context)
        parts = self.parts
        milliseconds = parts.mixed(batch.prefill + drafted + batch.decodes)
        if batch.prefill:
            chunks = max(1, batch.prefills)
            end = max(1, round(batch.prefill_context / chunks))
            start = max(0, min(end - 1, round(end - batch.prefill / chunks)))
            milliseconds += parts.prompts(batch.prefill, end, start)
        if batch.decodes:
            milliseconds += parts.attention(batch.decodes, max(1, round(batch.decode_context / batch.decodes)))
        return (milliseconds / 1000 + Roofline(self.settings).beside(batch)) / self.settings.speed

    def decode_seconds(self, decodes: int) -> Callable[[int], float]:
        """`seconds` of a step with only these decodes, as a function of their context."""
        parts, step = self.parts, _CONTEXT_STEP
        products, attention, speed = parts.decodes(decodes), parts.attention, self.settings.speed * 1000

        def seconds(context: int) -> float:
            mean = context / decodes
            below = int(mean // step) * step
            share = (mean - below) / step
            between = attention(decodes, max(1, below)) * (1 - share) + attention(decodes, below + step) * share
            return (products + between) / speed

        return seconds


class Parts:
    """The parts of a step in milliseconds, each answer kept: a run asks for the same again and again."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self.attention = lru_cache(maxsize=1 << 18)(self._attention)
        self.prompts = lru_cache(maxsize=1 << 16)(self._prompts)
        self.mixed = lru_cache(maxsize=1 << 16)(self._mixed)
        self.decodes = lru_cache(maxsize=1 << 12)(self._decodes)
        self._shared = lru_cache(maxsize=1 << 16)(self._shared_once)
        self._products = lru_cache(maxsize=1 << 12)(self._products_once)

    def _attention(self, sequences: int, context: int) -> float:
        """The attention of decodes."""
        return self._answers.mixed_step_breakdown(1, sequences, context, 2, 0)[3]

    def _prompts(self, tokens: int, end: int, start: int) -> float:
        """The attention of prompts: of so many tokens, whose prompts were computed from `start` to `end`."""
        return self._answers.mixed_step_breakdown(tokens, 1, end, 2, start)[2]

    def _mixed(self, tokens: int) -> float:
        """What works on all tokens alike, in a step with prompts."""
        return min(self._shared(size) for size in _sizes(tokens))

    def _shared_once(self, tokens: int) -> float:
        return self._answers.mixed_step_breakdown(max(1, tokens - 1), 1, max(1, tokens - 1), 2, 0)[1]

    def _decodes(self, sequences: int) -> float:
        """What works on all tokens alike, in a step of decodes only."""
        return min(self._products(size) for size in _sizes(sequences))

    def _products_once(self, sequences: int) -> float:
        context = 1024
        whole = self._answers.decode_step_latency(sequences, context, 2)
        return whole - self.attention(sequences, context)


def _sizes(tokens: int) -> list[int]:
    """The size itself, and those that it could be padded to."""
    return [tokens, *(size for size in _PADDED if tokens < size <= max(512, 2 * tokens))]


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
    return Kernels(settings, _compiled(CONFIGS[max(fitting, key=len)], system, settings.tensor_parallel, gemm, kv))


@lru_cache(maxsize=64)
def _compiled(model: str, system: str, tensor_parallel: int, gemm: str, kv: str) -> Parts:
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
                return Parts(_Engine(made))
    raise KernelsUnavailable(f"{model}, {gemm}, {kv} KV cache, on {tensor_parallel} {system}: {reasons[0]}")


class _Engine:
    """The package's engine, with types."""

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
