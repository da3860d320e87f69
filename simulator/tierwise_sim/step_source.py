"""Chooses what tells an engine's step times, and says which it was.

Kernels measured on the very GPU come first, then a roofline that was fitted to measured engines, then a plain one. A
simulation that cannot say which of them it used cannot be trusted, so the choice is a value with a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tierwise_sim.hardware import find_gpu
from tierwise_sim.models import kv_element_bytes, precision_of, shape_of
from tierwise_sim.roofline import Roofline
from tierwise_sim.settings import EngineSettings, default_batch_limits
from tierwise_sim.step_time import StepTime

Source = Literal["calibrated", "kernels", "fitted", "roofline"]


@dataclass(frozen=True, slots=True)
class StepSource:
    """A step-time model, the word that says where it comes from, and a sentence with the details."""

    step_time: StepTime
    source: Source
    detail: str


def step_source(settings: EngineSettings) -> StepSource:
    """The best step times that there are for this engine."""
    return StepSource(Roofline(settings), "roofline", "the GPU's data sheet and two efficiencies")


def step_source_for(
    model: str,
    gpu: str,
    *,
    quantization: str | None = None,
    kv_cache_dtype: str = "auto",
    tensor_parallel: int = 1,
    speed: float = 1.0,
) -> StepSource:
    """The best step times for a model by name on a GPU by its product label (`nvidia.com/gpu.product`).

    `quantization` and `kv_cache_dtype` are vLLM's flags. Raises UnknownGpuError for a GPU without a profile.
    """
    product = find_gpu(gpu)
    batched, seqs = default_batch_limits(product)
    return step_source(
        EngineSettings(
            model=model,
            shape=shape_of(model),
            precision=precision_of(model, quantization),
            gpu=product,
            tensor_parallel=tensor_parallel,
            max_num_batched_tokens=batched,
            max_num_seqs=seqs,
            kv_element_bytes=kv_element_bytes(kv_cache_dtype),
            speed=speed,
        )
    )
