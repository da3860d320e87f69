"""Fits an engine's overheads to measured points: what TTFT and inter-token time have beyond the GPU's own work.

The times of a closed loop are linear in the overheads: a point is played once with the GPU's work alone and once with
each overhead as the only thing that takes time, and a fit is then arithmetic on a few numbers per point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

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


def play(point: Point, known: dict[tuple[object, ...], Played] | None = None) -> Played:
    """Play a point without durations; `known` keeps what was played.

    Points with the same requests share a schedule, whatever their GPU, as long as the memory holds all users at once.
    """
    settings = point.settings
    most = point.users * settings.blocks_for(point.prompt_tokens + point.output_tokens)
    ample = settings.num_gpu_blocks >= most
    key = (point.protocol, point.users, point.prompt_tokens, point.output_tokens, ample or settings.num_gpu_blocks)
    if known is not None and key in known:
        return replace(known[key], point=point)
    order = schedule(settings, point.requests(), point.users)
    figures = [point.figures(timed(order, each)) for each in _PER_OVERHEAD]
    step, *others = [(each.ttft, each.inter_token) for each in figures]
    played = Played(point, order, ((0.0, 0.0) if settings.async_scheduling else step, *others))
    if known is not None:
        known[key] = played
    return played


@dataclass(frozen=True, slots=True)
class Bare:
    """A point with the times that the GPU's own work gives, in seconds."""

    played: Played
    ttft: float
    inter_token: float


def bare(played: Played, gpu: StepTime) -> Bare:
    """What a point's times would be without overheads."""
    found = played.point.figures(timed(played.schedule, gpu))
    return Bare(played, found.ttft, found.inter_token)


def fitted(points: Sequence[Bare]) -> Overheads:
    """The overheads under which these points are nearest to what was measured.

    TTFT counts where the protocol is known, and then like the time between tokens. Raises ValueError of no points.
    """
    if not points:
        raise ValueError("overheads cannot be fitted to no points at all")

    def errors(values: Sequence[float]) -> list[float]:
        return [error for each in points for error in _errors(each, values)]

    return Overheads(*fit(errors, START, list(BOUNDS.values())))


def _errors(row: Bare, values: Sequence[float]) -> Iterator[float]:
    point, ttft, gap = row.played.point, row.ttft + values[-1], row.inter_token
    for value, (first, between) in zip(values, row.played.per_overhead, strict=False):
        ttft, gap = ttft + value * first, gap + value * between
    yield gap / (point.inter_token_ms / 1000) - 1
    if point.protocol.burst:
        yield ttft / (point.ttft_ms / 1000) - 1
