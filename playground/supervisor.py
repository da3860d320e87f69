"""Keeps the processes of the control plane running, and stops single ones on request.

Each component has one task that starts it, waits for its end and starts it again with growing pauses. Tests
stop, pause and start components by name; a component that ends by itself is reported with its last log lines,
because nobody should have to look for the file first.

When the API server comes back after a longer absence, the managers and the scheduler begin anew, as on any cluster:
there each holds a Lease, ends when it cannot renew it for ten seconds, and is started again. Without that every one of
their eighty watches tries again after pauses that have grown with the absence, up to a minute long, and a Deployment
that was scaled meanwhile waits for the last of them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from playground.components import Component
from playground.errors import PlaygroundError
from playground.layout import Layout

FIRST_PAUSE, LONGEST_PAUSE, STABLE_SECONDS = 0.3, 5.0, 15.0
STOP_SECONDS = 5.0
# What controller-runtime and the Kubernetes components take by default.
RENEW_SECONDS = 10.0
TAIL_LINES = 8
_TAIL_BYTES = 16_384


def tail(path: Path, lines: int = TAIL_LINES, *, since: int = 0) -> str:
    """Return the last lines of a log file from byte `since` on, empty if there is none."""
    try:
        with path.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(since, stream.tell() - _TAIL_BYTES))
            return "\n".join(stream.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


@dataclass(slots=True)
class _Running:
    component: Component
    task: asyncio.Task[None] | None = None
    process: asyncio.subprocess.Process | None = None
    # Held while a process is being made: a task cancelled just then would lose it.
    making: asyncio.Lock = field(default_factory=asyncio.Lock)
    paused: bool = False
    starts: int = 0
    # Where in the log file the last start begins.
    log_offset: int = 0
    pause: float = field(default=FIRST_PAUSE)
    # When it was last stopped; none while it runs.
    away_since: float | None = None


class Supervisor:
    """Runs components; `say` gets what happens to them."""

    def __init__(self, layout: Layout, components: dict[str, Component], say: Callable[[str], None]) -> None:
        """Know the components; nothing is started yet."""
        self._layout = layout
        self._say = say
        self._all = {name: _Running(component) for name, component in components.items()}
        self._probe_tls = ssl.create_default_context(cafile=str(layout.ca))
        # Two components serve their health with a certificate they made up themselves.
        self._blind_tls = ssl.create_default_context()
        self._blind_tls.check_hostname = False
        self._blind_tls.verify_mode = ssl.CERT_NONE

    def status(self) -> dict[str, dict[str, object]]:
        """Return per component: state, process id (inside), number of starts."""
        return {name: self._status(one) for name, one in sorted(self._all.items())}

    @staticmethod
    def _status(one: _Running) -> dict[str, object]:
        if one.process is None:
            state = "stopped" if one.task is None else "waiting"
        else:
            state = "paused" if one.paused else "running"
        return {"state": state, "pid": one.process.pid if one.process else None, "starts": one.starts}

    async def start(self, name: str) -> None:
        """Start a component unless it runs already. Raises PlaygroundError for an unknown name."""
        one = self._find(name)
        if one.task is None:
            one.pause = FIRST_PAUSE
            one.task = asyncio.create_task(self._keep_up(one), name=name)

    async def stop(self, name: str, *, kill: bool = False) -> None:
        """End a component and do not restart it; `kill` sends SIGKILL at once. Raises PlaygroundError."""
        one = self._find(name)
        task, one.task = one.task, None
        if task is None:
            return
        one.away_since = asyncio.get_running_loop().time()
        async with one.making:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        if one.process is not None:
            await self._end(one, kill=kill)

    def pause(self, name: str) -> None:
        """Freeze a component (SIGSTOP): it keeps its connections and answers nothing. Raises PlaygroundError."""
        self._signal(name, signal.SIGSTOP)
        self._all[name].paused = True

    def resume(self, name: str) -> None:
        """Let a paused component go on. Raises PlaygroundError."""
        self._signal(name, signal.SIGCONT)
        self._all[name].paused = False

    async def ready(self, name: str, seconds: float) -> None:
        """Wait until a component answers; who lost a Lease meanwhile begins anew. Raises PlaygroundError with its last
        log lines if it does not answer."""
        one = self._find(name)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not await self._answers(one.component.ready_url):
            if loop.time() > deadline:
                raise PlaygroundError(
                    f"{name} is not ready after {seconds:.0f} s ({one.starts} starts)",
                    tail(self._layout.log(name)),
                )
            await asyncio.sleep(0.1)
        since, one.away_since = one.away_since, None
        if since is not None and loop.time() - since > RENEW_SECONDS:
            await self._begin_anew(name)

    async def _begin_anew(self, server: str) -> None:
        names = [name for name, one in self._all.items() if one.component.lease == server and one.task is not None]
        for name in names:
            self._say(f"{server} was away for longer than a Lease is kept: {name} begins anew")
        await asyncio.gather(*(self.stop(name) for name in names))
        for name in names:
            await self.start(name)

    def _find(self, name: str) -> _Running:
        try:
            return self._all[name]
        except KeyError:
            known = ", ".join(sorted(self._all))
            raise PlaygroundError(f"there is no component {name!r}; there are {known}") from None

    def _signal(self, name: str, number: signal.Signals) -> None:
        one = self._find(name)
        if one.process is None:
            raise PlaygroundError(f"{name} does not run")
        one.process.send_signal(number)

    async def _keep_up(self, one: _Running) -> None:
        loop = asyncio.get_running_loop()
        while True:
            since = loop.time()
            code = await self._run(one)
            if loop.time() - since > STABLE_SECONDS:
                one.pause = FIRST_PAUSE
            name = one.component.name
            self._say(
                f"{name} ended with exit code {code}; starting it again in {one.pause:.1f} s. Its last words:\n"
                + tail(self._layout.log(name), since=one.log_offset)
            )
            await asyncio.sleep(one.pause)
            one.pause = min(one.pause * 2, LONGEST_PAUSE)

    async def _run(self, one: _Running) -> int:
        async with one.making:
            with self._layout.log(one.component.name).open("ab") as log:
                one.log_offset = log.tell()
                one.process = await asyncio.create_subprocess_exec(
                    *one.component.argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=asyncio.subprocess.STDOUT,
                    env={**os.environ, **one.component.env},
                    start_new_session=True,
                )
        one.starts += 1
        one.paused = False
        code = await one.process.wait()
        one.process = None
        return code

    @staticmethod
    async def _end(one: _Running, *, kill: bool) -> None:
        process, one.process = one.process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            # A frozen process takes no other signal than KILL before it goes on.
            process.send_signal(signal.SIGCONT)
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _answers(self, url: str) -> bool:
        if not url:
            return True
        target = urlsplit(url)
        try:
            if target.scheme == "tcp":
                _, writer = await asyncio.wait_for(asyncio.open_connection(target.hostname, target.port), 2)
                writer.close()
                return True
            own = target.hostname == "127.0.0.1"
            tls = self._blind_tls if own else self._probe_tls
            timeout = aiohttp.ClientTimeout(total=2)
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
                session.get(url, ssl=tls) as answer,
            ):
                return answer.status == 200
        except (TimeoutError, OSError, aiohttp.ClientError):
            return False
