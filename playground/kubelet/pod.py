"""Runs a pod from its binding to this node until the API object is gone.

One worker per pod: volumes, network, init containers in turn, containers side by side; and, once deletion is
asked for, the way back: preStop and signals, then the object. That no Service sends anything new to a pod that
is being deleted is the endpoint controller's doing; until its processes end it is as ready as its probe says.
Everything that can fail for a reason outside (a Secret that is not there yet, an API server that is away) is
tried again for ever.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from playground.kubelet import resume
from playground.kubelet.container import ContainerRunner
from playground.kubelet.deadline import Deadline
from playground.kubelet.devices import Devices
from playground.kubelet.environment import service_environment
from playground.kubelet.events import EventRecorder
from playground.kubelet.fields import PodFacts
from playground.kubelet.images import ImageTable
from playground.kubelet.model import ContainerRecord, Json, Running, parse_timestamp, utc_now
from playground.kubelet.network import HOST_ADDRESS, Network, Sandbox
from playground.kubelet.preparation import PodContext, etc_files
from playground.kubelet.projection import VolumeError
from playground.kubelet.publisher import Publisher
from playground.kubelet.sources import Sources
from playground.kubelet.status import PodView, init_done, sidecar_names
from playground.kubelet.volumes import REFRESH_S, PodVolumes
from playground.rest import AWAY, ApiError, Rest
from playground.services.dns import DNS_ADDRESS, search_list

log = logging.getLogger(__name__)
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 10.0
MINIMUM_GRACE_S = 1
DELETE_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the pods of one node share."""

    node: str
    client: Rest
    network: Network
    images: ImageTable
    sources: Sources
    events: EventRecorder
    services: Mapping[str, Json]
    devices: Devices
    allocatable: dict[str, str]
    folder: Path
    claims: Path
    logs: Path


