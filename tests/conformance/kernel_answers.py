"""Asks the measured kernels, in an environment of their own, and prints JSON; test_kernels.py runs it."""

import json
import sys
from dataclasses import replace

from tierwise_sim.fitted import FittedRoofline, shipped
from tierwise_sim.hardware import find_gpu
from tierwise_sim.kernels import CONFIGS, SYSTEMS, KernelsUnavailable, kernels
from tierwise_sim.models import precision_of, shape_of
from tierwise_sim.settings import EngineSettings
from tierwise_sim.step_time import Batch, StepTime

DECODE = Batch(32, 32 * 1000)
CHUNK = Batch(8, 8 * 1000, prefill=2000, prefill_context=2000, prefill_pairs=2000 * 1000, prefills=1)


def settings(model: str, gpu: str, parallel: int) -> EngineSettings:
    """An engine with this model."""
    return EngineSettings(
        model=model,
        shape=shape_of(model),
        precision=precision_of(model, None),
        gpu=find_gpu(gpu),
        tensor_parallel=parallel,
    )


def row(model: str, gpu: str, parallel: int) -> dict[str, object]:
    """What kernels and the shipped roofline say of two steps; or what is missing."""
    wanted = settings(model, gpu, parallel)
    try:
        measured = kernels(wanted)
    except KernelsUnavailable as error:
        return {"model": model, "gpu": gpu, "parallel": parallel, "missing": str(error)}
    found = shipped().of(wanted)
    roofline = FittedRoofline(wanted, found[0]) if found else None
    both: dict[str, StepTime] = {"kernels": measured}
    if roofline:
        both["roofline"] = roofline
    said = {name: [step.seconds(batch) for batch in (DECODE, CHUNK)] for name, step in both.items()}
    run = measured.decode_seconds(32)(32_000)
    faster = replace(wanted, speed=2.0)
    return {
        "model": model, "gpu": gpu, "parallel": parallel, "run": run, "doubled": kernels(faster).seconds(CHUNK), **said
    }  # fmt: skip


def main() -> int:
    """Print rows for every GPU and the models that are asked for."""
    models = sys.argv[1:] or sorted(CONFIGS)
    print(json.dumps([row(model, gpu, parallel) for model in models for gpu in sorted(SYSTEMS) for parallel in (1, 4)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
