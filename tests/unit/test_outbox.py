"""Checks how long the outbox keeps what could not be written, and what becomes of a change without an answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.act.worlds import tier
from tierwise.outbox import DOUBT_SECONDS, EVENT_SECONDS, Outbox
from tierwise.report import TierReport
from tierwise.report.events import scaled
from tierwise.report.status import change
from tierwise.types import Decision, DeploymentFacts, PendingScale, TierView, Workload

NOW = 1_000_000.0
DECISION = Decision(current=1, target=3, reason="Load", message="12 requests fill 2.4 replicas")
PENDING = PendingScale("chat", "d", 4, 1, 3, DECISION, NOW)
THERE = DeploymentFacts("chat-predictor", "d", "9", 4, 4, 1, 1, 1, 1)


def view(deployment: DeploymentFacts | None) -> TierView:
    return TierView(tier(), (Workload("chat", deployment=deployment),))


@pytest.mark.parametrize(
    ("deployment", "seconds", "left", "made"),
    [
        (THERE, 10.0, True, False),
        (THERE, DOUBT_SECONDS, False, False),
        (replace(THERE, spec_replicas=3, generation=5), 10.0, False, True),
        (replace(THERE, spec_replicas=2, generation=5), 10.0, False, False),
        (replace(THERE, generation=5), 10.0, False, False),
        (replace(THERE, uid="another", spec_replicas=3), 10.0, False, False),
        (None, 10.0, False, False),
    ],
    ids=["as before", "as before for long", "made", "another number", "changed otherwise", "a namesake", "gone"],
)
def test_what_became_of_a_change_is_read_off_the_deployment(
    deployment: DeploymentFacts | None, seconds: float, left: bool, made: bool
) -> None:
    outbox = Outbox()
    outbox.will_scale("tier-chat", PENDING)
    outbox.resolve(view(deployment), NOW + seconds)
    assert outbox.pending == ({"tier-chat": (PENDING,)} if left else {})
    assert outbox.empty is not made
    if made:
        assert outbox.decisions == {"tier-chat": (change(DECISION, 3, NOW),)}
        (event,) = outbox.events["tier-chat"]
        assert (event.reason, event.at) == ("ScaledUp", NOW)


def test_an_event_is_kept_for_as_long_as_the_api_server_would_keep_it() -> None:
    outbox, of = Outbox(), tier()
    event = scaled(of, change(DECISION, 3, NOW))
    outbox.take_events([TierReport(of.key, of.uid, of.status, (event,))], NOW, {of.uid})
    outbox.forget({of.uid}, NOW + EVENT_SECONDS - 1)
    assert [each.message for each in outbox.events[of.uid]] == [event.message]
    outbox.forget({of.uid}, NOW + EVENT_SECONDS)
    assert outbox.empty


def test_what_belongs_to_a_tier_that_is_gone_is_not_kept() -> None:
    outbox = Outbox()
    outbox.will_scale("tier-chat", PENDING)
    outbox.resolve(view(replace(THERE, spec_replicas=3)), NOW)
    assert not outbox.empty
    outbox.forget({"another"}, NOW)
    assert outbox.empty
