"""Estimates how many requests per second one replica can take, from what it does now.

The requests that run say little about how full an engine is. Five replicas with ten requests each can be what four of
them just carry: with fewer replicas every request takes longer, so more of them run at once. Two things of a replica
can be full, and both are measured without knowing the engine:

    prompts  They are computed one after another, so those that wait for a first token stand in one queue. By Little's
             law its length is L = requests per second x mean time to the first token. In a queue with one server and
             prompts of one length L = p + p^2 / (2 (1 - p)), where p is the part of the time in which it works:
             p = 1 + L - sqrt(1 + L^2).
    seats    s = running / C, of the C requests that a replica runs at once (see `capacity_estimate`); or the part of
             its KV memory that they hold, where that is more.

While prompts are computed nobody's answer goes on. So a request needs 1/P seconds of the prompts' server and S seconds
of a seat, S being the time that it would take if no prompt came: at P x (1 - p) the seats hold S / (1 - p). A replica
is full at the rate 1 / (1/P + S/C), and at a lower rate it is so full:

    u = p + (1 - p) s = 1 - (1 - p) (1 - s)

and can take (requests per second) / u. What is measured while it is nearly idle says less than what is measured while
it is full, so a sample weighs as much as the square of u.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tierwise.types import PodSample, TierSignals

WINDOW_SECONDS = 60.0
_FEWEST = 10.0  # requests in the window, below which their mean says nothing
_WEIGHT = 0.1
_FULL = 0.99


@dataclass(frozen=True, slots=True)
class Throughput:
    """What one replica of a tier did in the last minute: requests begun per second, and how full it was (0..1)."""

    rate: float
    full: float

    @property
    def capacity(self) -> float:
        """Requests per second of a full replica."""
        return self.rate / self.full


def busy(queue: float) -> float:
    """The part of the time in which a server works, whose queue is so long on average, the one in service included."""
    return min(_FULL, 1 + queue - math.sqrt(1 + queue * queue))


def throughput(signals: TierSignals, pods: Sequence[PodSample], seats: float) -> Throughput | None:
    """What each of these replicas did, which have so many seats each; None where too little was measured."""
    begun, waited = signals.begun_lately, signals.first_token_seconds
    measured = [pod.running.value for pod in pods if pod.running.has_value]
    if not (begun.has_value and waited.has_value) or not measured or begun.value < _FEWEST or waited.value <= 0:
        return None
    per_second = len(measured) * WINDOW_SECONDS
    prompts = busy(waited.value / per_second)
    memory = [pod.kv_usage.value for pod in pods if pod.kv_usage.has_value]
    held = sum(memory) / len(memory) if memory else 0.0
    seated = min(1.0, max(held, sum(measured) / (len(measured) * seats)))
    return Throughput(begun.value / per_second, 1 - (1 - prompts) * (1 - seated))


def learned(known: float | None, seen: Throughput | None) -> float | None:
    """The rate of a full replica after this sample, to six digits."""
    if seen is None:
        return known
    if known is None:
        return _rounded(seen.capacity)
    weight = _WEIGHT * seen.full * seen.full
    return _rounded(known + weight * (seen.capacity - known))


def _rounded(rate: float) -> float:
    return float(f"{rate:.6g}")
