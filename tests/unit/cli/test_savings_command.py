"""Checks `tierwise savings`: on an access log and the file of a route, without a cluster, and on a route of one."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.cli.clusters import API, FakeCluster
from tests.unit.observe.test_access_log_work import charge, line
from tierwise_cli.main import main

PRICES = {
    "small": {"input": "1", "output": "2"},
    "large": {"input": "10", "output": "40"},
    "bought": {"input": "20", "output": "80"},
}


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """A route and a log."""
    provider = {"baseURL": "https://api.example.com/v1", "apiKeyFile": "a-file-that-is-not-here"}
    tiers: list[dict[str, Any]] = [
        {"name": name, "model": "m", "provider": provider, "prices": prices} for name, prices in PRICES.items()
    ]
    tiers[2]["use"] = "Overflow"
    route, log = tmp_path / "route.yaml", tmp_path / "access.jsonl"
    route.write_text(yaml.safe_dump({"name": "chat", "tiers": tiers}))
    # Each charge: 1,000,003 prompt tokens and 3 of the answer.
    lines = [line(charge("small", "1.000009", tokens=1_000_000)), line(charge("bought", "20.0003", tokens=1_000_000))]
    log.write_text("\n".join(["the router listens", *lines, ""]))
    return str(route), str(log)


def saved(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["savings", *arguments, "-o", "json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_log_and_a_file_are_enough(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    route, log = files
    found = saved(capsys, route, "--access-log", log)
    assert (found["route"], found["referenceTier"], found["source"]) == ("chat", "large", "the access log access.jsonl")
    assert (found["baseline"], found["actual"], found["savedPercent"]) == ("20.00", "21.00", -5)
    amounts = {part["tactic"]: Decimal(part["amount"]) for part in found["parts"]}
    assert amounts["routing"] == Decimal("18.00")
    assert amounts["spill"] == Decimal("-19.00")


def test_another_reference_tier_changes_the_figure(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    route, log = files
    found = saved(capsys, route, "--access-log", log, "--reference", "bought")
    assert (found["referenceTier"], found["baseline"], found["savedPercent"]) == ("bought", "40.00", 47)
    written = yaml.safe_load(Path(route).read_text()) | {"referenceTier": "bought"}
    Path(route).write_text(yaml.safe_dump(written))
    assert saved(capsys, route, "--access-log", log) == found


def test_the_page_is_written_beside_the_text(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    route, log = files
    page = tmp_path / "savings.html"
    assert main(["savings", route, "--access-log", log, "--html", str(page)]) == 0
    assert "Lost 1.00 US dollars" in " ".join(capsys.readouterr().out.split())
    assert page.read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--reference", "bought"], "--reference needs --access-log"),
        (["--access-log", "/no/such/log"], "No such file"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["savings", files[0], *arguments]) != 0
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


SAVED = {
    "referenceTier": "large",
    "windowSeconds": 3600,
    "baseline": "20.00",
    "cachedBaseline": "18.00",
    "lowerBaseline": "15.00",
    "actual": "5.00",
    "savedPercent": 75,
    "lowerBoundPercent": 66,
    "parts": [{"tactic": "routing", "amount": "15.00"}],
}


def route(name: str, **status: Any) -> dict[str, Any]:
    """A ModelRoute of namespace team."""
    metadata = {"name": name, "namespace": "team", "uid": "1", "resourceVersion": "1", "generation": 1}
    return {"metadata": metadata, "spec": {"tiers": [{"name": "small"}]}, "status": status}


def test_a_route_of_a_cluster_says_what_its_status_says(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.objects = {f"{API}/namespaces/team/modelroutes/chat": route("chat", savings=SAVED)}
    assert main(["savings", "chat", "-n", "team", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["route"] == "team/chat"
    assert {name: found[name] for name in SAVED} == SAVED


def test_a_route_that_is_not_there_or_not_measured_is_named(
    cluster: FakeCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.objects = {f"{API}/namespaces/models/modelroutes/new": route("new")}
    assert main(["savings", "other"]) == 1
    assert "there is no ModelRoute other in namespace models" in capsys.readouterr().err
    assert main(["savings", "new"]) == 1
    assert "nothing is measured of the ModelRoute new" in capsys.readouterr().err
