"""Decides whether the last replica of a tier may end because nobody wants it, and starts one when somebody does.

Only for tiers with `scaling.minReplicas: 0`. Zero needs evidence: every ready router of every route over the tier was
measured for all of `idleSeconds`, and none had a request that wanted it; no replica has a request. While anything is
not measured the clock stands, and after a restart of the operator it begins anew: doubt never ends a replica.

One is enough: the counter of any router that has grown, or a request that waits in one, starts a replica. Counters are
compared with those of the last look, so nothing is lost between two scrapes. A counter that fell was reset, and what it
shows now came after. (One that is back at its old number by the next look wakes nothing, unless a request is still
there.)
After a restart the first look only learns the counters: a tier that we have put to zero stays there (else every upgrade
of the operator would start all of them), unless a request waits.

A replica that starts has not been of use to anybody yet: its idle time begins when it is ready, and while none is ready
the time that a start may take comes on top. It also begins anew with every router that becomes ready, begins anew or
goes: what that one counted since the last look, nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.decide import demand, router_demand
from tierwise.types import MetricsHealth, RouterSample, Signal, TierState, TierView

# Time without complete metrics counts up to three intervals in which a value can be new; beyond that the clock stands.
_GAP_INTERVALS = 3.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One replica or none, and why: a reason and a sentence."""

    replicas: int
    reason: str
    message: str


def applies(spec: ModelTierSpec) -> bool:
    """Whether a tier with this spec may be at zero by itself."""
    return spec.scaling.min_replicas == 0


def sleeps(view: TierView, spec: ModelTierSpec) -> bool:
    """Whether the tier is at zero because nobody wanted it."""
    changes = view.tier.status.scaling.decisions
    put_there = bool(changes) and changes[0].to_replicas == 0
    return applies(spec) and spec.replicas is None and view.replicas == 0 and put_there


def look(view: TierView, state: TierState, metrics: MetricsHealth, now: float) -> tuple[TierState, bool]:
    """`state` after a look at what the routers say, and whether somebody wants the tier. At zero a want stands until a
    replica is asked for: the write may fail."""
    wants, grown = _counted(view, state)
    wanted = grown or any(_busy(view))
    if view.replicas == 0:
        called = wanted or state.called
        return replace(state, wants=wants, wanted_at=None, heard_at=None, called=called), called
    if view.routers.known and not view.routers.routes:  # nobody can ask for it, so it is not idle either
        return replace(state, wants=wants, wanted_at=None, heard_at=None, called=False), wanted
    wanted_at, heard_at = state.wanted_at, state.heard_at
    complete = metrics.ok and not doubts(view)
    unwatched = wanted_at is None or (complete and heard_at is None)  # nobody has watched what was before
    if wanted or unwatched or _gone(view, state):
        wanted_at = now
    elif complete and heard_at is not None and wanted_at is not None:
        wanted_at += max(0.0, now - heard_at - _GAP_INTERVALS * metrics.interval_seconds)
    heard_at = now if complete else heard_at
    return replace(state, wants=wants, wanted_at=wanted_at, heard_at=heard_at, called=False), wanted


def _counted(view: TierView, state: TierState) -> tuple[tuple[tuple[str, float], ...] | None, bool]:
    """The counters as they are known now, and whether one of them has grown. A router that is not measured keeps what
    it said last."""
    routers, before = view.routers.routers, dict(state.wants or ())
    counts = {each.router: each.wanted.value for each in routers if each.wanted.has_value}
    if not counts:
        return state.wants, False
    kept = {each.router: before[each.router] for each in routers if each.router in before}
    grown = state.wants is not None and any(0 < count != before.get(name, 0.0) for name, count in counts.items())
    return tuple(sorted({**kept, **counts}.items())), grown


def _gone(view: TierView, state: TierState) -> bool:
    """Whether a router that has counted is there no more."""
    if not view.routers.known:
        return False
    there = {each.router for each in view.routers.routers}
    return any(name not in there for name, _ in state.wants or ())


def doubts(view: TierView) -> tuple[str, ...]:
    """Why it is not known that nobody wants the tier."""
    said = view.routers
    if not said.known:
        return ("the ModelRoutes of the cluster are not known yet",)
    unserved = [f"{route} has no ready router" for route in said.unserved]
    unmeasured = demand.gaps(view) if view.ready_endpoints else ()
    return (*unserved, *router_demand.gaps(view), *unmeasured)


def judge(view: TierView, spec: ModelTierSpec, state: TierState, wanted: bool, metrics: MetricsHealth) -> Verdict:
    """One replica or none. `state` and `wanted` are those of `look`."""
    said, idle = view.routers, spec.scaling.idle_seconds
    if said.known and not said.routes:
        return Verdict(1, reasons.NOT_ROUTED, "minReplicas is 0, but no ModelRoute names this tier")
    if wanted:
        return Verdict(1, reasons.WANTED, "a request wants it")
    if view.replicas == 0 and state.slept:
        return Verdict(0, reasons.IDLE, "nobody wants it")
    if view.replicas == 0:
        return Verdict(1, reasons.FIRST_REPLICA, "no replica runs, and not because the tier was idle")
    why = doubts(view) if metrics.ok else ("Prometheus has not answered",)
    if why:
        return Verdict(1, reasons.NO_ROUTER_METRICS, named(why))
    if _seen_until(view) - _idle_since(view, spec, state) < idle:
        return Verdict(1, reasons.WANTED, f"it was wanted within {idle} s, or it or a router has just started")
    return Verdict(0, reasons.IDLE, f"no request wanted it for {idle} s")


def named(doubts: tuple[str, ...], most: int = 3) -> str:
    """The first of these, and how many more there are."""
    more = f" and {len(doubts) - most} more" if len(doubts) > most else ""
    return ", ".join(doubts[:most]) + more


def _busy(view: TierView) -> Iterator[bool]:
    for router in view.routers.routers:
        yield _some(router.waiting) or _some(router.in_flight)
    for pod in view.signals.pods:
        yield _some(pod.running) or _some(pod.waiting)


def _some(signal: Signal) -> bool:
    return signal.has_value and signal.value > 0


def _idle_since(view: TierView, spec: ModelTierSpec, state: TierState) -> float:
    begun = [router.ready_at for router in view.routers.routers if router.ready_at is not None]
    since = max([state.wanted_at or 0.0, *begun])
    if not view.ready_endpoints:
        return since + spec.startup_timeout_seconds
    ready = [pod.ready_at for pod in view.pods if pod.name in view.ready_endpoints and pod.ready_at is not None]
    return max([since, *ready])


def _seen_until(view: TierView) -> float:
    """Until when it is known that nobody wanted it: the time of the oldest measurement."""
    times = [signal.at or 0.0 for router in view.routers.routers if router.ready for signal in _times(router)]
    times += [pod.running.at or 0.0 for pod in view.signals.pods if pod.pod in view.ready_endpoints]
    return min(times, default=0.0)  # no router and no replica has said anything: nothing is known


def _times(router: RouterSample) -> tuple[Signal, ...]:
    return router.wanted, router.waiting, router.in_flight
