"""Reads what the routers of a tier say of its demand: what waits in them, and what was turned away.

Requests that wait in a router, or that nobody has taken, are on no replica, and no engine shows them. A tier whose
routers are full would look like a calm one. So they are added to what the engines have:

    waiting   requests in the routers' queues, one by one
    refused   running * min(1, turned away / finished), both in the last minute

The second is what would run as well, had nobody been turned away: requests that were refused would have needed what
those needed that were answered. Clients ask again, so it may count a request more than once; it never counts more than
what runs, and a target at most doubles by it. Replicas that are younger than the minute take what was refused before
they were there: what they run is subtracted.

An unknown value counts as nothing here, and forbids lowering elsewhere (`gaps`).
"""

from __future__ import annotations

from dataclasses import dataclass

from tierwise.decide.demand import finite_sum
from tierwise.types import PodSample, RouterSample, Signal, State, TierState, TierView

LATELY_SECONDS = 60.0
_BAD = (State.INVALID, State.STALE, State.MISSING)


@dataclass(frozen=True, slots=True)
class RouterDemand:
    """Requests of a tier that are on no replica."""

    waiting: float = 0.0
    refused: float = 0.0

    @property
    def requests(self) -> float:
        """Both together."""
        return finite_sum((self.waiting, self.refused))


def router_demand(view: TierView, state: TierState) -> RouterDemand:
    """What the routers, and the engines' own counters of rejections, say. `state`: before this sample."""
    routers, signals = view.routers.routers, view.signals
    waiting = finite_sum(each.waiting.value for each in routers if each.waiting.has_value)
    away = turned_away(view)
    if away == 0:
        return RouterDemand(waiting)
    finished = signals.finished_lately.value if signals.finished_lately.has_value else 0.0
    share = min(1.0, away / finished) if finished > 0 else 1.0
    old = finite_sum(pod.running.value for pod in signals.pods if pod.running.has_value and not _is_young(pod, state))
    young = finite_sum(pod.running.value for pod in signals.pods if pod.running.has_value and _is_young(pod, state))
    return RouterDemand(waiting, max(0.0, share * old - young))


def turned_away(view: TierView) -> float:
    """Requests that routers or engines refused for want of room in the last minute, as far as it is known."""
    rejected = view.signals.rejected_lately
    refused = (each.refused for each in view.routers.routers)
    return finite_sum(signal.value for signal in (rejected, *refused) if signal.has_value)


def _is_young(pod: PodSample, state: TierState) -> bool:
    """Whether it was not there yet when the minute began. What a restarted operator finds was."""
    if state.measured is None:
        return False
    at = pod.running.at or 0.0
    return at - dict(state.measured).get(pod.pod, at) < LATELY_SECONDS


def gaps(view: TierView) -> tuple[str, ...]:
    """Why the routers' measurements do not permit lowering: one line per ready router that is not measured in full."""
    found = []
    for router in view.routers.routers:
        states = [signal.state for signal in _needed(router)]
        bad = next((state for state in _BAD if state in states), None)
        if router.ready and bad is not None:
            found.append(f"{router.router}: {bad.value.lower()}")
    return tuple(found)


def _needed(router: RouterSample) -> tuple[Signal, ...]:
    """Not `refused`: it is a rate, which a new router does not have at first."""
    return router.wanted, router.waiting, router.in_flight
