"""Checks `tierwise restart`: the annotation that is written, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.cli.clusters import API, FakeCluster, tier
from tierwise.kube.objects import RESTARTED_AT
from tierwise.observe.tier_object import tier_object
from tierwise_cli.main import main

CHAT = f"{API}/namespaces/models/modeltiers/chat"


def test_the_annotation_of_kubectl_is_written_on_the_tier(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.objects = {CHAT: tier("chat")}
    assert main(["restart", "tier/chat"]) == 0
    assert capsys.readouterr().out == "modeltier.tierwise.io/chat restarts\n"
    write = cluster.asked[-1]
    assert (write.method, write.path, write.query) == ("PATCH", CHAT, {"fieldManager": "kubectl-tierwise"})
    assert write.headers["Content-Type"] == "application/merge-patch+json"
    (stamp,) = write.body["metadata"]["annotations"].values()
    assert list(write.body["metadata"]["annotations"]) == ["kubectl.kubernetes.io/restartedAt"]
    assert datetime.now(UTC) - datetime.fromisoformat(stamp) < timedelta(minutes=1)


def test_each_restart_is_another_one(cluster: FakeCluster) -> None:
    cluster.objects = {CHAT: tier("chat")}
    assert main(["restart", "chat"]) == main(["restart", "chat"]) == 0
    stamps = [each.body["metadata"]["annotations"][RESTARTED_AT] for each in cluster.asked if each.method == "PATCH"]
    assert len(set(stamps)) == 2
    metadata = {"name": "chat", "namespace": "models", "annotations": {RESTARTED_AT: stamps[0]}}
    assert tier_object({"metadata": metadata, "spec": tier("chat")["spec"]}).restarted_at == stamps[0]


def test_a_dry_run_asks_and_writes_nothing(cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.objects = {CHAT: tier("chat")}
    assert main(["restart", "chat", "--dry-run"]) == 0
    assert cluster.asked[-1].query["dryRun"] == "All"
    assert "would be restarted" in capsys.readouterr().out


def test_what_cannot_be_restarted(cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    bought = tier("bought")
    bought["spec"] = {"external": {}}
    cluster.objects = {CHAT.replace("chat", "bought"): bought}
    assert main(["restart", "bought"]) == 2
    assert "is external: it has no replicas" in capsys.readouterr().err
    assert main(["restart", "gone"]) == 1
    assert "there is no ModelTier gone in namespace models" in capsys.readouterr().err
    assert main(["restart", "route/chat"]) == 2
    assert all(each.method == "GET" for each in cluster.asked)
