"""Learns how many requests one replica runs at once.

batching.maxSequences says how many it may run; memory, prompts or adapters can keep it below that. So the number is
learned, with a rule for each direction, since a wrong number is not equally bad in both:

- Down, slowly: a replica shows its limit when it has more waiting requests than acceptable in two samples in a row, and
  has stopped filling in between. The number moves a third of the way to the median of such replicas, and not at all
  when it is within 5 % of it. A few waiting requests show nothing: what arrives during a step waits for the next one,
  even in an engine that is half empty.
- Up, at once: a replica that runs more than the number has disproved it. Without this rule a number that is too low
  would stay: with too many replicas no queue forms, and nothing could be learned any more.

What is learned now is used by the next decision, so that one decision is monotone in the load. It belongs to a spec: a
change of anything that changes the engine starts again from maxSequences.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tierwise.api.modeltier import ModelTierSpec
from tierwise.decide.demand import median
from tierwise.decide.spec_hash import canonical_spec, fingerprint
from tierwise.types import PodSample, TierState

_STEP = 0.3
_DEAD_BAND = 0.05
_ELSEWHERE = -1.0  # what a replica ran whose queue was in the routers: it says nothing of what it can run
_NEARLY = 0.8  # routers leave an eighth free for each other, and hear of an end a little late
# Two decisions between two scrapes see the same sample, told with a slightly different age.
SAME_SAMPLE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class CapacityEstimate:
    """What is known after a sample: C (None: maxSequences), and what the next sample is compared with."""

    requests_per_replica: float | None
    queued: tuple[tuple[str, float], ...]
    sampled_at: float | None


def learned_for(spec: ModelTierSpec) -> str:
    """Twelve characters that change when the engine of a replica changes, and not when only its scaling does."""
    return fingerprint(canonical_spec(spec, "drain_seconds", "startup_timeout_seconds", "pod_metadata"))


def requests_per_replica(spec: ModelTierSpec, memory: TierState) -> float:
    """C as it is known now."""
    limit = float(spec.batching.max_sequences)
    if memory.requests_per_replica is None or memory.learned_for != learned_for(spec):
        return limit
    return min(limit, max(1.0, memory.requests_per_replica))


def has_queue(spec: ModelTierSpec, memory: TierState, pod: PodSample, elsewhere: float) -> bool:
    """Whether a replica has all that it can do: more wait in it than is acceptable, or some of those `elsewhere`, in
    routers, wait for it, since it runs nearly as many as they give it."""
    if not (pod.running.has_value and pod.waiting.has_value):
        return False
    nearly = _NEARLY * requests_per_replica(spec, memory)
    return _waits_in(pod, spec) or (elsewhere > 0 and pod.running.value >= nearly)


def _waits_in(pod: PodSample, spec: ModelTierSpec) -> bool:
    return pod.waiting.value > spec.scaling.waiting_per_replica


def learn(
    spec: ModelTierSpec, memory: TierState, pods: tuple[PodSample, ...], elsewhere: float = 0.0
) -> CapacityEstimate:
    """What these samples teach. The same samples again teach nothing. `elsewhere`: requests that wait in routers; they
    make a queue, but say nothing of how many a replica runs, which is what the routers give it."""
    limit, known = float(spec.batching.max_sequences), requests_per_replica(spec, memory)
    measured = [pod for pod in pods if pod.running.has_value and pod.waiting.has_value]
    newest = newest_sample(pods)
    if newest is None or (memory.sampled_at is not None and abs(newest - memory.sampled_at) < SAME_SAMPLE_SECONDS):
        return CapacityEstimate(None if known >= limit else known, memory.queued, memory.sampled_at)
    before = dict(memory.queued)
    limited = {pod.pod: pod.running.value for pod in measured if _waits_in(pod, spec)}
    queued = [
        (pod.pod, limited.get(pod.pod, _ELSEWHERE)) for pod in measured if has_queue(spec, memory, pod, elsewhere)
    ]
    observed = median(before[name] for name, running in limited.items() if running <= before.get(name, _ELSEWHERE))
    if observed is not None and observed < known * (1 - _DEAD_BAND):
        known += _STEP * (observed - known)
    known = max([known, 1.0, *(pod.running.value for pod in measured)])
    rounded = round(known, 1)  # as it is kept across a restart
    return CapacityEstimate(None if rounded >= limit else rounded, tuple(sorted(queued)), newest)


def newest_sample(pods: Iterable[PodSample]) -> float | None:
    """When the newest of these samples that count was taken; None of none."""
    return max((pod.running.at or 0.0 for pod in pods if pod.running.has_value and pod.waiting.has_value), default=None)
