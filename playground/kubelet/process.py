"""Starts a container's first process so that it dies with the kubelet, and waits for its end.

Each container has a thread of the kubelet's own. The thread enters the pod's namespaces, asks for a new
process tree and starts the launcher, which so is the tree's first process and a direct child of the kubelet:
there is no helper process beside it. The thread then waits. It must stay, because the parent-death signal
that the launcher sets (kill -9 of the kubelet ends every container) is tied to the thread that started it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from playground.kubelet.syscalls import CLONE_NEWPID, enter_namespace, unshare

_REPOSITORY = Path(__file__).resolve().parents[2]
_BOOT = f"import sys; sys.path.insert(0, {str(_REPOSITORY)!r}); from playground.kubelet.launcher import main; main()"


class StartError(Exception):
    """A container's command that could not be started."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What the launcher needs to build a container and become its command."""

    root: Path
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    mounts: Sequence[Mapping[str, object]]
    keep: Sequence[str]
    read_only_root: bool

    def document(self) -> bytes:
        """Return the launcher's input."""
        return json.dumps(
            {
                "root": str(self.root),
                "argv": list(self.argv),
                "env": dict(self.env),
                "cwd": self.cwd,
                "mounts": [dict(mount) for mount in self.mounts],
                "keep": list(self.keep),
                "read_only_root": self.read_only_root,
            }
        ).encode()


class Process:
    """A child of the kubelet: its pid, what it writes and the future of its exit code."""

    def __init__(self) -> None:
        """Prepare; `spawn` makes the child."""
        self._loop = asyncio.get_running_loop()
        self._pidfd = -1
        self._spawned: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self.pid = 0
        self.output = -1

    async def spawn(
        self, argv: Sequence[str], env: Mapping[str, str], pass_fds: Sequence[int], before: Callable[[], None]
    ) -> None:
        """Start the child from a thread of its own that first calls `before`. Raises OSError."""
        self.output, output_end = os.pipe()

        def live() -> None:
            try:
                before()
                child = subprocess.Popen(
                    list(argv),
                    env=dict(env),
                    stdin=subprocess.DEVNULL,
                    stdout=output_end,
                    stderr=output_end,
                    pass_fds=tuple(pass_fds),
                    start_new_session=True,
                )
                self.pid, self._pidfd = child.pid, os.pidfd_open(child.pid)
            except OSError as error:
                self._tell(self._spawned.set_exception, error)
                return
            finally:
                os.close(output_end)
            self._tell(self._spawned.set_result, None)
            self._tell(self._finish, child.wait())

        threading.Thread(target=live, name="container", daemon=True).start()
        try:
            await self._spawned
        except OSError:
            os.close(self.output)
            raise

    def _tell(self, callback: Callable[..., None], value: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, value)
        except RuntimeError:
            return  # the loop is closed: the kubelet is ending and takes its children with it

    def _finish(self, code: int) -> None:
        os.close(self._pidfd)
        self._ended.set_result(128 - code if code < 0 else code)

    @property
    def running(self) -> bool:
        """Tell whether the child has not been seen to end."""
        return not self._ended.done()

    async def wait(self) -> int:
        """Return the exit code once the child has ended: 128 + signal for a killed one."""
        return await asyncio.shield(self._ended)

    def signal(self, number: int) -> None:
        """Send a signal to the child, if it still lives."""
        if self.running:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                return  # it has just ended; the thread is about to say so


async def start_container(namespaces: Sequence[int], launch: Launch) -> Process:
    """Start a container and return once its command is executed. Raises StartError or OSError."""
    report, report_end = os.pipe()
    source = os.memfd_create("launch")
    process = Process()

    def enter() -> None:
        for descriptor in namespaces:
            enter_namespace(descriptor)
        unshare(CLONE_NEWPID)

    try:
        os.write(source, launch.document())
        os.lseek(source, 0, os.SEEK_SET)
        await process.spawn(
            [sys.executable, "-I", "-S", "-c", _BOOT, str(source), str(report_end)],
            env={},
            pass_fds=(source, report_end),
            before=enter,
        )
    except OSError:
        os.close(report)
        raise
    finally:
        os.close(report_end)
        os.close(source)
    failure = await read_all(report)
    if failure:
        await process.wait()
        os.close(process.output)
        raise StartError(failure.decode(errors="replace"))
    return process


async def run_inside(pid: int, argv: Sequence[str], env: Mapping[str, str], seconds: float) -> tuple[int, str]:
    """Run a command in the namespaces of a container's process; return exit code and output.

    Raises TimeoutError after `seconds`; the command is killed then.
    """
    process = Process()
    kinds = ("--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd")
    await process.spawn(
        [tool("setpriv"), "--pdeathsig", "KILL", tool("nsenter"), "--target", str(pid), *kinds, "--", *argv],
        env=env,
        pass_fds=(),
        before=lambda: None,
    )
    reader = asyncio.create_task(read_all(process.output))
    try:
        async with asyncio.timeout(seconds):
            code = await process.wait()
            output = await reader
    except TimeoutError:
        # The command is a child of nsenter, which must live to collect it: a process tree only ends when
        # every process in it was collected.
        children = _children(process.pid)
        for child in children:
            os.kill(child, signal.SIGKILL)
        if not children:
            process.signal(signal.SIGKILL)
        await process.wait()
        raise
    finally:
        reader.cancel()
    return code, output.decode(errors="replace")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def tool(name: str) -> str:
    """Return the path of a util-linux command. Raises FileNotFoundError that says what to install."""
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"the command {name} is missing: install util-linux")
    return found


async def read_all(descriptor: int) -> bytes:
    """Return everything written to a pipe until its other end closes; closes the descriptor."""
    parts: list[bytes] = []
    await drain(descriptor, parts.append)
    return b"".join(parts)


async def drain(descriptor: int, take: Callable[[bytes], object]) -> None:
    """Hand everything written to a pipe to `take` until its other end closes; closes the descriptor."""
    loop = asyncio.get_running_loop()
    os.set_blocking(descriptor, False)
    done: asyncio.Future[None] = loop.create_future()

    def readable() -> None:
        part = os.read(descriptor, 65536)
        if part:
            take(part)
        elif not done.done():
            done.set_result(None)
            loop.remove_reader(descriptor)

    loop.add_reader(descriptor, readable)
    try:
        await done
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
