"""Fits an engine's overheads to measured points: what TTFT and inter-token time have beyond the GPU's own work.

The times of a closed loop are linear in the overheads: a point is played once with the GPU's work alone and once with each
overhead as the only thing that takes time, and a fit is then arithmetic on a few numbers per point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tierwise_sim.closed_loop import Schedule, schedule, timed
from tierwise_sim.fitting import fit
from tierwise_sim.step_time import Batch, Overheads, StepTime
from tools.fidelity.points import Point

# Seconds: none at all, up to far more than any engine spends.
BOUNDS = {"step": (1e-6, 1e-2), "sequence": (1e-8, 5e-4), "prompt": (1e-6, 5e-2), "request": (1e-4, 0.5)}
START = (1e-3, 1e-5, 1e-3, 1e-2)


@dataclass(frozen=True)
class _Counted:
    """A step lasts as long as `of` says; no request waits."""

    of: Callable[[Batch], float]
    request_seconds = 0.0

    def seconds(self, batch: Batch) -> float:
        return self.of(batch)

    def decode_seconds(self, decodes: int) -> Callable[[int], float]:
        return lambda context: self.of(Batch(decodes, context))


_PER_OVERHEAD = (
    _Counted(lambda batch: 1.0),
    _Counted(lambda batch: float(batch.decodes)),
    _Counted(lambda batch: float(batch.prefills)),
)


@dataclass(frozen=True, slots=True)
class Played:
    """A point with its schedule and its (TTFT, inter-token seconds) per second of each overhead."""

    point: Point
    schedule: Schedule
    per_overhead: tuple[tuple[float, float], ...]


def play(point: Point) -> Played:
    """Play a point without durations."""
    known = schedule(point.settings, point.requests(), point.users)
    found = [point.figures(timed(known, each)) for each in _PER_OVERHEAD]
    return Played(point, known, tuple((each.ttft, each.inter_token) for each in found))


def fitted(points: Sequence[Played], gpu: Callable[[Point], StepTime]) -> Overheads:
    """The overheads under which these points are nearest to what was measured; `gpu` tells the GPU's own work.

    TTFT counts where the protocol is known, and then as much as the time between tokens. Raises ValueError without points.
    """
    if not points:
        raise ValueError("overheads cannot be fitted to no points at all")
    known = [(each, each.point.figures(timed(each.schedule, gpu(each.point)))) for each in points]
    bare = [(each, figures.ttft, figures.inter_token) for each, figures in known]

    def errors(values: Sequence[float]) -> list[float]:
        return [error for row in bare for error in _errors(row, values)]

    return Overheads(*fit(errors, START, list(BOUNDS.values())))


def _errors(row: tuple[Played, float, float], values: Sequence[float]) -> Iterator[float]:
    played, ttft, gap = row
    for value, (first, between) in zip(values, played.per_overhead, strict=False):
        ttft, gap = ttft + value * first, gap + value * between
    yield gap / (played.point.inter_token_ms / 1000) - 1
    if played.point.protocol.burst:
        yield (ttft + values[-1]) / (played.point.ttft_ms / 1000) - 1
