"""Registers a node, keeps it alive, and watches the pods bound to it.

The Node object with its labels and capacity, a Lease renewed every ten seconds, and a watch on the node
itself: when it is not Ready there (the API server or this process was away for a while), its status is
written again at once. A watch on the pods bound to it makes one worker per pod.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from playground.kubelet.model import Json, timestamp, utc_now
from playground.kubelet.network import HOST_ADDRESS
from playground.kubelet.pod import PodWorker, Surroundings
from playground.nodes import NodeSpec
from playground.rest import AWAY, STRATEGIC_PATCH, ApiError, Mirror, Rest
from playground.versions import KUBERNETES, pinned

log = logging.getLogger(__name__)
LEASE_S, RENEW_S = 40, 10.0
RETRY_S = 1.0
KUBELET_PORT = 10250
# A kubelet may not be newer than the API server.
VERSION = pinned(KUBERNETES)


def node_status(spec: NodeSpec, now: datetime, before: Json) -> Json:
    """Return the node's status; transition times are kept from `before` while a condition holds."""
    old = {c["type"]: c for c in before.get("conditions") or []}
    conditions = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "the playground's kubelet runs pods as local processes"),
    ]
    return {
        "capacity": spec.capacity(),
        "allocatable": spec.capacity(),
        "conditions": [
            {
                "type": kind,
                "status": value,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": timestamp(now),
                "lastTransitionTime": old[kind]["lastTransitionTime"]
                if old.get(kind, {}).get("status") == value
                else timestamp(now),
            }
            for kind, value, reason, message in conditions
        ],
        "addresses": [
            {"type": "InternalIP", "address": HOST_ADDRESS},
            {"type": "Hostname", "address": spec.name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
        "nodeInfo": {
            "architecture": "amd64",
            "operatingSystem": "linux",
            "osImage": "tierwise playground",
            "kernelVersion": "",
            "kubeletVersion": VERSION,
            "kubeProxyVersion": "",
            "containerRuntimeVersion": "playground://1",
            "machineID": spec.name,
            "systemUUID": spec.name,
            "bootID": "",
        },
    }


@dataclass(frozen=True, slots=True)
class NodeAgent:
    """One node of the playground."""

    spec: NodeSpec
    client: Rest
    around: Surroundings
    workers: dict[str, PodWorker]
    tasks: dict[str, asyncio.Task[None]]
    gone: asyncio.Event

    async def run(self) -> None:
        """Register, then live, for ever."""
        await self._insist(self._register)
        selector = {"fieldSelector": f"metadata.name={self.spec.name}"}
        node = Mirror(self.client, "/api/v1/nodes", selector, self._node_changed)
        bound = {"fieldSelector": f"spec.nodeName={self.spec.name}"}
        pods = Mirror(self.client, "/api/v1/pods", bound, self._pod_changed)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._heartbeat())
            group.create_task(self.around.events.run())
            group.create_task(pods.run())
            group.create_task(node.run())
            group.create_task(self._heal())

    async def die(self) -> None:
        """End all processes of the node's pods, and tell nobody. `run` must have been cancelled before."""
        for worker in self.workers.values():
            worker.vanish()
        if self.tasks:
            await asyncio.wait(set(self.tasks.values()))

    async def _insist(self, work: object) -> None:
        while True:
            try:
                await work()  # type: ignore[operator]
                return
            except (ApiError, *AWAY) as error:
                log.debug("node %s: %s", self.spec.name, error or type(error).__name__)
            await asyncio.sleep(RETRY_S)

    async def _register(self) -> None:
        body: Json = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.spec.name, "labels": self.spec.labels()},
        }
        try:
            await self.client.post("/api/v1/nodes", body)
        except ApiError as error:
            if error.code != 409:
                raise
            await self.client.patch(f"/api/v1/nodes/{self.spec.name}", {"metadata": body["metadata"]})
        await self._write_status()
        log.info("node %s is registered", self.spec.name)

    async def _write_status(self) -> None:
        path = f"/api/v1/nodes/{self.spec.name}"
        present = await self.client.get(path)
        status = node_status(self.spec, utc_now(), present.get("status", {}))
        await self.client.patch(f"{path}/status", {"status": status}, STRATEGIC_PATCH)

    async def _heartbeat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self._insist(self._renew)
            await asyncio.sleep(max(0.0, RENEW_S - (loop.time() - began)))

    async def _renew(self) -> None:
        collection = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": self.spec.name, "leaseDurationSeconds": LEASE_S, "renewTime": now}
        try:
            await self.client.patch(f"{collection}/{self.spec.name}", {"spec": spec})
        except ApiError as error:
            if error.code != 404:
                raise
            await self.client.post(
                collection,
                {
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": {"name": self.spec.name, "namespace": "kube-node-lease"},
                    "spec": spec,
                },
            )

    def _node_changed(self, kind: str, node: Json) -> None:
        conditions = {c["type"]: c["status"] for c in node.get("status", {}).get("conditions") or []}
        if kind == "DELETED" or conditions.get("Ready") != "True":
            self.gone.set()

    async def _heal(self) -> None:
        while True:
            await self.gone.wait()
            self.gone.clear()
            await self._insist(self._register)
            # At most once a second, should somebody keep saying the opposite.
            await asyncio.sleep(RETRY_S)

    def _pod_changed(self, kind: str, pod: Json) -> None:
        uid = pod["metadata"]["uid"]
        worker = self.workers.get(uid)
        if kind == "DELETED":
            if worker is not None:
                worker.vanish()
            return
        if worker is None:
            worker = self.workers[uid] = PodWorker(self.around, pod)
            task = self.tasks[uid] = asyncio.create_task(worker.run(), name=pod["metadata"]["name"])
            task.add_done_callback(lambda done: self._worker_ended(uid, done))
        worker.update(pod)

    def _worker_ended(self, uid: str, task: asyncio.Task[None]) -> None:
        self.workers.pop(uid, None)
        self.tasks.pop(uid, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("the worker of a pod failed: %r", error, exc_info=error)

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """Return the worker of a pod on this node by name."""
        return next((w for w in self.workers.values() if w.key == (namespace, name)), None)
