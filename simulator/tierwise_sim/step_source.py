"""Chooses what tells an engine's step times, and says which it was.

What was measured on the very engine comes first, then kernels measured on its GPU, then a roofline that was fitted to
measured kernels, then a plain one. A simulation that cannot say which of them it used cannot be trusted, so the choice
is a value with a word. docs/fidelity.md says how far each is off.
"""

from __future__ import annotations

from tierwise_sim.calibrated import Calibration
from tierwise_sim.fitted import FittedRoofline, shipped
from tierwise_sim.hardware import find_gpu
from tierwise_sim.kernels import KernelsUnavailable, kernels
from tierwise_sim.models import kv_element_bytes, precision_of, shape_of
from tierwise_sim.roofline import Roofline
from tierwise_sim.settings import EngineSettings, default_batch_limits
from tierwise_sim.step_time import StepSource, WithOverheads


def step_source(
    settings: EngineSettings, calibration: Calibration | None = None, *, measured_kernels: bool = True
) -> StepSource:
    """The best step times that there are for this engine.

    A `calibration` is taken as it is: whether it was made of this engine is for the caller to know. Without
    `measured_kernels` the result does not depend on what is installed.
    """
    if calibration is not None:
        return StepSource(calibration.step_time(settings.speed), "calibrated", f"measured on {calibration.model}")
    overheads = shipped().overheads.exposed(settings.async_scheduling)
    missing = "measured kernels are not asked for"
    if measured_kernels:
        try:
            inner = kernels(settings)
        except KernelsUnavailable as error:
            missing = str(error)
        else:
            known = WithOverheads(inner, overheads, settings.speed)
            return StepSource(known, "kernels", f"kernels measured on {settings.gpu.product}")
    if found := shipped().of(settings):
        efficiencies, whose = found
        known = WithOverheads(FittedRoofline(settings, efficiencies), overheads, settings.speed)
        return StepSource(known, "fitted", f"a roofline fitted to kernels of {whose}; {missing}")
    return StepSource(Roofline(settings), "roofline", f"the GPU's data sheet and two efficiencies; {missing}")


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
