"""Which tiers of a route have their first replica on its way: a route over them starts, and has not failed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders.routes import external, route, snapshot, spec, tier
from tests.unit.decide.make import pod
from tests.unit.decide.make import spec as make_spec
from tests.unit.decide.zero_tiers import last_change
from tierwise.decide.routes import plan_routes
from tierwise.types import TierView

NEW = tier("small", ready=False)


def said(found: TierView, word: str) -> TierView:
    """The tier whose status has this word."""
    status = found.tier.status.model_copy(update={"state": word})
    return replace(found, tier=replace(found.tier, status=status))


def with_replicas(found: TierView, number: int, *pods: bool, scaler: str = "") -> TierView:
    """The tier whose Deployment asks for so many replicas; `pods`: for each, whether it has ever been ready."""
    made = tuple(
        replace(pod(f"pod-{place}"), ready=False, ready_at=None, was_ready=was) for place, was in enumerate(pods)
    )
    workload = replace(
        found.workloads[0],
        pods=made,
        deployment=replace(found.deployments[0], spec_replicas=number),
        foreign_scalers=(scaler,) if scaler else (),
    )
    return replace(found, workloads=(workload,))


def starting(*tiers: TierView) -> tuple[str, ...]:
    names = [each.tier.key.name for each in tiers]
    (plan,) = plan_routes(snapshot(list(tiers), route(given=spec(*(names or ["small"])))))
    return plan.starting


ADVISORY = tier("small", make_spec(mode="Advisory"), ready=False)
ASLEEP = tier("small", make_spec(minReplicas=0), ready=False)
DELETED = replace(NEW, tier=replace(NEW.tier, deleting=True))
UNREAD = replace(NEW, tier=replace(NEW.tier, spec=None))


@pytest.mark.parametrize(
    ("found", "on_the_way"),
    [
        (NEW, True),
        (said(NEW, "Starting"), True),
        (said(NEW, "Failed"), False),
        (said(NEW, "Ready"), False),
        (tier("small"), False),
        (external("small"), False),
        (DELETED, False),
        (UNREAD, False),
        (last_change(with_replicas(ASLEEP, 0), 0), False),
        (with_replicas(NEW, 0), True),
        (with_replicas(NEW, 1, False), True),
        (with_replicas(NEW, 1, True), False),
        (with_replicas(NEW, 2, False, True), False),
        (with_replicas(ADVISORY, 0), False),
        (with_replicas(ADVISORY, 1, False), True),
        (with_replicas(ADVISORY, 1, True), False),
        (with_replicas(NEW, 0, scaler="HorizontalPodAutoscaler/theirs"), False),
        (with_replicas(NEW, 1, False, scaler="HorizontalPodAutoscaler/theirs"), True),
    ],
    ids=[
        "nothing is said of it yet",
        "it starts",
        "it has failed",
        "it was ready",
        "it answers",
        "somebody else serves it",
        "it is deleted",
        "its spec is not understood",
        "it is at zero, and nobody wants it",
        "its first replica is asked for soon",
        "its first pod is not ready yet",
        "its only pod was ready",
        "one of its pods was ready",
        "nobody starts it",
        "whoever writes it has started it",
        "whoever writes it had started it",
        "another scaler keeps it at zero",
        "another scaler has started it",
    ],
)
def test_a_first_replica_is_on_its_way(found: TierView, on_the_way: bool) -> None:
    assert starting(found) == (("small",) if on_the_way else ())


def test_each_tier_is_asked_for_itself_and_one_that_does_not_exist_does_not_start() -> None:
    assert starting(NEW, said(tier("large", ready=False), "Failed"), tier("huge", ready=False)) == ("small", "huge")
    assert starting() == ()
