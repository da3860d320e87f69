"""GPUs that are kept for what was asked for: from before the write until the Deployment shows it, or it was refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.decide.make import HEALTHY, KEY, NOW, spec, view
from tierwise.outbox import DOUBT_SECONDS
from tierwise.reservations import Reservations
from tierwise.types import (
    ActionError,
    Outcome,
    Plan,
    Snapshot,
    TierOutcome,
    TierPlan,
    TierState,
    TierView,
    WorkloadKey,
    WorkloadOutcome,
    WorkloadPlan,
)

WORKLOAD = WorkloadKey(KEY, "chat")


def seen(replicas: int = 2, *, at: float = NOW, generation: int = 1, uid: str = "dep") -> Snapshot:
    made = view(spec(), (), current=replicas)
    (workload,) = made.workloads
    assert workload.deployment is not None
    deployment = replace(workload.deployment, generation=generation, uid=uid)
    made = replace(made, workloads=(replace(workload, deployment=deployment),))
    return Snapshot(at, (made,), HEALTHY)


def asking(to: int, current: int = 2) -> Plan:
    return Plan((TierPlan(KEY, None, TierState(), workloads=(WorkloadPlan("chat", current, to),)),))


def done(**fields: Any) -> Outcome:
    return Outcome((TierOutcome(KEY, (WorkloadOutcome("chat", **fields),)),))


def asked(to: int = 4) -> Reservations:
    made = Reservations()
    made.reserve(seen(), asking(to))
    return made


def test_what_was_asked_for_counts_until_it_is_seen() -> None:
    made = asked()
    made.release(seen(), done(scaled_from=2, scaled_to=4))
    assert made.replicas(seen()) == {WORKLOAD: 4}
    assert made.replicas(seen(3)) == {WORKLOAD: 4}
    assert made.replicas(seen(4)) == {}
    assert made.kept == {}


def test_a_deployment_that_has_moved_on_says_what_is() -> None:
    assert asked().replicas(seen(2, generation=2)) == {}
    assert asked().replicas(seen(2, uid="another")) == {}
    assert asked().replicas(replace(seen(), tiers=())) == {}


@pytest.mark.parametrize(
    ("outcome", "kept"),
    [
        (done(scaled_from=2, scaled_to=4), True),
        (done(error=ActionError("APIUnavailable", "no answer", transient=True)), True),
        (done(error=ActionError("Forbidden", "no")), False),
        (done(), False),  # it was not tried
        (Outcome(()), True),  # the cycle was given up before it was known
    ],
)
def test_a_refusal_frees_it_and_doubt_does_not(outcome: Outcome, kept: bool) -> None:
    made = asked()
    made.release(seen(), outcome)
    assert made.replicas(seen()) == ({WORKLOAD: 4} if kept else {})


def test_doubt_ends() -> None:
    made = asked()
    assert made.replicas(seen(at=NOW + DOUBT_SECONDS - 1)) == {WORKLOAD: 4}
    assert made.replicas(seen(at=NOW + DOUBT_SECONDS)) == {}


def test_a_clock_that_was_set_back_keeps_nothing_for_ever() -> None:
    assert asked().replicas(seen(at=NOW - 10)) == {}


def test_fewer_replicas_reserve_nothing() -> None:
    made = Reservations()
    made.reserve(seen(), asking(1))
    assert made.kept == {}


def test_a_tier_that_is_gone_reserves_nothing() -> None:
    made = Reservations()
    made.reserve(replace(seen(), tiers=tuple[TierView, ...]()), asking(4))
    assert made.kept == {}
