"""Fits the roofline's efficiencies to measured kernels, for every GPU, number format and model that has some.

A step is sampled at batches, contexts and chunks that engines really run. What a GPU reaches with one model is one row,
so that a comparison can leave out a GPU or a model and take the mean of the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import product
from statistics import fmean

from tierwise_sim.fitted import Efficiencies, FittedRoofline, Reached
from tierwise_sim.fitting import fit
from tierwise_sim.hardware import find_gpu
from tierwise_sim.kernels import SYSTEMS, KernelsUnavailable, kernels
from tierwise_sim.models import BF16, Precision, shape_of
from tierwise_sim.settings import EngineSettings
from tierwise_sim.step_time import Batch, StepTime

MODELS = ("Llama-3.1-8B", "Qwen3-32B", "Llama-3.1-70B")
FORMATS = (BF16, Precision("fp8", 8.08, "fp8"), Precision("nvfp4", 4.5, "fp4"))
BOUNDS = {
    "weights": (0.2, 1.0),
    "cache": (0.05, 1.0),
    "products": (0.05, 1.0),
    "attention": (0.02, 1.0),
    "link": (0.05, 1.0),
    "all_reduce": (1e-6, 1e-4),
    "layer": (1e-6, 2e-4),
}


def steps() -> list[Batch]:
    """The steps that are compared: decodes alone, and a chunk of a prompt beside a few decodes."""
    decodes = [Batch(n, n * context) for n in (1, 8, 32, 128) for context in (500, 4000)]
    chunks = [
        Batch(8, 8 * 1000, prefill=size, prefill_context=end, prefill_pairs=size * (end - size / 2), prefills=1)
        for size, end in ((256, 256), (1000, 1000), (4000, 4000), (8000, 8000), (4000, 8000))
    ]
    return decodes + chunks


def engines() -> Iterator[tuple[str, Precision, str]]:
    """Every GPU, number format and model that there may be kernels of, in order."""
    yield from product(sorted(SYSTEMS), FORMATS, MODELS)


def reached(gpu: str, precision: Precision, model: str) -> Reached | None:
    """What a GPU reaches, or None where no kernels were measured."""
    base = EngineSettings(
        model=model, shape=shape_of(model), precision=precision, gpu=find_gpu(gpu), max_num_batched_tokens=8192
    )
    measured: list[tuple[EngineSettings, StepTime]] = []
    for parallel in (1, 2, 8):
        settings = replace(base, tensor_parallel=parallel)
        try:
            measured.append((settings, kernels(settings)))
        except KernelsUnavailable:
            continue
    if not measured:
        return None
    batches = steps()
    known = [(settings, batch, step.seconds(batch)) for settings, step in measured for batch in batches]

    def errors(values: Sequence[float]) -> list[float]:
        given = Efficiencies(**dict(zip(BOUNDS, values, strict=True)))
        models = {settings.tensor_parallel: FittedRoofline(settings, given) for settings, _ in measured}
        return [models[settings.tensor_parallel].seconds(batch) / seconds - 1 for settings, batch, seconds in known]

    start = list(asdict(Efficiencies()).values())
    found = fit(errors, start, list(BOUNDS.values()))
    off = fmean(abs(each) for each in errors(found))
    return Reached(gpu, precision.arithmetic, model, off, Efficiencies(**dict(zip(BOUNDS, found, strict=True))))
