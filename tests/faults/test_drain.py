"""Checks that a replica that is removed finishes what it has begun, and that no client notices.

Forty clients hold a stream open while replicas go: by a decision, by two decisions one shortly after the other, because
the model changes, because a node is drained. Each stream must end with all its tokens and [DONE]; and all the while
others send new requests, none of which may fail. The same without the drain settings in the pod does cut streams, or
these tests would prove nothing.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from playground.handle import Playground
from tests.cluster.e2e.prometheus import instant
from tests.cluster.e2e.record import recorded
from tests.cluster.e2e.tiers import cheap
from tests.cluster.kubectl import eventually, ready
from tests.faults.draining import Clients, Tier, plan, streaming
from tests.faults.results import Sheet
from tests.faults.stage import Stage, staged
from tierwise.act.render.pod import PRE_STOP_SECONDS

pytestmark = pytest.mark.cluster
PAGE = Path(__file__).resolve().parents[2] / "docs" / "drain.md"
NAMESPACE, WITHOUT = "drain", "undrained"
BUSY, SOME, FEW = 24, 10, 6
STREAMS = BUSY + SOME + FEW
# About 40 s for a replica that goes at once; 70 s where replicas go one after another.
TOKENS, MANY_TOKENS = 1000, 1700
PINNED, AUTOMATIC = "replicas", "minReplicas"
WINDOW_SECONDS = 5
# A new request may be on its way to a pod for so long after its deletion; by then no list of endpoints has it.
ENDPOINTS_SECONDS = 3.0
NODES = ("gpu-0", "gpu-1", "cpu-0")


@pytest.fixture(scope="module")
def stage(playground: Playground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A namespace with an operator for it alone."""
    with (
        staged(playground, NAMESPACE, tmp_path_factory.mktemp("drain"), ["one"]) as made,
        made.operator("one", "--namespaces", NAMESPACE, direct=True),
    ):
        yield made


def want(tier: Tier, how: str, replicas: int) -> None:
    """Let the tier have so many replicas: pinned, or as the fewest that it may have."""
    spec = {"replicas": replicas} if how == PINNED else {"scaling": {"minReplicas": replicas}}
    tier.kubectl("patch", "modeltier", tier.name, "--type=merge", "-p", json.dumps({"spec": spec}))


@contextmanager
def three(stage: Stage, name: str, how: str = PINNED) -> Iterator[tuple[Tier, dict[str, int]]]:
    """A tier with three replicas, and the streams that each shall hold: most on one of the youngest, which a ReplicaSet
    would end first if nobody told it better."""
    kubectl = stage.kubectl
    stage.ledger.restart()
    tier = Tier(stage.playground, kubectl, name)
    scaling = {"minReplicas": 1, "maxReplicas": 4, "scaleDownWindowSeconds": WINDOW_SECONDS}
    pinned = {"replicas": 1} if how == PINNED else {}
    kubectl.apply(cheap(name, batching={"maxSequences": 64}, drainSeconds=90, scaling=scaling, **pinned))
    try:
        ready(kubectl, name, 1)
        first = tier.settled(1)[0]["metadata"]["name"]
        want(tier, how, 3)
        busy, some = [pod["metadata"]["name"] for pod in tier.settled(3) if pod["metadata"]["name"] != first]
        yield tier, {busy: BUSY, some: SOME, first: FEW}
    finally:
        kubectl("delete", "modeltier", name, "--wait=false")


@contextmanager
def forty(tier: Tier, wanted: dict[str, int], tokens: int, folder: Path) -> Iterator[Clients]:
    """Forty open streams, spread over the replicas as wanted, and users who send new requests."""
    with streaming(tier, plan(tier.turns(tier.alive()), wanted, tokens), folder) as clients:
        yield clients


def told(faults: Sheet, stage: Stage, clients: Clients, row: str, fault: str) -> None:
    """Write the row: how long the streams of the replicas that went lasted, how many of all were cut, how many new
    requests failed. No write of the operator was wrong."""
    streams, new, wrong = clients.streams(), clients.seen("new"), stage.ledger.wrong()
    gone = [seen.ended for seen in streams if clients.plan.holder[seen.number] in clients.deleted_at]
    faults.record(
        row=row,
        fault=fault,
        detect_seconds=None,
        recover_seconds=None if clients.cut() else max(gone) - min(clients.deleted_at.values()),
        wrong=wrong,
        note=f"{len(streams)} open streams, {len(clients.cut())} cut; "
        f"{len(new)} new requests, {len(clients.refused())} failed",
    )
    assert len(streams) == STREAMS
    assert len(new) > 20, "new requests were sent all the while"


def all_whole(clients: Clients) -> None:
    """Every stream has all its tokens and [DONE], and no new request failed."""
    assert clients.cut() == []
    assert clients.refused() == []


def went(clients: Clients, pods: set[str]) -> None:
    """These replicas and no other were deleted."""
    assert set(clients.deleted_at) == pods


def lived_through_sigterm(clients: Clients) -> dict[str, int]:
    """How many streams each replica that went still had when its pause before SIGTERM was over."""
    return {pod: clients.open_at(pod, at + PRE_STOP_SECONDS + 1) for pod, at in clients.deleted_at.items()}


def until_deleted(clients: Clients, tier: Tier, count: int) -> None:
    eventually(lambda: clients.look(tier), lambda _: len(clients.deleted_at) == count, 60, f"{count} replicas go")


