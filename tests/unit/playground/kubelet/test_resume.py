"""Checks which containers start again after a kubelet's death, and which count as lost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from playground.kubelet.model import CREATING, INITIALIZING, Terminated
from playground.kubelet.resume import LOST, finished, records

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUNNING = {"running": {"startedAt": "2025-12-31T00:00:00Z"}}


def ended(code: int) -> dict[str, Any]:
    return {
        "terminated": {"exitCode": code, "reason": "Error", "startedAt": None, "finishedAt": "2025-12-31T00:00:00Z"}
    }


def pod(policy: str, state: dict[str, Any], **status: Any) -> dict[str, Any]:
    spec = {"restartPolicy": policy, "containers": [{"name": "c", "image": "i"}]}
    return {
        "spec": spec,
        "status": {"containerStatuses": [{"name": "c", "restartCount": 4, "state": state, **status}]},
    }


@pytest.mark.parametrize(
    ("policy", "state", "again"),
    [
        ("Always", RUNNING, True),
        ("OnFailure", RUNNING, True),
        ("Never", RUNNING, False),
        ("Always", ended(0), True),
        ("OnFailure", ended(0), False),
        ("OnFailure", ended(2), True),
        ("Never", ended(2), False),
    ],
)
def test_containers_go_on_as_their_restart_policy_says(policy: str, state: dict[str, Any], again: bool) -> None:
    given = pod(policy, state)
    (found,) = records(given, "containers", NOW)
    assert finished(given, [found]) is not again
    past = found.last if again else found.state
    assert isinstance(past, Terminated)
    assert past.reason == (LOST if state is RUNNING else "Error")
    assert found.restart_count == (5 if again else 4)


def test_what_never_ran_begins_at_the_beginning() -> None:
    given = pod("Always", {"waiting": {"reason": "ImagePullBackOff"}}, lastState=ended(7))
    (found,) = records(given, "containers", NOW)
    assert (found.state, found.restart_count) == (CREATING, 4)
    assert found.last is not None
    assert found.last.exit_code == 7
    assert not finished(given, [found])


def test_a_pod_that_is_over_stays_over() -> None:
    given = pod("Always", RUNNING) | {"status": {"phase": "Failed"}}
    assert finished(given, records(given, "containers", NOW))


def test_init_containers_retry_unless_never_and_sidecars_always() -> None:
    spec = {
        "restartPolicy": "Always",
        "initContainers": [{"name": "i", "image": "i"}, {"name": "s", "image": "i", "restartPolicy": "Always"}],
        "containers": [{"name": "c", "image": "i"}],
    }
    assert [r.restart_policy for r in records({"spec": spec}, "initContainers", NOW)] == ["OnFailure", "Always"]
    assert records({"spec": spec}, "containers", NOW)[0].state == INITIALIZING
    spec["restartPolicy"] = "Never"
    assert records({"spec": spec}, "initContainers", NOW)[0].restart_policy == "Never"
