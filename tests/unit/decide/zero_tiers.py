"""Builds tiers with `minReplicas: 0`, the routers that want them or do not, and what decide remembers of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.unit.decide.make import NOW, heard, router, spec, spread, view
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import DecisionStatus
from tierwise.times import rfc3339
from tierwise.types import Decision, RouterSample, RouterSignals, TierState, TierView

IDLE = 60
STARTUP = 1800
# Watched for long: the last want was exactly so long ago that the replica may end.
BORED = TierState(recommended=1, wants=(("router-0", 7.0),), wanted_at=NOW - IDLE, heard_at=NOW - 10)


def zero(**scaling: Any) -> ModelTierSpec:
    return spec(**{"minReplicas": 0, "idleSeconds": IDLE, **scaling})


def quiet(at: float = NOW, **said: Any) -> RouterSample:
    """A router that nobody asks; its counter says 7."""
    return router(**{"wanted": 7.0, "at": at, **said})


def seen(
    *routers: RouterSample, current: int = 1, requests: float = 0.0, said: RouterSignals | None = None
) -> TierView:
    """A tier with minReplicas 0 that is measured in full; without routers given: one that nobody asks."""
    found = view(zero(), spread(requests, current), current=current)
    return replace(found, routers=heard(*(routers or (quiet(),))) if said is None else said)


def last_change(found: TierView, to: int, at: float = NOW - 900) -> TierView:
    """The tier with a last change of replicas in its status."""
    said = {"time": rfc3339(at), "from": 1, "to": to, "reason": "Idle", "message": ""}
    scaling = found.tier.status.scaling.model_copy(update={"decisions": [DecisionStatus.model_validate(said)]})
    status = found.tier.status.model_copy(update={"scaling": scaling})
    return replace(found, tier=replace(found.tier, status=status))


def asleep(*routers: RouterSample, said: RouterSignals | None = None) -> TierView:
    """The tier at zero, where we put it."""
    return last_change(seen(*routers, current=0, said=said), 0)


AT_ZERO = TierState(recommended=1, wants=(("router-0", 7.0),))


def step(found: Decision) -> tuple[int, str, str]:
    return next((each.replicas, each.reason, each.message) for each in found.steps if each.name == "idle")


WANTING = {
    "the counter has grown": quiet(wanted=8.0),
    "a request waits": quiet(waiting=1.0),
    "a request is under way": quiet(in_flight=1.0),
    "the counter began anew and has counted": quiet(wanted=1.0),
    "a router that was not there before has counted": quiet(name="router-1", wanted=1.0),
}
