"""Computes how many replicas the load fills.

There are two limits. Each is a level, not an error, so that enough replicas do not read as "none needed":

    memory   a = sum over pods (kv_i * K_i + waiting_i * L) / (target * K)
    compute  b = (running + waiting) / (C + q)

K is the KV capacity of a replica in tokens, L the tokens of a mean request, C what one replica runs at once while
others wait (learned, see `capacity_estimate`), q the waiting requests that are acceptable. Memory alone never scales an
engine that is bound by compute (seen: 263 waiting at 4.7 % KV use); requests alone never scale one that is bound by
memory.

Every pod with a known value counts, terminating ones too: their requests are part of what arrives. An unknown value
counts as nothing here, and forbids lowering elsewhere.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tierwise.api.modeltier import ModelTierSpec
from tierwise.types import MISSING, PodSample, Signal, State, TierView

# An engine that refuses requests above maxQueuedRequests never shows more than that. Its share must lie below, or a
# replica that refuses work would look just full: at 80 % the target grows by a quarter until nothing is refused.
_SHARE_OF_QUEUE_LIMIT = 0.8
_MOST = 1e6  # more replicas than any cluster has: keeps absurd values finite
_ROUNDING = 1e-9  # 3.0000000001 is three


@dataclass(frozen=True, slots=True)
class ReplicaCapacity:
    """What one replica is given: requests by compute, and the part of its KV memory that may be used (0..1)."""

    requests: float
    memory: float


@dataclass(frozen=True, slots=True)
class Demand:
    """The load in replicas, and the figures it comes from. `measured` is the number of pods with known requests."""

    memory: float
    compute: float
    requests: float
    kv_tokens: float
    measured: int

    @property
    def replicas(self) -> float:
        """The larger of the two, in (fractions of) replicas."""
        return max(self.memory, self.compute)


def replica_capacity(spec: ModelTierSpec, requests_per_replica: float) -> ReplicaCapacity:
    """What one replica is given under this spec. `requests_per_replica`: what it runs at once (C)."""
    requests = requests_per_replica + spec.scaling.waiting_per_replica
    limit = spec.batching.max_queued_requests
    if limit is not None:
        requests = min(requests, limit * _SHARE_OF_QUEUE_LIMIT)
    return ReplicaCapacity(max(requests, _SHARE_OF_QUEUE_LIMIT), spec.scaling.kv_cache_percent / 100)


def demand(
    pods: Sequence[PodSample], tokens_per_request: Signal, given: ReplicaCapacity, outside: float = 0.0
) -> Demand:
    """The load of these pods, and of so many requests `outside` that wait elsewhere. With an unknown L, a waiting
    request counts as much KV memory as a running one holds on average; with an unknown K everywhere (or one of less
    than a token), memory counts by use alone."""
    capacity = median([pod.kv_capacity_tokens.value for pod in pods if pod.kv_capacity_tokens.has_value])
    running = finite_sum(pod.running.value for pod in pods if pod.running.has_value)
    waiting = finite_sum((*(pod.waiting.value for pod in pods if pod.waiting.has_value), outside))
    usage = [(pod, min(1.0, pod.kv_usage.value)) for pod in pods if pod.kv_usage.has_value]
    if capacity is None or capacity < 1:
        held, memory = 0.0, sum(used for _, used in usage) / given.memory
    else:
        held = finite_sum(used * _capacity(pod, capacity) for pod, used in usage)
        # In replicas before anything is added up: tokens could be more than a float holds.
        filled = finite_sum(used * (_capacity(pod, capacity) / capacity) for pod, used in usage)
        known = tokens_per_request.has_value
        each = tokens_per_request.value / capacity if known else filled / running if running > 0 else 0.0
        # Nobody who waits needs nothing, also where `each` is more than a float holds (0 * inf is no number).
        queued = waiting * each if waiting > 0 else 0.0
        memory = (filled + queued) / given.memory
    return Demand(
        memory=_finite(memory),
        compute=_finite((running + waiting) / given.requests),
        requests=running + waiting,
        kv_tokens=held,
        measured=sum(1 for pod in pods if pod.running.has_value and pod.waiting.has_value),
    )


def _capacity(pod: PodSample, otherwise: float) -> float:
    return pod.kv_capacity_tokens.value if pod.kv_capacity_tokens.has_value else otherwise


def finite_sum(values: Iterable[float]) -> float:
    """Their sum, never infinite: infinity times no waiting request would be no number, and read as no load."""
    return min(sum(values), sys.float_info.max)


def _finite(replicas: float) -> float:
    return min(replicas, _MOST) if replicas >= 0 else 0.0


def whole(replicas: float) -> int:
    """The next whole number of replicas."""
    return math.ceil(replicas - _ROUNDING)


def median(values: Iterable[float]) -> float | None:
    """The middle value (the lower of two); None of nothing."""
    found = sorted(values)
    return found[(len(found) - 1) // 2] if found else None


def gaps(view: TierView) -> tuple[str, ...]:
    """Why the measurements of a tier do not permit lowering: one line per replica that receives requests and is not
    measured in full, sorted; or that none receives any."""
    ready = view.ready_endpoints
    if not ready:
        return ("no replica is ready",)
    samples = {pod.pod: pod for pod in view.signals.pods}
    found = []
    for name in sorted(ready):
        pod = samples.get(name)
        states = [State.MISSING] if pod is None else [signal.state for signal in _signals(pod)]
        bad = next((state for state in (State.INVALID, State.STALE, State.MISSING) if state in states), None)
        if bad is not None:
            found.append(f"{name}: {bad.value.lower()}")
    return tuple(found)


def total(view: TierView, attribute: str) -> Signal:
    """The sum of one signal over the replicas that receive requests; the worst state if one of them lacks it."""
    ready = view.ready_endpoints
    found = [getattr(pod, attribute) for pod in view.signals.pods if pod.pod in ready]
    for state in (State.INVALID, State.STALE, State.MISSING):
        if any(signal.state is state for signal in found):
            return Signal(state)
    if not found:
        return MISSING
    return Signal(State.VALUE, sum(signal.value for signal in found), min(signal.at or 0.0 for signal in found))


def _signals(pod: PodSample) -> tuple[Signal, ...]:
    return (pod.running, pod.waiting, pod.kv_usage, pod.kv_capacity_tokens)
