"""Runs one container of a pod: start, probes, end, restart, stop.

One task per container. A container that ends is started again as its restart policy says, with the kubelet's
back-off. Stopping is preStop, SIGTERM, the rest of the grace period, SIGKILL.

An exit with code 137 counts as OOMKilled if the container's termination message starts with that word, or its log
ends with it: no memory limit is enforced here, and this is how a program plays that part.
"""

from __future__ import annotations

import asyncio
import signal
import uuid
from contextlib import suppress

from playground.kubelet.backoff import Backoff, describe, restart_wanted
from playground.kubelet.deadline import Deadline
from playground.kubelet.environment import ConfigError
from playground.kubelet.images import ImageEntry, PullError
from playground.kubelet.logs import LogFile
from playground.kubelet.model import ContainerRecord, Json, Running, Terminated, Waiting, utc_now
from playground.kubelet.preparation import PodContext, environment, launch, termination_message
from playground.kubelet.prober import Heard, Target, check, watch
from playground.kubelet.probes import Kind, ProbeSpec, probe_of
from playground.kubelet.process import Launch, Process, StartError, drain, start_container
from playground.rest import AWAY, ApiError

PULL_PAUSE_S = 1.0
CONFIG_RETRY_S = 2.0
AFTER_PRESTOP_S = 2.0
OOM_EXIT, OOM_WORD = 137, "OOMKilled"
START_ERROR = "failed to create containerd task: failed to create shim task: OCI runtime create failed: "


