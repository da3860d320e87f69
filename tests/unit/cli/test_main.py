"""Checks the command line: arguments, output and exit codes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import yaml

from tests.unit.act.api_server import Answer, serving, status
from tierwise.api.kinds import KINDS
from tierwise_cli import main as cli

TIER = {
    "metadata": {"name": "chat", "namespace": "models", "uid": "u", "generation": 1, "resourceVersion": "1"},
    "spec": {"model": {"name": "small", "uri": "hf://org/small"}},
    "status": {"model": "small", "state": "Ready", "desiredReplicas": 2, "observedGeneration": 1},
}


def kubeconfig(folder: Path, server: str) -> Path:
    path = folder / "kubeconfig"
    body = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
    }
    path.write_text(yaml.safe_dump(body))
    return path


def test_the_crds_are_whole_manifests(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["crds"]) == 0
    found = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [each["kind"] for each in found] == ["CustomResourceDefinition"] * len(KINDS)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version"]) == 0
    assert capsys.readouterr().out.strip().count(".") == 2


@pytest.mark.parametrize("arguments", [[], ["fly"], ["explain"], ["explain", "x", "-o", "xml"], ["run", "--no-such"]])
def test_what_cannot_be_understood_shows_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: tierwise" in capsys.readouterr().err


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    assert "tierwise explain chat -n models" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--tick-seconds", "soon"], "'soon' is not a number"),
        (["explain", "x", "--kubeconfig", "/no/such"], "/no/such"),
        (["run", "--kubeconfig", "/no/such", "--metrics-port", "0"], "/no/such"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


async def _explained(folder: Path, answer: Answer, *options: str) -> int:
    async with serving(answer) as server:
        config = kubeconfig(folder, server.url)
        arguments = ["explain", "chat", "-n", "models", "--kubeconfig", str(config), *options]
        code = await asyncio.to_thread(cli.main, arguments)
        assert server.requests[0].path == "/apis/tierwise.io/v1alpha1/namespaces/models/modeltiers/chat"
    return code


async def test_explain_for_programs_and_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await _explained(tmp_path, Answer(200, TIER), "-o", "json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["tier"], said["replicas"]["desired"]) == ("models/chat", 2)
    assert await _explained(tmp_path, Answer(200, TIER)) == 0
    assert "models/chat" in capsys.readouterr().out


ROUTE = {
    "metadata": {"name": "talk", "namespace": "models", "uid": "r", "generation": 1, "resourceVersion": "1"},
    "spec": {"tiers": [{"name": "chat"}, {"name": "big"}]},
    "status": {
        "state": "Degraded",
        "reason": "TierNotFound",
        "observedGeneration": 1,
        "ladder": [
            {"name": name, "use": "Always", "model": "tierwise", "service": f"{name}-predictor"}
            | {"concurrency": 64, "keepAliveSeconds": 4}
            for name in ("chat", "big")
        ],
    },
}


async def _called(folder: Path, arguments: tuple[str, ...], *answers: Answer) -> tuple[int, list[str]]:
    """The exit code of `tierwise explain`, and what it asked for."""
    async with serving(*answers) as server:
        config = kubeconfig(folder, server.url)
        code = await asyncio.to_thread(
            cli.main, ["explain", *arguments, "-n", "models", "--kubeconfig", str(config), "-o", "json"]
        )
        return code, [
            seen.path.removeprefix("/apis/tierwise.io/v1alpha1/namespaces/models/") for seen in server.requests
        ]


async def test_a_route_is_explained_with_its_tiers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = Answer(200, ROUTE), Answer(200, TIER), status(404, "not found")
    code, asked = await _called(tmp_path, ("route", "talk"), *answers)
    assert (code, asked) == (0, ["modelroutes/talk", "modeltiers/chat", "modeltiers/big"])
    said = json.loads(capsys.readouterr().out)
    assert [(each["name"], each["state"]) for each in said["tiers"]] == [("chat", "Ready"), ("big", "Missing")]


async def test_a_tier_is_explained_with_its_routes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, asked = await _called(tmp_path, ("tier/chat",), Answer(200, TIER), Answer(200, {"items": [ROUTE]}))
    assert (code, asked) == (0, ["modeltiers/chat", "modelroutes"])
    (route,) = json.loads(capsys.readouterr().out)["routes"]
    assert (route["route"], route["takes"]) == ("models/talk", ["what no rule sends elsewhere", "model: chat"])


@pytest.mark.parametrize(("answer", "routes"), [(status(404, "no such kind"), []), (status(403, "no"), None)])
async def test_a_tier_is_explained_where_routes_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: Answer, routes: object
) -> None:
    code, _ = await _called(tmp_path, ("chat",), Answer(200, TIER), answer)
    assert (code, json.loads(capsys.readouterr().out)["routes"]) == (0, routes)


async def test_a_route_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (await _called(tmp_path, ("mr", "talk"), status(404, "not found")))[0] == 1
    assert "there is no ModelRoute talk in namespace models" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["pod/chat"], ["pod", "chat"], ["route", "a", "b"], ["route/"], ["route/a/b"]])
def test_what_can_be_no_tier_and_no_route_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", *words]) == 2
    assert "is neither the name of a tier nor one of tier/NAME and route/NAME" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (status(404, "not found"), "there is no ModelTier chat in namespace models"),
        (status(403, "cannot get modeltiers"), "cannot get modeltiers"),
    ],
)
async def test_explain_of_what_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: Answer, message: str
) -> None:
    assert await _explained(tmp_path, answer) == 1
    assert message in capsys.readouterr().err
