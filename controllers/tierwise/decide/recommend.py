"""Recommends how many replicas the load of one tier asks for, before anything limits them.

    load       what the load asks for, at least one (what may end the last replica: `from_zero`)
    routers    what waits in the routers or was refused comes on top; only of a tier that a route names, or that refuses
    ahead      what may come while a replica starts can ask for more, never for less (`flow`)
    targets    so can a service level that is missed
    tolerance  a small overload changes nothing; a replica's first sample is not counted upwards

The first sample of a new replica: engines are scraped one after another, so for one interval the requests that moved to
a new replica are still counted on an old one. Counted upwards they would make every step overshoot.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.decide.capacity_estimate import (
    SAME_SAMPLE_SECONDS,
    learn,
    learned_for,
    requests_per_replica,
)
from tierwise.decide.demand import Demand, demand, gaps, median, replica_capacity, total, whole
from tierwise.decide.flow import ask_ahead, ask_for_targets, watch
from tierwise.decide.router_demand import RouterDemand, router_demand
from tierwise.decide.router_demand import gaps as router_gaps
from tierwise.decide.trail import Trail
from tierwise.types import MetricsHealth, NamedSignal, PodSample, Signal, State, Step, TierState, TierView


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What the load of one tier asks for.

    `load` is None when no replica is measured; `missing` says why the measurements of the replicas do not permit
    lowering, `unheard` why those of the routers do not. `state` is the tier's, with what these samples taught."""

    current: int
    replicas: int
    load: Demand | None
    missing: tuple[str, ...]
    unheard: tuple[str, ...]
    steps: tuple[Step, ...]
    signals: tuple[NamedSignal, ...]
    state: TierState


def recommend(view: TierView, spec: ModelTierSpec, metrics: MetricsHealth, state: TierState) -> Recommendation:
    """What the load of a tier asks for. `spec` is the one that its replicas are made from."""
    known = requests_per_replica(spec, state)
    capacity = replica_capacity(spec, known)
    pods, tokens = view.signals.pods, view.signals.tokens_per_request
    elsewhere = router_demand(view, state)
    load = demand(pods, tokens, capacity)
    total = demand(pods, tokens, capacity, elsewhere.requests)
    settled = demand(_settled(pods, state), tokens, capacity, elsewhere.requests)
    trail = Trail(view.replicas)
    _ask(trail, load)
    if view.routers.routes or elsewhere.requests:
        _ask_for_routers(trail, elsewhere, total)
    _tolerate(trail, total, settled, spec)
    state = watch(view, spec, state, elsewhere.waiting)
    ask_ahead(trail, view, state)
    ask_for_targets(trail, view, spec, state)
    estimate = learn(spec, state, pods, elsewhere.waiting)
    state = replace(
        state,
        requests_per_replica=estimate.requests_per_replica,
        learned_for=learned_for(spec) if estimate.requests_per_replica is not None or state.capacities else "",
        queued=estimate.queued,
        sampled_at=estimate.sampled_at,
        measured=_first_samples(pods, state),
    )
    return Recommendation(
        current=view.replicas,
        replicas=trail.replicas,
        load=total if load.measured else None,
        missing=gaps(view) if metrics.ok else ("Prometheus has not answered",),
        unheard=router_gaps(view),
        steps=tuple(trail.steps),
        signals=_signals(view, known),
        state=state,
    )


def _first_samples(pods: tuple[PodSample, ...], state: TierState) -> tuple[tuple[str, float], ...] | None:
    """When each measured pod was first sampled. Of those that a restarted operator finds, that is long ago."""
    known = [(pod.pod, pod.running.at or 0.0) for pod in pods if pod.running.has_value]
    if not known:
        return state.measured
    if state.measured is None:
        return tuple((name, 0.0) for name, _ in known)
    first = dict(state.measured)
    return tuple((name, first.get(name, at)) for name, at in known)


def _settled(pods: tuple[PodSample, ...], state: TierState) -> tuple[PodSample, ...]:
    """The pods that were sampled more than once. All of them when none was: nothing can be counted twice then."""
    if state.measured is None:
        return pods
    first = dict(state.measured)
    again = tuple(
        pod for pod in pods if pod.pod in first and abs((pod.running.at or 0.0) - first[pod.pod]) > SAME_SAMPLE_SECONDS
    )
    return again or pods


def _ask(trail: Trail, load: Demand) -> None:
    """What the load of the replicas asks for; what there is when none is measured."""
    if load.measured == 0:
        trail.step("load", trail.current, "", "nothing is measured")
        return
    asked = max(1, whole(load.replicas))
    where = "1 replica" if load.measured == 1 else f"{load.measured} replicas"
    said = f"{_count(load.requests)} requests and {_count(load.kv_tokens)} cached tokens on {where} {_filled(load)}"
    trail.step("load", asked, reasons.LOAD if asked != trail.current else "", said)


def _ask_for_routers(trail: Trail, elsewhere: RouterDemand, total: Demand) -> None:
    """What is asked for when those count who are on no replica. Never less than without them."""
    asked = max(trail.replicas, whole(total.replicas))
    said = f"{_count(elsewhere.waiting)} requests wait in the routers, {_count(elsewhere.refused)} more were refused"
    if elsewhere.requests:
        said += f": with them the load {_filled(total).replace('fill', 'fills', 1)}"
    trail.step("routers", asked, reasons.ROUTER_DEMAND if asked > trail.replicas else "", said)


def _tolerate(trail: Trail, load: Demand, settled: Demand, spec: ModelTierSpec) -> None:
    current, asked, percent = trail.current, trail.replicas, spec.scaling.tolerance_percent
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


def _filled(load: Demand) -> str:
    return f"fill {load.compute:.2f} replicas by requests, {load.memory:.2f} by KV memory"


def _count(number: float) -> str:
    return f"{number:.0f}" if number < 1e9 else f"{number:.3g}"


def _signals(view: TierView, known: float) -> tuple[NamedSignal, ...]:
    """What the decision was made from."""
    ready = [pod for pod in view.signals.pods if pod.pod in view.ready_endpoints]
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
