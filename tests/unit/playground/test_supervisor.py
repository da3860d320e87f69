"""Checks that the supervisor keeps real processes running, and stops them when told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from playground.components import Component
from playground.control import ControlServer, ask
from playground.errors import PlaygroundError
from playground.layout import Layout
from playground.pki import Authority
from playground.supervisor import Supervisor, tail

FOR_EVER = ("sleep", "1000")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(1000)",
)
DYING = (sys.executable, "-c", "print('out of luck', flush=True); raise SystemExit(3)")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path)
    found.make()
    found.ca.write_bytes(Authority.create().pem)
    return found


Make = Callable[..., tuple[Supervisor, list[str]]]


@pytest.fixture
async def make(layout: Layout) -> AsyncIterator[Make]:
    made: list[Supervisor] = []

    def build(*components: Component) -> tuple[Supervisor, list[str]]:
        said: list[str] = []
        supervisor = Supervisor(layout, {one.name: one for one in components}, said.append)
        made.append(supervisor)
        return supervisor, said

    yield build
    for supervisor in made:
        for name in supervisor.status():
            await supervisor.stop(name, kill=True)


async def _until(check: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not check():  # noqa: ASYNC110 - the state of a real process, nobody sets an event for it
            await asyncio.sleep(0.01)


def _pid(supervisor: Supervisor, name: str) -> int:
    pid = supervisor.status()[name]["pid"]
    return pid if isinstance(pid, int) else 0


def _state(supervisor: Supervisor, name: str) -> object:
    return supervisor.status()[name]["state"]


def _stat(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _children(program: str) -> list[str]:
    found = []
    for child in Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError):
            found.append(Path(f"/proc/{child}/comm").read_text().strip())
    return [name for name in found if name == program]


async def test_it_starts_once_and_stops(make: Make) -> None:
    supervisor, said = make(Component("one", FOR_EVER))
    assert supervisor.status() == {"one": {"state": "stopped", "pid": None, "starts": 0}}
    await supervisor.start("one")
    await supervisor.start("one")
    await _until(lambda: _pid(supervisor, "one") > 0)
    pid = _pid(supervisor, "one")
    await supervisor.stop("one")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert supervisor.status() == {"one": {"state": "stopped", "pid": None, "starts": 1}}
    assert said == []


async def test_what_ends_by_itself_is_started_again_and_its_last_words_are_told_once(make: Make) -> None:
    supervisor, said = make(Component("one", DYING))
    await supervisor.start("one")
    await _until(lambda: len(said) >= 2)
    assert all("one ended with exit code 3" in text and text.endswith("out of luck") for text in said)
    assert [text.count("out of luck") for text in said] == [1, 1]
    assert "again in 0.3 s" in said[0]
    assert "again in 0.6 s" in said[1]


async def test_a_process_that_ignores_the_request_is_killed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playground.supervisor.STOP_SECONDS", 0.2)
    supervisor, _ = make(Component("one", STUBBORN))
    await supervisor.start("one")
    await _until(lambda: _state(supervisor, "one") == "running")
    async with asyncio.timeout(60):
        await supervisor.stop("one")
    assert _state(supervisor, "one") == "stopped"


async def test_a_paused_process_stands_still_goes_on_and_can_be_stopped(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playground.supervisor.STOP_SECONDS", 600.0)
    supervisor, _ = make(Component("one", FOR_EVER))
    await supervisor.start("one")
    await _until(lambda: _pid(supervisor, "one") > 0)
    pid = _pid(supervisor, "one")
    supervisor.pause("one")
    await _until(lambda: _stat(pid) == "T")
    assert _state(supervisor, "one") == "paused"
    supervisor.resume("one")
    await _until(lambda: _stat(pid) == "S")
    assert _state(supervisor, "one") == "running"
    supervisor.pause("one")
    async with asyncio.timeout(60):
        await supervisor.stop("one")
    assert _state(supervisor, "one") == "stopped"


async def _away(supervisor: Supervisor, name: str, seconds: float) -> None:
    await supervisor.stop(name, kill=True)
    await asyncio.sleep(seconds)
    await supervisor.start(name)
    await supervisor.ready(name, 5)


LEADING = (Component("server", FOR_EVER), Component("leader", FOR_EVER, lease="server"), Component("other", FOR_EVER))


async def test_who_would_have_lost_its_lease_meanwhile_begins_anew(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playground.supervisor.RENEW_SECONDS", 0.1)
    supervisor, said = make(*LEADING)
    for component in LEADING:
        await supervisor.start(component.name)
    await _until(lambda: all(_pid(supervisor, each.name) for each in LEADING))
    leader, other = _pid(supervisor, "leader"), _pid(supervisor, "other")
    await _away(supervisor, "server", 0.2)
    await _until(lambda: _pid(supervisor, "leader") not in (0, leader))
    assert _pid(supervisor, "other") == other
    assert said == ["server was away for longer than a Lease is kept: leader begins anew"]


async def test_a_lease_outlasts_a_short_absence_and_what_was_stopped_stays_so(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor, _ = make(*LEADING)
    await supervisor.start("server")
    await supervisor.start("leader")
    await _until(lambda: _pid(supervisor, "leader") > 0)
    leader = _pid(supervisor, "leader")
    await _away(supervisor, "server", 0.2)
    assert _pid(supervisor, "leader") == leader
    monkeypatch.setattr("playground.supervisor.RENEW_SECONDS", 0.1)
    await supervisor.stop("leader")
    await _away(supervisor, "server", 0.2)
    assert _state(supervisor, "leader") == "stopped"


async def test_a_stop_right_after_the_start_leaves_nothing_behind(make: Make) -> None:
    supervisor, _ = make(Component("one", FOR_EVER))
    for _ in range(20):
        await supervisor.start("one")
        await asyncio.sleep(0)
        await supervisor.stop("one", kill=True)
    assert _children("sleep") == []


async def test_ready_waits_for_an_answer_and_gives_up_with_the_last_words(make: Make, layout: Layout) -> None:
    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    supervisor, _ = make(
        Component("open", FOR_EVER, ready_url=f"tcp://127.0.0.1:{port}"),
        Component("deaf", STUBBORN, ready_url="http://127.0.0.1:9/"),
    )
    await supervisor.ready("open", 60)
    await supervisor.start("deaf")
    await _until(lambda: tail(layout.log("deaf")) == "deaf")  # Python may take longer to start than is waited below
    with pytest.raises(PlaygroundError, match=r"(?s)deaf is not ready after 1 s \(1 starts\).*deaf$"):
        await supervisor.ready("deaf", 1)
    server.close()
    await server.wait_closed()


@pytest.fixture
async def control(make: Make, layout: Layout) -> AsyncIterator[Callable[..., Awaitable[object]]]:
    """Ask over the socket, from a thread, as another process would."""
    supervisor, _ = make(Component("one", FOR_EVER))
    server = await ControlServer(supervisor, layout.control_socket).serve()

    async def request(*words: str) -> object:
        return await asyncio.to_thread(ask, layout.control_socket, *words)

    yield request
    server.close()
    await server.wait_closed()


async def test_the_control_socket_does_what_it_is_told(control: Callable[..., Awaitable[object]]) -> None:
    async def state() -> object:
        answer = await control("status")
        assert isinstance(answer, dict)
        return answer["components"]["one"]["state"]

    seen = [await state()]
    await control("start", "one")
    async with asyncio.timeout(60):
        while await state() != "running":  # noqa: ASYNC110 - asked over a socket
            await asyncio.sleep(0.01)
    for verb in ("pause", "resume", "stop"):
        await control(verb, "one")
        seen.append(await state())
    assert seen == ["stopped", "paused", "running", "stopped"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("start", "two"), "there is no component 'two'; there are one"),
        (("dance", "one"), "unknown verb 'dance'"),
        (("pause", "one"), "one does not run"),
    ],
)
async def test_the_control_socket_says_what_is_wrong(
    control: Callable[..., Awaitable[object]], words: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(PlaygroundError, match=reason):
        await control(*words)


def test_nobody_at_the_socket_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(PlaygroundError, match=r"does not answer on .*control\.sock"):
        ask(tmp_path / "control.sock", "status")


def test_the_tail_is_the_end_of_the_last_run_only(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert tail(log) == ""
    log.write_text("".join(f"{number}\n" for number in range(20)))
    assert tail(log, 3) == "17\n18\n19"
    assert tail(log, 3, since=log.stat().st_size - 3) == "19"