class ContainerRunner:
    """The life of one container."""

    def __init__(self, context: PodContext, container: Json, record: ContainerRecord) -> None:
        """Prepare; `run` lives it."""
        self._context, self._container, self.record = context, container, record
        self._stopping = asyncio.Event()
        # Set once the container has started (its startup probe passed) or never will.
        self.started = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._process: Process | None = None
        self._target: Target | None = None
        self._ending: asyncio.Task[None] | None = None
        self._deadline: Deadline | None = None
        self._probes: list[tuple[Kind, asyncio.Task[None]]] = []
        self.log: LogFile | None = None
        self.previous_log: LogFile | None = None

    @property
    def name(self) -> str:
        """Return the container's name."""
        return self.record.name

    async def run(self) -> None:
        """Run the container until it has ended for good or was stopped."""
        loop = asyncio.get_running_loop()
        backoff = Backoff()
        while True:
            prepared = await self._prepared()
            if prepared is None:
                return
            ended = await self._run_once(prepared)
            at = loop.time()
            self.record.state = ended
            self._context.changed()
            if self._stopping.is_set() or not restart_wanted(self.record.restart_policy, ended.exit_code):
                return
            await self._back_off(backoff, ended, at)
            if self._stopping.is_set():
                return
            backoff = backoff.next(at, loop.time())
            self.record.last = ended
            self.record.restart_count += 1

    async def _back_off(self, backoff: Backoff, ended: Terminated, at: float) -> None:
        wait = backoff.remaining(at, asyncio.get_running_loop().time())
        if wait <= 0:
            return
        text = f"back-off {describe(backoff.delay)} restarting failed container={self.name} pod={self._context.title}"
        self.record.last = ended
        self._wait("CrashLoopBackOff", text)
        self._context.events.warning(self._context.pod, "BackOff", text)
        await self._pause(wait)

    def _wait(self, reason: str, message: str) -> None:
        self.record.state = Waiting(reason, message)
        self._context.changed()

    async def _pause(self, seconds: float) -> None:
        """Sleep, but not past a stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _prepared(self) -> Launch | None:
        """Return what to launch as soon as nothing is missing; None if stopped before."""
        image = await self._pulled()
        while image is not None and not self._stopping.is_set():
            try:
                env = await environment(self._context, self._container, image)
                return launch(self._context, self._container, image, env)
            except (ConfigError, ApiError) as error:
                self._context.events.warning(self._context.pod, "Failed", f"Error: {error}")
                self._wait("CreateContainerConfigError", str(error))
            except AWAY:
                pass  # the API server is away: nobody could be told anyway
            await self._pause(CONFIG_RETRY_S)
        return None

    async def _pulled(self) -> ImageEntry | None:
        reference, pod, events = self._container["image"], self._context.pod, self._context.events
        backoff, loop = Backoff(), asyncio.get_running_loop()
        while not self._stopping.is_set():
            try:
                entry = self._context.images.find(reference)
            except PullError as error:
                message = f'Failed to pull image "{reference}": {error}'
                events.warning(pod, "Failed", message)
                self._wait("ErrImagePull", str(error))
                backoff = backoff.next(loop.time(), loop.time())
                await self._pause(PULL_PAUSE_S)
                self._wait("ImagePullBackOff", f'Back-off pulling image "{reference}": ErrImagePull: {error}')
                await self._pause(backoff.delay - PULL_PAUSE_S)
                continue
            if self.record.restart_count == 0:
                events.normal(pod, "Pulled", f'Image "{reference}" is {entry.note}')
            return entry
        return None

    async def _run_once(self, prepared: Launch) -> Terminated:
        context, record = self._context, self.record
        self._idle.clear()
        try:
            path = context.logs / self.name / f"{record.restart_count}.log"
            self.previous_log, self.log = self.log, LogFile(path)
            record.container_id = f"playground://{uuid.uuid4().hex}"
            started = utc_now()
            try:
                self._process = await start_container(context.sandbox.descriptors, prepared)
            except (StartError, OSError) as error:
                self.log.close()
                context.events.warning(context.pod, "Failed", f"Error: {error}")
                return Terminated(128, "StartError", f"{START_ERROR}{error}", started, utc_now(), record.container_id)
            record.state = Running(started)
            context.events.normal(context.pod, "Started", f"Started container {self.name}")
            return await self._attend(self._process, prepared, started_at=record.state)
        finally:
            self._process = None
            self._ending = None
            self._idle.set()

    async def _attend(self, process: Process, prepared: Launch, *, started_at: Running) -> Terminated:
        record = self.record
        assert self.log is not None  # noqa: S101 - set by the caller
        reading = asyncio.create_task(drain(process.output, self.log.write))
        self._target = Target(self._context.sandbox.address, self._container, process.pid, dict(prepared.env))
        self._begin_probes()
        self._context.changed()
        if self._stopping.is_set() and self._deadline is not None:
            self._end(self._deadline)
        code = await process.wait()
        await reading
        self.log.close()
        for _, task in self._probes:
            task.cancel()
        record.started = record.passing = False
        message = termination_message(self._context, self.name)
        reason = "Completed" if code == 0 else "Error"
        if code == OOM_EXIT and (message.startswith(OOM_WORD) or self.log.last_words().rstrip().endswith(OOM_WORD)):
            reason, message = OOM_WORD, ""
        fallback = self._container.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        if fallback and not message and code != 0:
            message = self.log.last_words()
        return Terminated(code, reason, message, started_at.started_at, utc_now(), record.container_id)

    # Probes

    def _begin_probes(self) -> None:
        startup = probe_of(self._container, Kind.STARTUP)
        self._since = asyncio.get_running_loop().time()
        self._probes = []
        self.record.started = startup is None
        if startup is None:
            self.started.set()
        self.record.passing = probe_of(self._container, Kind.READINESS) is None
        if startup is not None:
            self._probe(startup)
        else:
            self._begin_regular_probes()

    def _begin_regular_probes(self) -> None:
        for kind in (Kind.READINESS, Kind.LIVENESS):
            spec = probe_of(self._container, kind)
            if spec is not None:
                self._probe(spec)

    def _probe(self, spec: ProbeSpec) -> None:
        target = self._target
        assert target is not None  # noqa: S101 - set before probes begin

        async def look() -> tuple[bool, str]:
            return await check(spec.action, target, spec.timeout)

        age = asyncio.get_running_loop().time() - self._since
        heard = Heard(self._probe_result, self._probe_failed)
        self._probes.append((spec.kind, asyncio.create_task(watch(spec, look, heard, age))))

    def _probe_failed(self, spec: ProbeSpec, why: str) -> None:
        self._context.events.warning(self._context.pod, "Unhealthy", f"{spec.kind.word} probe failed: {why}")

    def _probe_result(self, spec: ProbeSpec, passing: bool) -> None:
        if spec.kind is Kind.READINESS:
            self.record.passing = passing
        elif passing and spec.kind is Kind.STARTUP:
            self.record.started = True
            self.started.set()
            self._begin_regular_probes()
        elif not passing:
            word = spec.kind.word.lower()
            self._context.events.normal(
                self._context.pod,
                "Killing",
                f"Container {self.name} failed {word} probe, will be restarted",
            )
            grace = self._context.pod["spec"].get("terminationGracePeriodSeconds", 30)
            self._end(Deadline(spec.grace if spec.grace is not None else grace))
        self._context.changed()

    # The end

    async def stop(self, deadline: Deadline) -> None:
        """End the container and start it no more; returns when nothing of it runs."""
        self._stopping.set()
        self.started.set()
        if self._process is not None:
            self._end(deadline)
        else:
            self._deadline = deadline
        await self._idle.wait()

    def hurry(self, seconds: float) -> None:
        """Leave a stop that is under way only so much time."""
        if self._deadline is not None:
            self._deadline.bring_forward(seconds)

    def _end(self, deadline: Deadline) -> None:
        if self._ending is None:
            self._deadline = deadline
            self._ending = asyncio.create_task(self._end_process(deadline))
        elif self._deadline is not None:
            self._deadline.bring_forward(deadline.remaining)

    async def _end_process(self, deadline: Deadline) -> None:
        process = self._process
        if process is None:
            return
        # Readiness is watched to the end, as the kubelet does: what drains may say that it takes nothing new.
        for kind, task in self._probes:
            if kind is not Kind.READINESS and task is not asyncio.current_task():
                task.cancel()
        hook = (self._container.get("lifecycle") or {}).get("preStop")
        if hook and self._target is not None:
            await deadline.first(self._pre_stop(hook, deadline), process.wait())
            deadline.at_least(AFTER_PRESTOP_S)
        process.signal(signal.SIGTERM)
        if not await deadline.first(process.wait()):
            process.signal(signal.SIGKILL)

    async def _pre_stop(self, hook: Json, deadline: Deadline) -> None:
        if "sleep" in hook:
            await asyncio.sleep(hook["sleep"]["seconds"])
            return
        assert self._target is not None  # noqa: S101 - checked by the caller
        good, why = await check(hook, self._target, max(1.0, deadline.remaining))
        if not good:
            self._context.events.warning(self._context.pod, "FailedPreStopHook", f"PreStopHook failed: {why}")
