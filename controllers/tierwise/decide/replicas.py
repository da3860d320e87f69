"""Decides the replicas of one tier in ordered steps, and keeps the reason of each step.

    load       what the load asks for, at least one (zero is only by spec.replicas)
    tolerance  a small overload changes nothing; a replica's first sample is not counted upwards
    bounds     scaling.minReplicas and maxReplicas
    metrics    without complete metrics the target does not fall
    window     ...and not below what was recommended within the window
    headroom   ...and only as far as the remaining replicas stay under 80 %
    pin        spec.replicas overrides all of it
    mode       a foreign scaler, or Advisory: computed, not written

The target rises at once and in one jump, from whatever is known; it falls only through all of the steps. Every step is
kept, changed or not: `tierwise explain`, the condition and the Event show these steps.

The first sample of a new replica is special. Engines are scraped one after another, so for one interval the requests
that moved to a new replica are still counted on an old one. Counted upwards they would make every step overshoot.
"""

from __future__ import annotations

from dataclasses import replace

from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.decide import stabilization
from tierwise.decide.capacity_estimate import SAME_SAMPLE_SECONDS, learn, learned_for, requests_per_replica
from tierwise.decide.demand import Demand, demand, gaps, median, replica_capacity, total, whole
from tierwise.times import rfc3339
from tierwise.types import Decision, MetricsHealth, NamedSignal, PodSample, Signal, State, Step, TierState, TierView

_LIMITS = frozenset(
    {
        reasons.MIN_REPLICAS,
        reasons.MAX_REPLICAS,
        reasons.NO_METRICS,
        reasons.NO_MEMORY,
        reasons.SCALE_DOWN_WINDOW,
        reasons.HEADROOM,
        reasons.PINNED,
    }
)
_NAMED = 3


def decide_replicas(
    view: TierView, spec: ModelTierSpec, metrics: MetricsHealth, memory: TierState, now: float
) -> tuple[Decision, TierState]:
    """The decision for one tier that we serve, and the memory it leaves. `now`: seconds since the epoch."""
    deployment = view.workload.deployment
    current = deployment.spec_replicas if deployment is not None else 0
    known = requests_per_replica(spec, memory)
    given = replica_capacity(spec, known)
    pods = view.signals.pods
    load = demand(pods, view.signals.tokens_per_request, given)
    settled = demand(_settled(pods, memory), view.signals.tokens_per_request, given)
    missing = gaps(view) if metrics.ok else ("Prometheus has not answered",)

    trail = _Trail(current)
    asked = _ask(trail, load, settled, spec, current)
    _bound(trail, spec)
    if deployment is not None and asked is not None:
        memory = _remember(memory, asked, not missing, current, now, spec, metrics.interval_seconds)
    _hold(trail, spec, load if asked is not None else None, missing, memory, now)
    _override(trail, view, spec)
    lesson = learn(spec, memory, pods)
    memory = replace(
        memory,
        requests_per_replica=lesson.requests_per_replica,
        learned_for="" if lesson.requests_per_replica is None else learned_for(spec),
        queued=lesson.queued,
        sampled_at=lesson.sampled_at,
        measured=_first_samples(pods, memory),
    )
    reason, message = _why(trail, spec, current)
    decision = Decision(
        current=current,
        target=trail.replicas,
        reason=reason,
        message=message,
        limited_by=trail.limited_by,
        steps=tuple(trail.steps),
        signals=_signals(view, known),
    )
    return decision, memory


class _Trail:
    """The steps so far, and the replicas after them."""

    def __init__(self, current: int) -> None:
        self.current = self.replicas = current
        self.steps: list[Step] = []
        self.limited_by = ""

    def step(self, name: str, replicas: int, reason: str = "", message: str = "") -> None:
        """Add a step. With a reason it changed something, or kept it from changing."""
        self.replicas = replicas
        self.steps.append(Step(name, replicas, reason, message))
        if reason in _LIMITS:
            self.limited_by = reason

    def message(self, reason: str) -> str:
        """What the last step with this reason said."""
        return next((step.message for step in reversed(self.steps) if step.reason == reason), "")


