"""Checks that of two operators with one Lease only one writes, and that a paused one never writes again."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from playground.handle import Playground
from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import Kubectl, eventually, ready
from tests.cluster.process import READY_SECONDS, alone, operating, service

pytestmark = pytest.mark.cluster
NAMESPACE = "leader"
USUAL_LEASE = (
    *("--lease-name", "leader", "--lease-namespace", NAMESPACE),
    *("--lease-seconds", "15", "--lease-renew-deadline-seconds", "10", "--lease-retry-seconds", "1"),
)


@pytest.fixture
def kubectl(playground: Playground) -> Iterator[Kubectl]:
    """kubectl in a namespace of this test."""
    with alone(playground, NAMESPACE) as made:
        yield made


def test_only_the_leader_writes_and_a_paused_one_never_again(
    playground: Playground, kubectl: Kubectl, tmp_path: Path
) -> None:
    with operating(playground, tmp_path, "first", *USUAL_LEASE) as first:
        eventually(lambda: first.leading, bool, READY_SECONDS, "the first leads")
        with operating(playground, tmp_path, "second", *USUAL_LEASE) as second:
            kubectl.apply(cheap("shared", replicas=0))
            service(kubectl, "shared")
            assert not second.leading
            told = [
                event["reportingInstance"]
                for event in kubectl.find("events")
                if event["involvedObject"].get("kind") == "ModelTier" and event["involvedObject"]["name"] == "shared"
            ]
            assert set(told) == {"first"}

            first.signal(signal.SIGSTOP)
            eventually(lambda: second.leading, bool, READY_SECONDS, "the second takes over")
            kubectl("scale", "modeltier", "shared", "--replicas=1")
            ready(kubectl, "shared", 1)
            first.signal(signal.SIGCONT)
            eventually(lambda: first.leading, lambda leads: not leads, 60, "the first knows that it leads no more")
            time.sleep(8)  # a paused one that goes on has time to write
            assert not first.leading
            assert "this process does not hold the Lease" in first.text()
            deployment = kubectl.get("deployment", "shared-predictor")
            assert deployment is not None
            assert deployment["spec"]["replicas"] == 1
            lease = kubectl.get("lease", "leader")
            assert lease is not None
            assert lease["spec"]["holderIdentity"].startswith("second_")
            assert lease["spec"]["leaseTransitions"] >= 1
        given_back = kubectl.get("lease", "leader")
        assert given_back is not None
        holder = given_back["spec"].get("holderIdentity") or ""
        assert not holder.startswith("second_"), "the second has given the Lease back at its end: nobody waits for that"
        eventually(lambda: first.leading, bool, 60, "the first takes over")