class PodWorker:
    """One pod on this node."""

    def __init__(self, around: Surroundings, pod: Json) -> None:
        """Take the pod over; `run` lives it."""
        self._around = around
        self.pod = pod
        metadata = pod["metadata"]
        self.key = (metadata["namespace"], metadata["name"])
        self.uid: str = metadata["uid"]
        now = utc_now()
        self._init = resume.records(pod, "initContainers", now)
        self._main = resume.records(pod, "containers", now)
        self._finished = resume.finished(pod, self._main)
        self._sandbox: Sandbox | None = None
        self._pod_ip: str = pod.get("status", {}).get("podIP", "") if self._finished else ""
        start = pod.get("status", {}).get("startTime")
        self._started_at = parse_timestamp(start) if start else now
        self._folder = around.folder / self.uid
        self._volumes: PodVolumes | None = None
        self._leaving = asyncio.Event()
        self._deadline: Deadline | None = None
        self.runners: dict[str, ContainerRunner] = {}
        self._publisher = Publisher(around.client, pod, self._view)
        self._spec = pod["spec"]

    def _view(self) -> PodView:
        return PodView(
            pod=self.pod,
            init=self._init,
            main=self._main,
            host_ip=HOST_ADDRESS,
            pod_ip=self._pod_ip,
            started_at=self._started_at,
            sandbox_ready=self._sandbox is not None,
            finished=self._finished,
        )

    def update(self, pod: Json) -> None:
        """Take note of a newer version of the object."""
        self.pod = pod
        self._publisher.learn(pod)
        metadata = pod["metadata"]
        if "deletionTimestamp" in metadata:
            grace = max(MINIMUM_GRACE_S, metadata.get("deletionGracePeriodSeconds", 30))
            if self._deadline is None:
                self._deadline = Deadline(grace)
                self._leaving.set()
            else:
                self._deadline.bring_forward(grace)
                for runner in self.runners.values():
                    runner.hurry(grace)

    def vanish(self) -> None:
        """Take note that the object is gone: end what runs, say nothing more."""
        self._publisher.object_gone()
        if self._deadline is None:
            self._deadline = Deadline(MINIMUM_GRACE_S)
        self._leaving.set()

    async def run(self) -> None:
        """Live until the pod is gone from node and API."""
        publishing = asyncio.create_task(self._publisher.run())
        life = asyncio.create_task(self._live())
        leaving = asyncio.create_task(self._leaving.wait())
        try:
            await asyncio.wait({life, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if life.done() and (error := life.exception()) is not None:
                # A mistake of this kubelet's own: the pod stays as it is, and the log says why.
                log.error("pod %s/%s: %r", *self.key, error, exc_info=error)
            await leaving
            await self._leave(life)
        finally:
            publishing.cancel()
            leaving.cancel()

    # Coming up

    async def _live(self) -> None:
        self._publisher.changed()
        if self._finished:
            return
        refreshing: asyncio.Task[None] | None = None
        self._around.devices.claim(self.uid, self._spec)
        try:
            context = await self._set_up()
            if context.volumes.refreshable:
                refreshing = asyncio.create_task(self._refresh(context.volumes))
            await self._run_containers(context)
        finally:
            if refreshing is not None:
                refreshing.cancel()
        if not self._leaving.is_set():
            self._finished = True
            await self._take_down()
            self._publisher.changed()

    async def _set_up(self) -> PodContext:
        around, spec = self._around, self._spec
        facts = PodFacts(self.pod, "", HOST_ADDRESS, around.allocatable)
        self._folder.mkdir(parents=True, exist_ok=True)
        volumes = PodVolumes(self._folder / "volumes", around.claims, facts, around.sources)
        self._volumes = volumes
        await self._insist("FailedMount", volumes.set_up)
        await self._insist("FailedCreatePodSandBox", self._create_sandbox)
        assert self._sandbox is not None  # noqa: S101 - just created
        volumes.facts = PodFacts(self.pod, self._pod_ip, HOST_ADDRESS, around.allocatable)
        self._publisher.changed()
        namespace = self.key[0]
        resolver = f"nameserver {DNS_ADDRESS}\nsearch {search_list(namespace)}\noptions ndots:5\n"
        links = spec.get("enableServiceLinks", True)
        context = PodContext(
            pod=self.pod,
            folder=self._folder,
            logs=around.logs / f"{namespace}_{self.key[1]}_{self.uid}",
            sandbox=self._sandbox,
            volumes=volumes,
            sources=around.sources,
            images=around.images,
            events=around.events,
            services=service_environment(around.services.values(), namespace, links),
            devices=around.devices.variables(self.uid),
            etc=etc_files(self._folder, self.pod, self._pod_ip, resolver),
            changed=self._publisher.changed,
        )
        containers = [*spec.get("initContainers", []), *spec["containers"]]
        for container, record in zip(containers, [*self._init, *self._main], strict=True):
            self.runners[record.name] = ContainerRunner(context, container, record)
        return context

    async def _create_sandbox(self) -> None:
        self._sandbox = await self._around.network.create(self._spec.get("hostname") or self.key[1])
        self._pod_ip = self._sandbox.address

    async def _insist(self, reason: str, work: Callable[[], object]) -> None:
        retry = FIRST_RETRY_S
        while True:
            try:
                result = work()
                if asyncio.iscoroutine(result):
                    await result
                return
            except (VolumeError, ApiError, *AWAY) as error:
                log.info("pod %s/%s: %s: %s", *self.key, reason, error)
                self._around.events.warning(self.pod, reason, str(error))
            await asyncio.sleep(retry)
            retry = min(2 * retry, LAST_RETRY_S)

    async def _run_containers(self, context: PodContext) -> None:
        sidecars = sidecar_names(context.pod)
        background: dict[str, asyncio.Task[None]] = {}
        for record in self._init:
            runner = self.runners[record.name]
            if record.name in sidecars:
                background[record.name] = asyncio.create_task(runner.run())
                await runner.started.wait()
                continue
            if not resume.over(record):
                await runner.run()
            if not init_done(record, False) or self._leaving.is_set():
                break
        else:
            await self._together([record for record in self._main if not resume.over(record)])
        for name in reversed(background):
            await self.runners[name].stop(Deadline(self._spec.get("terminationGracePeriodSeconds", 30)))
            await background[name]

    async def _together(self, records: list[ContainerRecord]) -> None:
        async with asyncio.TaskGroup() as group:
            for record in records:
                group.create_task(self.runners[record.name].run())

    async def _refresh(self, volumes: PodVolumes) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                await volumes.refresh()
            except (VolumeError, ApiError, *AWAY) as error:
                log.info("pod %s/%s: refreshing volumes: %s", *self.key, error)

    # Going away

    async def _leave(self, life: asyncio.Task[None]) -> None:
        deadline = self._deadline
        assert deadline is not None  # noqa: S101 - set together with _leaving
        sidecars = sidecar_names(self.pod)
        first = [runner for name, runner in self.runners.items() if name not in sidecars]
        running = [r for r in first if r.record.container_id and not runner_done(r.record)]
        for runner in running:
            self._around.events.normal(self.pod, "Killing", f"Stopping container {runner.name}")
        await asyncio.gather(*(runner.stop(deadline) for runner in first))
        for runner in reversed([r for name, r in self.runners.items() if name in sidecars]):
            await runner.stop(deadline)
        life.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await life
        self._finished = True
        await self._take_down()
        await self._publisher.flush()
        await self._delete()
        self._around.events.forget(self.uid)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _take_down(self) -> None:
        self._around.devices.release(self.uid)
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None:
            try:
                await self._around.network.remove(sandbox)
            except OSError as error:
                log.warning("pod %s/%s: removing its network: %s", *self.key, error)
        if self._volumes is not None:
            self._volumes.remove()

    async def _delete(self) -> None:
        namespace, name = self.key
        body: Json = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
        while not self._publisher.gone:
            try:
                await self._around.client.delete(f"/api/v1/namespaces/{namespace}/pods/{name}", body)
                return
            except ApiError as error:
                if error.code in (404, 409):
                    return
                log.warning("pod %s/%s: deleting: %s", *self.key, error)
            except AWAY as error:
                log.info("pod %s/%s: deleting: %s", *self.key, error)
            await asyncio.sleep(DELETE_RETRY_S)


def runner_done(record: ContainerRecord) -> bool:
    """Tell whether nothing of a container runs."""
    return not isinstance(record.state, Running)
