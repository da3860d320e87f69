"""Checks `tierwise get`: which objects it asks for, and what it prints of them."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.unit.cli.clusters import API, FakeCluster, tier
from tierwise.api import kinds as api_kinds
from tierwise_cli.kinds import KINDS, asked, kind_of
from tierwise_cli.main import main

TIERS = f"{API}/namespaces/models/modeltiers"
ROUTES = f"{API}/namespaces/models/modelroutes"


def test_the_kinds_are_those_of_the_api() -> None:
    ours = {kind.name: kind for kind in KINDS}
    for kind in api_kinds.KINDS:
        named = ours[kind.name]
        assert named.plural == kind.plural
        assert named.namespaced == kind.namespaced
        assert {kind.plural, kind.singular, *kind.short_names} <= set(named.words)
        within = "namespaces/n/" if kind.namespaced else ""
        assert named.path("n", "o") == f"/apis/{kind.api_version}/{within}{kind.plural}/o"


def test_no_word_means_two_kinds() -> None:
    words = [word for kind in KINDS for word in kind.words]
    assert len(words) == len(set(words))
    assert kind_of("MT") is KINDS[0]


def test_the_namespace_is_that_of_the_context(cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.objects = {TIERS: [tier("chat"), tier("big", state="", reason="Waiting")], ROUTES: []}
    assert main(["get"]) == 0
    assert cluster.paths == [TIERS, ROUTES, f"{API}/gpupools"]
    assert capsys.readouterr().out.splitlines() == [
        "NAME   MODEL   STATUS",
        "chat   chat    Ready",
        "big    big     -",
    ]


def test_another_context_and_another_namespace_are_obeyed(cluster: FakeCluster) -> None:
    cluster.objects = {f"{API}/namespaces/{space}/modeltiers": [tier("chat")] for space in ("else", "third")}
    assert main(["get", "tiers", "--context", "other"]) == 0
    assert main(["get", "tiers", "--context", "other", "-n", "third"]) == 0
    assert cluster.paths == [f"{API}/namespaces/{space}/modeltiers" for space in ("else", "third")]


def test_all_namespaces_are_a_column(cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.objects = {f"{API}/modeltiers": [tier("chat", "a"), tier("chat", "b")], f"{API}/modelroutes": []}
    assert main(["get", "-A", "-o", "wide", "-l", "team=x"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["NAMESPACE", "NAME", "MODEL", "STATUS", "REASON"]
    assert [line.split()[:2] for line in out[1:]] == [["a", "chat"], ["b", "chat"]]
    assert all(each.query["labelSelector"] == "team=x" for each in cluster.asked)


def test_single_objects_by_name(cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.objects = {f"{TIERS}/chat": tier("chat")}
    assert main(["get", "tier", "chat", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["metadata"]["name"] == "chat"
    assert main(["get", "mt/chat", "-o", "yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["kind"] == "ModelTier"
    assert main(["get", "tier/chat", "tier/chat", "-o", "name"]) == 0
    assert capsys.readouterr().out.splitlines() == ["modeltier.tierwise.io/chat"] * 2
    assert main(["get", "tier", "gone"]) == 1
    assert "there is no ModelTier gone in namespace models" in capsys.readouterr().err


def test_items_of_a_list_say_what_they_are(cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    bare = {key: value for key, value in tier("chat").items() if key not in ("kind", "apiVersion")}
    cluster.objects = {TIERS: [bare]}
    assert main(["get", "tiers", "-o", "yaml"]) == 0
    (item,) = yaml.safe_load(capsys.readouterr().out)["items"]
    assert (item["apiVersion"], item["kind"]) == ("tierwise.io/v1alpha1", "ModelTier")


def test_pages_are_put_together(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = iter([([tier("a")], "more"), ([tier("b")], "")])

    def page(cluster_: FakeCluster, _: object) -> tuple[int, object]:
        items, token = next(pages)
        return 200, {"metadata": {"continue": token}, "items": items}

    monkeypatch.setattr("tests.unit.cli.clusters._answer", page)
    assert main(["get", "tiers", "-o", "name"]) == 0
    assert [each.query.get("continue") for each in cluster.asked] == [None, "more"]
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_nothing_is_said_on_stderr(cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.objects = {TIERS: [], ROUTES: []}
    assert main(["get"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "tierwise: there are no ModelTiers and ModelRoutes in namespace models\n")


def test_pools_are_in_no_namespace(cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.objects = {f"{API}/namespaces/x/modeltiers": [], f"{API}/gpupools": []}
    assert main(["get", "pools", "-n", "x"]) == 0
    assert capsys.readouterr().err == "tierwise: there are no GPUPools\n"
    assert main(["get", "tiers,pools", "-n", "x"]) == 0
    assert capsys.readouterr().err == "tierwise: there are no ModelTiers in namespace x and no GPUPools\n"


def test_a_cluster_without_the_crds_is_told_how_to_get_them(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["get"]) == 1
    assert "the cluster has no modeltiers.tierwise.io: install the chart tierwise-crds" in capsys.readouterr().err
    cluster.objects = {TIERS: [tier("chat")]}  # no routes, no pools: an older installation
    assert main(["get"]) == 0
    assert main(["get", "pools"]) == 1


def test_who_may_not_read_pools_sees_their_tiers(cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.objects = {TIERS: [tier("chat")], ROUTES: [], f"{API}/gpupools": 403}
    assert main(["get"]) == 0
    assert "chat" in capsys.readouterr().out
    assert main(["get", "pools"]) == 1
    cluster.objects = {TIERS: 403}
    assert main(["get"]) == 1


@pytest.mark.parametrize("words", [["pods"], ["tier/"], ["pod/chat"], ["tier/a", "b"], ["tiers,pods"]])
def test_what_is_no_kind_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["get", *words]) == 2
    assert "is no" in capsys.readouterr().err


def test_several_kinds_at_once() -> None:
    assert asked(["mt,mr"]) == ((KINDS[0], KINDS[1]), ())
    assert asked(["route", "a", "b"]) == ((), ((KINDS[1], "a"), (KINDS[1], "b")))


def test_one_acts_as_another(cluster: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.objects = {TIERS: [tier("chat")]}
    assert main(["get", "tiers", "--as", "ann", "--as-group", "ops", "--no-headers"]) == 0
    assert cluster.asked[0].headers["Impersonate-User"] == "ann"
    assert cluster.asked[0].headers["Impersonate-Group"] == "ops"
    assert cluster.asked[0].headers["Authorization"] == "Bearer secret"
    assert capsys.readouterr().out == "chat   chat    Ready\n"
    assert main(["get", "--as-group", "ops"]) == 2


@pytest.mark.parametrize("words", [["tier", "chat", "-A"], ["tier/chat", "-l", "team=x"]])
def test_options_that_a_name_excludes_are_refused(
    words: list[str], cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["get", *words]) == 2
    assert words[-1 if words[-1] == "-A" else -2] in capsys.readouterr().err
    assert cluster.asked == []
