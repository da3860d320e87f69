"""Asks of measured points whether the GPUs could have done the work that they name.

A point's two times and its users give requests per second, and those the arithmetic per second. Where that is near the
peak of the data sheet, or more than the measured kernels reach with no time between them, the point was not measured on
the work that it names (cached prompts, fewer users), and no engine model can agree with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tierwise_sim.step_time import Batch, StepTime
from tools.fidelity.points import Point


def share_of_peak(point: Point) -> float:
    """Arithmetic that the point implies, as a share of the data sheet's: two operations per weight and token."""
    settings = point.settings
    mean = (1 + point.protocol.shortest) / 2
    tokens = mean * (point.prompt_tokens + point.output_tokens)
    seconds = (point.ttft_ms + (mean * point.output_tokens - 1) * point.inter_token_ms) / 1000
    products = 2 * (settings.shape.params_b * 1e9 - 2 * settings.shape.embedding_params) * tokens
    peak = settings.gpu.peak_tflops(settings.precision.arithmetic) * 1e12 * point.tensor_parallel
    return point.users * products / seconds / peak


def least_seconds(point: Point, step_time: StepTime) -> float:
    """Seconds that the prompts of one round of all users take by themselves, in the largest steps that there are."""
    mean = (1 + point.protocol.shortest) / 2
    prompt = round(mean * point.prompt_tokens)
    size = min(prompt, point.settings.max_num_batched_tokens)
    one = Batch(prefill=size, prefill_context=size, prefill_pairs=size * size / 2, prefills=1)
    return point.users * step_time.seconds(one) * prompt / size


def possible(point: Point, step_time: StepTime) -> bool:
    """Whether one round of all users lasts at least as long as its prompts do by themselves, on measured kernels."""
    tokens = (1 + point.protocol.shortest) / 2 * point.output_tokens
    return least_seconds(point, step_time) <= (point.ttft_ms + (tokens - 1) * point.inter_token_ms) / 1000


def told(points: Sequence[Point], kernels: Callable[[Point], StepTime]) -> list[dict[str, Any]]:
    """One row per model and GPU: the greatest share of the peak, and points whose prompts alone would take longer."""
    rows = []
    for model, gpu in sorted({(point.model, point.gpu) for point in points}):
        mine = [point for point in points if (point.model, point.gpu) == (model, gpu)]
        rows.append(
            {
                "model": model,
                "gpu": gpu,
                "points": len(mine),
                "peak_percent": round(100 * max(share_of_peak(point) for point in mine)),
                "faster_than_kernels": sum(not possible(point, kernels(point)) for point in mine),
            }
        )
    return rows
