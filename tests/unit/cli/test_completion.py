"""Checks what is offered at the end of a command line, and that the shells show it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.unit.cli.clusters import API, FakeCluster, tier
from tierwise_cli.commands import COMMANDS
from tierwise_cli.completion import complete
from tierwise_cli.completion_command import SHELLS, script
from tierwise_cli.main import main

SCRIPTS = Path(sys.executable).parent
MODELS = f"{API}/namespaces/models"


@pytest.fixture
def models(cluster: FakeCluster) -> FakeCluster:
    cluster.objects = {
        f"{MODELS}/modeltiers": [tier("chat"), tier("chat-large", state="Failed"), tier("sum")],
        f"{MODELS}/modelroutes": [tier("talk")],
        f"{API}/namespaces/else/modeltiers": [tier("there", "else")],
        "/api/v1/namespaces": [{"metadata": {"name": "models"}}, {"metadata": {"name": "monitoring"}}],
    }
    return cluster


def words(*before: str) -> list[str]:
    """What is offered."""
    return [each.word for each in complete(before).candidates]


def test_commands_with_what_they_are_for() -> None:
    assert words("") == [each.name for each in COMMANDS]
    assert words("re") == ["restart"]
    assert complete(["sav"]).candidates[0].description == "what a route has saved against its reference tier"
    assert list(complete(["sav"]).lines())[-1] == ":4"


def test_options_and_their_values(models: FakeCluster) -> None:
    assert {"--output", "--namespace", "--context", "--as"} <= set(words("get", "--"))
    assert words("get", "--output", "") == ["wide", "json", "yaml", "name"]
    assert words("get", "-o", "j") == ["json"]
    assert words("explain", "--output=w") == ["--output=wide"]
    assert words("get", "--context", "") == ["c", "other"]
    assert words("get", "-n", "mo") == ["models", "monitoring"]
    assert words("completion", "") == list(SHELLS)
    assert complete(["get", "--kubeconfig", ""]).files
    assert complete(["savings", "--html", ""]).files
    assert words("get", "--no-such", "") != []
    assert words("fly", "") == []


def test_names_come_from_where_the_words_point_to(models: FakeCluster) -> None:
    assert words("restart", "ch") == ["chat", "chat-large"]
    assert complete(["restart", "chat-"]).candidates[0].description == "Failed"
    assert words("restart", "chat", "s") == ["sum"]
    assert words("explain", "route", "") == ["talk"]
    assert words("explain", "route/") == ["route/talk"]
    assert words("explain", "ch") == ["chat", "chat-large"]
    assert words("get", "ro") == ["routes"]
    assert words("get", "--context", "other", "tier", "") == ["there"]
    assert words("restart", "--context=other", "") == ["there"]
    assert words("savings", "") == ["talk"]
    assert words("savings", "talk", "") == []
    assert all(each.method == "GET" for each in models.asked)


def test_what_fails_offers_nothing(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    assert words("restart", "") == []
    monkeypatch.setenv("KUBECONFIG", "/no/such")
    assert words("restart", "") == []
    assert words("get", "--context", "") == []


def test_the_shells_ask_through_the_command(models: FakeCluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["__complete", "restart", "chat-"]) == 0
    assert capsys.readouterr().out == "chat-large\tFailed\n:4\n"


def in_bash(typed: Sequence[str]) -> list[str]:
    """What bash offers at the end of these words, split as bash splits them."""
    listed = " ".join(shlex.quote(word) for word in typed)
    lines = (
        script("bash"),
        "compopt() { :; }",  # only a real completion may call it
        f"COMP_WORDS=({listed}); COMP_CWORD={len(typed) - 1}",
        "_tierwise",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    )
    environment = {**os.environ, "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", "\n".join(lines)], capture_output=True, text=True, timeout=60, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_bash_offers_the_same(models: FakeCluster) -> None:
    assert in_bash(["tierwise", "restart", "ch"]) == ["chat", "chat-large"]
    assert in_bash(["kubectl-tierwise", "get", "--output", "=", "js"]) == ["json"]
    assert in_bash(["tierwise", "get", "--context", "=", "other", "tier", "t"]) == ["there"]


def in_shell(shell: str, code: str) -> list[str]:
    """The lines that a shell prints which has read its script."""
    environment = {**os.environ, "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    done = subprocess.run([shell, "-c", code], capture_output=True, text=True, timeout=120, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed on this machine")
def test_fish_offers_the_same(models: FakeCluster, tmp_path: Path) -> None:
    (tmp_path / "t.fish").write_text(script("fish"))
    for typed, offered in (
        ("restart ch", ["chat\tReady", "chat-large\tFailed"]),
        ("get --output=js", ["--output=json"]),
    ):
        code = f"source {tmp_path}/t.fish; complete --do-complete 'tierwise {typed}'"
        assert in_shell("fish", code) == offered


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed on this machine")
def test_zsh_offers_the_same(models: FakeCluster, tmp_path: Path) -> None:
    (tmp_path / "t.zsh").write_text(script("zsh"))
    code = "\n".join(
        (
            "compdef() { :; }",
            "_describe() { print -rl -- ${(P)@[-1]}; }",  # what zsh would show
            "_files() { print FILES; }",
            f"source {tmp_path}/t.zsh",
            "words=(tierwise restart ch) CURRENT=3; _tierwise",
            "words=(tierwise get --kubeconfig '') CURRENT=4; _tierwise",
        )
    )
    assert in_shell("zsh", code) == ["chat:Ready", "chat-large:Failed", "FILES"]


def test_every_shell_has_a_script_in_the_package() -> None:
    assert all("kubectl-tierwise" in script(shell) for shell in SHELLS)
