"""Checks what a program and a person get to see: real pipes, and a real pseudo-terminal of 60 columns."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.unit.cli.clusters import API, FakeCluster, tier

REPO = Path(__file__).resolve().parents[3]
COMMAND = (sys.executable, "-m", "tierwise_cli")
POD = "chat-small-predictor-7f9c9d5b6f-x2x9q-with-a-name-that-is-long-enough-for-two-lines"
MESSAGE = f"The pod {POD} cannot be scheduled: 0/3 nodes are available, none has a free GPU. " * 2
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def chat(cluster: FakeCluster) -> FakeCluster:
    condition = {
        "type": "Provisioned",
        "status": "False",
        "reason": "Unschedulable",
        "message": MESSAGE.strip(),
        "observedGeneration": 1,
        "lastTransitionTime": "2026-11-28T10:00:00Z",
    }
    body = tier("chat", conditions=[condition])
    cluster.objects = {
        f"{API}/namespaces/models/modeltiers": [body],
        f"{API}/namespaces/models/modeltiers/chat": body,
        f"{API}/namespaces/models/modelroutes": [],
    }
    return cluster


def piped(*arguments: str, **environment: str) -> str:
    """What the command writes into a pipe."""
    surroundings = {**os.environ, "COLUMNS": "80", **environment}
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120, env=surroundings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What the command writes to a terminal of 60 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 60, 0, 0))
    surroundings = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR", "CI")}
    surroundings |= {"TERM": "xterm-256color", **environment}
    process = subprocess.Popen([*COMMAND, *arguments], stdout=theirs, stdin=theirs, env=surroundings)
    os.close(theirs)
    seen = b""
    while True:
        try:
            some = os.read(ours, 65536)
        except OSError:  # Linux says so when nobody holds the other end any more
            break
        if not some:
            break
        seen += some
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return seen.decode()


def test_a_pipe_gets_whole_lines_without_colour(chat: FakeCluster) -> None:
    text = piped("explain", "chat")
    (line,) = [line for line in text.splitlines() if "Unschedulable" in line and "Provisioned" in line]
    assert MESSAGE.strip() in line
    assert not ESCAPE.search(text)
    assert all(line == line.rstrip() for line in text.splitlines())


def test_a_terminal_gets_its_width_and_colour(chat: FakeCluster) -> None:
    text = on_a_terminal("explain", "chat")
    assert ESCAPE.search(text)
    lines = ESCAPE.sub("", text).splitlines()
    assert len(lines) > len(piped("explain", "chat").splitlines())
    assert all(len(line) <= 60 for line in lines)
    assert not ESCAPE.search(on_a_terminal("get", "tiers", NO_COLOR="1"))


def test_wide_is_not_folded_on_a_terminal(chat: FakeCluster) -> None:
    text = ESCAPE.sub("", on_a_terminal("explain", "chat", "-o", "wide"))
    assert any(MESSAGE.strip() in line for line in text.splitlines())


def test_a_table_is_coloured_for_people_alone(chat: FakeCluster) -> None:
    assert piped("get", "tiers").splitlines()[1] == "chat   chat    Ready"
    assert "\x1b[32mReady\x1b[0m" in on_a_terminal("get", "tiers")


def test_a_reader_who_has_seen_enough_is_no_error() -> None:
    with subprocess.Popen([*COMMAND, "crds"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert command.stderr.read() == b""
        assert command.wait(timeout=120) == 0


def test_what_is_typed_often_imports_little(chat: FakeCluster) -> None:
    """`get` took five seconds where half of one is enough: each of these is most of it."""
    script = (
        "import sys; from tierwise_cli.main import main; code = main(['get']); "
        "heavy = {'aiohttp', 'kopf', 'kubernetes', 'numpy', 'pydantic', 'rich', 'tierwise.api.base'}; "
        "print(*sorted(heavy & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert "chat" in done.stdout


def test_the_plugin_calls_itself_as_one_has_called_it() -> None:
    plugin = Path(sys.executable).with_name("kubectl-tierwise")
    done = subprocess.run([plugin, "get", "--help"], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("usage: kubectl tierwise get")
    assert "\n  kubectl tierwise get -A -o wide\n" in done.stdout