def _first_samples(pods: tuple[PodSample, ...], memory: TierState) -> tuple[tuple[str, float], ...] | None:
    """When each measured pod was first sampled. Of those that a restarted operator finds, that is long ago."""
    known = [(pod.pod, pod.running.at or 0.0) for pod in pods if pod.running.has_value]
    if not known:
        return memory.measured
    if memory.measured is None:
        return tuple((name, 0.0) for name, _ in known)
    first = dict(memory.measured)
    return tuple((name, first.get(name, at)) for name, at in known)


def _settled(pods: tuple[PodSample, ...], memory: TierState) -> tuple[PodSample, ...]:
    """The pods that were sampled more than once. All of them when none was: nothing can be counted twice then."""
    if memory.measured is None:
        return pods
    first = dict(memory.measured)
    again = tuple(
        pod for pod in pods if pod.pod in first and abs((pod.running.at or 0.0) - first[pod.pod]) > SAME_SAMPLE_SECONDS
    )
    return again or pods


def _ask(trail: _Trail, load: Demand, settled: Demand, spec: ModelTierSpec, current: int) -> int | None:
    """What the load asks for; None when nothing is measured."""
    if load.measured == 0:
        trail.step("load", current, "", "nothing is measured")
        trail.step("tolerance", current)
        return None
    asked = max(1, whole(load.replicas))
    where = "1 replica" if load.measured == 1 else f"{load.measured} replicas"
    said = (
        f"{_count(load.requests)} requests and {_count(load.kv_tokens)} cached tokens on {where} fill "
        f"{load.compute:.2f} replicas by requests, {load.memory:.2f} by KV memory"
    )
    trail.step("load", asked, reasons.LOAD if asked != current else "", said)
    percent = spec.scaling.tolerance_percent
    most = current * (1 + percent / 100)
    # The median capacity of some replicas can be below that of all, and make their load look larger than all of it.
    counted = min(settled.replicas, load.replicas)
    if asked <= current or current == 0:
        trail.step("tolerance", asked)
    elif whole(counted / (1 + percent / 100)) > current:
        trail.step("tolerance", whole(counted))
    elif whole(load.replicas / (1 + percent / 100)) > current:
        trail.step("tolerance", current, reasons.SETTLING, "requests of a new replica may be counted twice")
    else:
        trail.step("tolerance", current, reasons.TOLERANCE, f"{load.replicas:.2f} is not above {most:g}")
    return trail.replicas


def _count(number: float) -> str:
    return f"{number:.0f}" if number < 1e9 else f"{number:.3g}"


def _bound(trail: _Trail, spec: ModelTierSpec) -> None:
    """Between minReplicas and maxReplicas."""
    low, high = spec.scaling.min_replicas, spec.scaling.max_replicas
    wanted = trail.replicas
    if wanted > high:
        trail.step("bounds", high, reasons.MAX_REPLICAS, f"{wanted} replicas, of which maxReplicas allows {high}")
    elif wanted < low:
        trail.step("bounds", low, reasons.MIN_REPLICAS, f"{wanted} replicas, minReplicas asks for {low}")
    else:
        trail.step("bounds", wanted)


def _remember(
    memory: TierState, asked: int, complete: bool, current: int, now: float, spec: ModelTierSpec, interval: float
) -> TierState:
    """The memory with this recommendation in it."""
    window = float(spec.scaling.scale_down_window_seconds)
    new = memory.resumed or memory.recommended is None
    if new and not complete:
        return memory
    if new:
        forgotten = now + window if memory.recommended is None else None
        memory = replace(stabilization.held(memory, current, now, window), resumed=False, forgotten_until=forgotten)
    if not complete:
        return stabilization.raised(memory, asked, now, window)
    return stabilization.remembered(memory, asked, now, window, interval=interval)


