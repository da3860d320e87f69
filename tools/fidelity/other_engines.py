"""Compares what other engines measured with vLLM, on exactly the same work: model, GPU, precision, lengths, users."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from tools.fidelity.points import Point


def ratios(points: Sequence[Point]) -> list[dict[str, Any]]:
    """One row per engine, model, GPU and precision: least, median and greatest ratio to vLLM's figure.

    Work that vLLM was measured on several times counts with the median of those.
    """
    ours: dict[tuple[object, ...], list[Point]] = {}
    for point in points:
        if point.engine == "vllm":
            ours.setdefault(point.work, []).append(point)
    groups: dict[tuple[str, str, str, str], list[tuple[Point, float, float]]] = {}
    for point in points:
        if point.engine == "vllm" or point.work not in ours:
            continue
        same = ours[point.work]
        gap = point.inter_token_ms / median(each.inter_token_ms for each in same)
        first = point.ttft_ms / median(each.ttft_ms for each in same)
        groups.setdefault((point.engine, point.model, point.gpu, point.precision), []).append((point, gap, first))
    return [
        {
            "engine": engine,
            "versions": ", ".join(sorted({point.version or "not told" for point, _, _ in found})),
            "model": model,
            "gpu": gpu,
            "precision": precision,
            "points": len(found),
            "inter_token": _spread([gap for _, gap, _ in found]),
            "ttft": _spread([first for _, _, first in found]),
        }
        for (engine, model, gpu, precision), found in sorted(groups.items(), key=lambda item: item[0])
    ]


def _spread(values: Sequence[float]) -> list[float]:
    return [round(each, 3) for each in (min(values), median(values), max(values))]