def test_three_to_one_ends_the_replicas_with_the_fewest_streams_and_cuts_none(
    stage: Stage, faults: Sheet, tmp_path: Path
) -> None:
    with three(stage, "shrinks") as (tier, wanted), forty(tier, wanted, TOKENS, tmp_path) as clients:
        busy, *others = wanted
        pods = [pod for pod in tier.alive() if pod["metadata"]["name"] != busy]
        want(tier, PINNED, 1)
        until_deleted(clients, tier, 2)
        went(clients, set(others))
        time.sleep(ENDPOINTS_SECONDS)
        prompts = [tier.state(pod)["prompt_tokens"] for pod in pods]
        time.sleep(PRE_STOP_SECONDS - ENDPOINTS_SECONDS)
        assert prompts == [tier.state(pod)["prompt_tokens"] for pod in pods], "a new request reached one that leaves"
        clients.until_ended(tier)
        went(clients, set(others))
        assert all(lived_through_sigterm(clients).values())
        told(faults, stage, clients, "drain a", "3 replicas become 1")
        instant(stage.playground.prometheus_url, block("promql"))  # which Prometheus understands
        all_whole(clients)
        assert [pod["metadata"]["name"] for pod in tier.settled(1)] == [busy]


def test_a_second_scale_down_while_the_first_replica_drains_ends_another_one(
    stage: Stage, faults: Sheet, tmp_path: Path
) -> None:
    """Decided by load, with a window much shorter than the drain: a replica that drains is neither capacity nor a
    candidate, and what it still computes does not bring it back."""
    with three(stage, "twice", AUTOMATIC) as (tier, wanted):
        busy, some, few = wanted
        with (
            forty(tier, wanted, TOKENS, tmp_path) as clients,
            recorded(stage.kubectl, "deployment", "twice-predictor", ".spec.replicas") as replicas,
        ):
            want(tier, AUTOMATIC, 2)
            until_deleted(clients, tier, 1)
            went(clients, {few})
            want(tier, AUTOMATIC, 1)
            until_deleted(clients, tier, 2)
            clients.until_ended(tier)
            assert replicas.values == [3, 2, 1]
        went(clients, {few, some})
        assert clients.open_at(few, clients.deleted_at[some]) > 0, "the first was still draining"
        assert all(lived_through_sigterm(clients).values())
        told(faults, stage, clients, "drain b", "3 replicas become 2, and 1 while the first still drains")
        all_whole(clients)
        assert [pod["metadata"]["name"] for pod in tier.settled(1)] == [busy]


def test_a_model_change_under_surge_cuts_none(stage: Stage, faults: Sheet, tmp_path: Path) -> None:
    with three(stage, "changes") as (tier, wanted), forty(tier, wanted, MANY_TOKENS, tmp_path) as clients:
        model = {"model": {"name": "changes", "uri": "hf://Qwen/Qwen3-4B"}}
        stage.kubectl("patch", "modeltier", "changes", "--type=merge", "-p", json.dumps({"spec": model}))
        clients.until_ended(tier)
        went(clients, set(wanted))
        assert any(lived_through_sigterm(clients).values())
        told(faults, stage, clients, "drain c", "The model changes under rollout: Surge")
        all_whole(clients)
        assert {pod["spec"]["containers"][0]["args"][0] for pod in tier.settled(3)} == {"Qwen/Qwen3-4B"}


def block(language: str) -> str:
    """The one block in this language on the page about draining."""
    (text,) = [part.partition("```")[0] for part in PAGE.read_text(encoding="utf-8").split(f"```{language}\n")[1:]]
    return text


def budget(name: str) -> dict[str, Any]:
    """The PodDisruptionBudget that the page recommends, for this tier."""
    manifest: dict[str, Any] = yaml.safe_load(block("yaml"))
    manifest["metadata"]["name"] = manifest["spec"]["selector"]["matchLabels"]["tierwise.io/tier"] = name
    return manifest


def test_a_node_drain_cuts_none(stage: Stage, faults: Sheet, tmp_path: Path) -> None:
    """All replicas are on the node that is drained, under the budget that docs/drain.md recommends."""
    kubectl = stage.kubectl
    node, *others = NODES
    kubectl.apply(budget("moves"))
    kubectl("cordon", *others)
    try:
        with three(stage, "moves") as (tier, wanted):
            assert {pod["spec"]["nodeName"] for pod in tier.alive()} == {node}
            kubectl("uncordon", *others)
            with forty(tier, wanted, MANY_TOKENS, tmp_path) as clients:
                options = ("--pod-selector=tierwise.io/tier=moves", "--delete-emptydir-data", "--timeout=240s")
                command = [str(kubectl.binary), "--kubeconfig", str(kubectl.kubeconfig), "drain", node, *options]
                drain = subprocess.Popen(command, stdout=subprocess.DEVNULL)
                clients.until_ended(tier)
                assert drain.wait(120) == 0
            went(clients, set(wanted))
            assert any(lived_through_sigterm(clients).values())
            told(faults, stage, clients, "drain d", "The node that holds all replicas is drained")
            all_whole(clients)
            assert node not in {pod["spec"]["nodeName"] for pod in tier.settled(3)}
    finally:
        kubectl("uncordon", *NODES)


def test_without_the_drain_settings_the_same_scale_down_cuts_streams(
    playground: Playground, faults: Sheet, tmp_path: Path
) -> None:
    with (
        staged(playground, WITHOUT, tmp_path, ["one"]) as stage,
        stage.operator("one", "--namespaces", WITHOUT, direct=True, module="tests.faults.undrained"),
        three(stage, "shrinks") as (tier, wanted),
        forty(tier, wanted, TOKENS, tmp_path) as clients,
    ):
        others = set(list(wanted)[1:])
        want(tier, PINNED, 1)
        clients.until_ended(tier)
        went(clients, others)
        told(faults, stage, clients, "drain e", "3 replicas become 1 without the drain settings, which proves the test")
        cut = clients.cut()
        assert {clients.plan.holder[seen.number] for seen in cut} == others
        assert len(cut) == SOME + FEW, "every stream of the replicas that went, and no other"
