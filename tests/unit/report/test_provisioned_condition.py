"""Every way in which a tier cannot be provisioned ends in its own reason, with a message that says what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.report.cases import (
    EXTERNAL,
    NOW,
    case,
    deployment,
    pod,
    spec,
    waiting,
    workload,
)
from tests.unit.report.ill_tiers import FILLED, ILL, NO_GPU, QUOTA, TEMPLATED, failed, pending, rolling
from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.report.messages import remedy
from tierwise.report.provisioned_condition import accepted, provisioned
from tierwise.report.report_context import ReportContext
from tierwise.types import Workload

WELL: dict[str, ReportContext] = {
    "serving": case(),
    "one that got no room, and serves now": case(
        pods=[waiting("chat-0", phase="Failed", evicted=FILLED), pod("chat-2")]
    ),
    "one that has served, and whose node was short of disk": case(
        pods=[waiting("chat-0", phase="Failed", evicted=FILLED, was_ready=True), waiting(reason="ContainerCreating")]
    ),
    "one that got no room long ago": case(
        pods=[
            waiting("chat-0", phase="Failed", evicted=FILLED, created_at=NOW - 1801),
            waiting(reason="ContainerCreating"),
        ]
    ),
    "waiting for files for a while": case(
        TEMPLATED, pods=[waiting(reason="ContainerCreating", mounting=True, scheduled_at=NOW - 59)]
    ),
    "waiting for nothing that was named": case(
        pods=[waiting(reason="ContainerCreating", mounting=True, scheduled_at=NOW - 1000)]
    ),
    "starting": case(pods=[pod(), waiting(reason="ContainerCreating")]),
    "loading for a long time, in time": case(pods=[waiting(phase="Running", scheduled_at=NOW - 1799)]),
    "not looked at by the scheduler yet": case(pods=[pending("")]),
    "waiting for a node for a long time does not count as starting": case(
        pods=[waiting(created_at=NOW - 9000, scheduled_at=NOW - 60)]
    ),
    "a replica that came back after a crash": case(pods=[pod(restarts=1, last_exit_code=1)]),
    "a crashed replica that leaves": case(pods=[pod(), waiting(last_exit_code=1, terminating=True)]),
    "no replicas": case(spec(replicas=0), pods=[]),
    "somebody else wrote at the same time": case(outcome=failed(reasons.CONFLICT, transient=True)),
}


@pytest.mark.parametrize(("ill", "reason", "words"), ILL.values(), ids=ILL)
def test_every_illness_has_its_reason_and_says_what_to_do(ill: ReportContext, reason: str, words: str) -> None:
    found = provisioned(ill)
    assert (found.status, found.reason) == ("False", reason)
    assert words in found.message
    assert remedy(reason).rstrip(".") in found.message


@pytest.mark.parametrize("well", WELL.values(), ids=WELL)
def test_what_is_no_illness(well: ReportContext) -> None:
    found = provisioned(well)
    assert (found.status, found.reason) == ("True", reasons.PROVISIONED_OK)


@pytest.mark.parametrize(
    ("the_spec", "work"),
    [
        (spec(rollout="Replace"), workload([pod()], deployment=deployment(1, updated_replicas=0, failed_create=QUOTA))),
        (spec(), workload([pod()], deployment=deployment(1, failed_create=QUOTA))),
        (spec(rollout="Replace"), rolling("0/1 nodes are available: 1 Insufficient memory.")),
        (spec(), workload([pending("0/1 nodes are available: 1 Insufficient memory.")])),
    ],
)
def test_where_no_replica_is_in_the_way_of_a_change_none_is_blamed(the_spec: ModelTierSpec, work: Workload) -> None:
    assert "rollout" not in provisioned(case(the_spec, work=work)).message


def test_one_crash_among_healthy_replicas_is_named() -> None:
    crashed = [waiting(name, last_exit_code=1, last_exit_message="boom") for name in ("chat-3", "chat-2")]
    found = provisioned(case(pods=[pod(), *crashed]))
    assert found.message.startswith("pod chat-2 (1 more in the same state): ended with exit code 1: boom.")


def test_the_gravest_trouble_is_told_first() -> None:
    pods = [pending(NO_GPU), waiting("chat-9", "ErrImagePull", "no")]
    assert provisioned(case(pods=pods)).reason == reasons.IMAGE_PULL


def test_an_external_tier_has_no_children() -> None:
    found = provisioned(case(ModelTierSpec.model_validate(EXTERNAL)))
    assert (found.status, found.reason) == ("True", reasons.EXTERNAL)


def test_without_an_accepted_spec_nothing_is_judged() -> None:
    found = provisioned(case(invalid=(reasons.UNSUPPORTED, "no such method"), kserve_present=False))
    assert (found.status, found.reason) == ("Unknown", reasons.NOT_ACCEPTED)


def test_a_spec_that_does_not_parse_is_judged_by_its_message_alone() -> None:
    broken = case(invalid=(reasons.INVALID_SPEC, "spec.replicas: not an integer"))
    tier = replace(broken.view.tier, spec=None)
    broken = replace(broken, view=replace(broken.view, tier=tier))
    found = accepted(broken)
    assert (found.status, found.reason) == ("False", reasons.INVALID_SPEC)
    assert found.message == "spec.replicas: not an integer. Change what the message names."
    assert accepted(replace(broken, plan=replace(broken.plan, invalid=None))).status == "True"


def test_what_can_be_served_says_so() -> None:
    found = accepted(case(spec()))
    assert (found.status, found.reason, found.message) == ("True", reasons.VALID, "The spec can be served as it is.")