def _hold(
    trail: _Trail, spec: ModelTierSpec, load: Demand | None, missing: tuple[str, ...], memory: TierState, now: float
) -> None:
    """How far the target may fall from what runs. `load` is None when nothing is measured; never above the maximum."""
    cap = min(trail.current, spec.scaling.max_replicas)
    falls = trail.replicas < cap or (load is None and trail.replicas > spec.scaling.min_replicas)
    if falls and missing:
        trail.step("metrics", max(cap, trail.replicas), reasons.NO_METRICS, _named(missing))
    else:
        trail.step("metrics", trail.replicas)
    window = float(spec.scaling.scale_down_window_seconds)
    peak = stabilization.floor(memory, now, window)
    kept = trail.replicas if peak is None else min(cap, peak.replicas)
    if peak is not None and kept > trail.replicas:
        forgotten = memory.forgotten_until is not None and now < memory.forgotten_until
        said = f"{peak.replicas} replicas were recommended until {rfc3339(peak.at)}, {window:.0f} s count"
        trail.step("window", kept, reasons.NO_MEMORY if forgotten else reasons.SCALE_DOWN_WINDOW, said)
    else:
        trail.step("window", trail.replicas)
    enough = 0 if load is None else min(cap, stabilization.with_headroom(load.replicas))
    if enough > trail.replicas:
        said = f"with {enough - 1} replicas the rest would be above {stabilization.HEADROOM:.0%} of their share"
        trail.step("headroom", enough, reasons.HEADROOM, said)
    else:
        trail.step("headroom", trail.replicas)


def _named(missing: tuple[str, ...]) -> str:
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return ", ".join(missing[:_NAMED]) + more


def _override(trail: _Trail, view: TierView, spec: ModelTierSpec) -> None:
    """What a person, or another scaler, says instead."""
    if spec.replicas is not None:
        trail.step("pin", spec.replicas, reasons.PINNED, f"spec.replicas fixes {spec.replicas} replicas")
    else:
        trail.step("pin", trail.replicas)
    if view.workload.foreign_scalers:
        trail.step("mode", trail.replicas, reasons.FOREIGN_SCALER, ", ".join(view.workload.foreign_scalers))
    elif spec.scaling.mode == "Advisory":
        trail.step("mode", trail.replicas, reasons.ADVISORY, "computed, not written")
    else:
        trail.step("mode", trail.replicas)


def _why(trail: _Trail, spec: ModelTierSpec, current: int) -> tuple[str, str]:
    """The reason of the change (or of there being none), and the sentence that belongs to it."""
    target, high = trail.replicas, spec.scaling.max_replicas
    if spec.replicas is not None:
        reason = reasons.PINNED
    elif target < current:
        reason = reasons.MAX_REPLICAS if target == high else reasons.LOAD
    elif target > current:
        reason = reasons.MIN_REPLICAS if trail.limited_by == reasons.MIN_REPLICAS else reasons.LOAD
    else:
        reason = trail.limited_by or reasons.LOAD
    if reason == reasons.MAX_REPLICAS and target < current:
        return reason, f"maxReplicas allows {high}"
    return reason, trail.message(reason) or trail.steps[0].message


def _signals(view: TierView, known: float) -> tuple[NamedSignal, ...]:
    """What the decision was made from."""
    ready = [pod for pod in view.signals.pods if pod.pod in view.workload.ready_endpoints]
    usage, capacity = total(view, "kv_usage"), total(view, "kv_capacity_tokens")
    if usage.has_value:
        usage = replace(usage, value=usage.value / len(ready))
    if capacity.has_value:
        capacity = replace(capacity, value=median(pod.kv_capacity_tokens.value for pod in ready) or 0.0)
    return (
        NamedSignal("running", total(view, "running")),
        NamedSignal("waiting", total(view, "waiting")),
        NamedSignal("kvCacheUsage", usage),
        NamedSignal("kvCapacityTokens", capacity),
        NamedSignal("tokensPerRequest", view.signals.tokens_per_request),
        NamedSignal("requestsPerReplica", Signal(State.VALUE, known)),
    )
