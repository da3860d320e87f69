"""Starts the control plane in the right order.

Everything that does not wait for something else starts at once. What waits: the API server for etcd, all for
the API server, KServe's manager for its CRDs (it exits without them). Ready means ready to use: the nodes
are Ready and KServe's webhooks have refused an object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import aiohttp

from playground import kserve, objects
from playground.api import Api, Object
from playground.components import (
    APISERVER,
    CONTROLLER_MANAGER,
    ETCD,
    KSERVE,
    KUBELET,
    PROMETHEUS,
    SCHEDULER,
    SERVICES,
)
from playground.errors import PlaygroundError
from playground.layout import Layout
from playground.supervisor import Supervisor, tail

PAUSE = 0.2
# What the validator says of maxReplicas < minReplicas; only KServe can have said it.
_REFUSED = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": "playground-probe", "namespace": "default"},
    "spec": {
        "predictor": {
            "minReplicas": 2,
            "maxReplicas": 1,
            "containers": [{"name": "kserve-container", "image": "none"}],
        }
    },
}
_REFUSAL = "MinReplicas"


class Boot:
    """Brings one playground up; `seconds` is the patience for each step."""

    def __init__(self, layout: Layout, manifests: Path, supervisor: Supervisor, api: Api, *, seconds: float) -> None:
        """Know all parts; nothing happens yet."""
        self._layout = layout
        self._manifests = manifests
        self._supervisor = supervisor
        self._api = api
        self._seconds = seconds

    async def run(self, nodes: Sequence[str], say: Callable[[str], None]) -> None:
        """Start everything and return when it is ready. Raises PlaygroundError, with the last log lines."""
        await self._up(ETCD)
        await self._up(APISERVER)
        say("the API server is ready")
        for name in (CONTROLLER_MANAGER, SCHEDULER, SERVICES, KUBELET):
            await self._supervisor.start(name)
        await self._apply(objects.namespaces())
        steps = (self._kserve(say), self._monitoring(say), self._nodes(nodes, say), self._rest())
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step)

    async def _up(self, name: str) -> None:
        await self._supervisor.start(name)
        await self._supervisor.ready(name, self._seconds)

    async def _apply(self, items: Sequence[Object]) -> None:
        await asyncio.gather(*(self._api.apply(item, patience=self._seconds) for item in items))

    async def _rest(self) -> None:
        await self._apply(objects.storage())
        for name in (CONTROLLER_MANAGER, SCHEDULER, SERVICES):
            await self._supervisor.ready(name, self._seconds)

    async def _kserve(self, say: Callable[[str], None]) -> None:
        crds = kserve.crds(self._manifests)
        await self._apply(crds)
        for crd in crds:
            await self._until(f"the CRD {crd['metadata']['name']} to be served", partial(self._served, crd))
        others = kserve.objects(self._manifests, self._layout.ca.read_bytes())
        # Webhooks last: while they are registered and nobody answers, what they guard is refused.
        late = [item for item in others if item["kind"].endswith("WebhookConfiguration")]
        await self._apply([item for item in others if item not in late])
        await self._up(KSERVE)
        await self._apply(late)
        await self._until("KServe's webhooks to answer", self._webhooks_answer, log=KSERVE)
        say("KServe is ready, its webhooks answer")

    async def _monitoring(self, say: Callable[[str], None]) -> None:
        await self._apply(objects.monitoring())
        await self._up(PROMETHEUS)
        say("Prometheus is ready")

    async def _nodes(self, names: Sequence[str], say: Callable[[str], None]) -> None:
        for name in names:
            await self._until(f"node {name} to be Ready", partial(self._node_ready, name), log=KUBELET)
        say(f"{len(names)} nodes are Ready")

    async def _until(self, what: str, check: Callable[[], Awaitable[bool]], *, log: str = "") -> None:
        deadline = asyncio.get_running_loop().time() + self._seconds
        while not await check():
            if asyncio.get_running_loop().time() > deadline:
                raise PlaygroundError(
                    f"waited {self._seconds:.0f} s in vain for {what}",
                    tail(self._layout.log(log)) if log else "",
                )
            await asyncio.sleep(PAUSE)

    async def _served(self, crd: Object) -> bool:
        """Look into discovery, not at the CRD's condition: the largest CRD has a megabyte."""
        spec = crd["spec"]
        found = await self._api.get(f"/apis/{spec['group']}/{spec['versions'][0]['name']}")
        return any(kind["name"] == spec["names"]["plural"] for kind in (found or {}).get("resources", []))

    async def _node_ready(self, name: str) -> bool:
        node = await self._api.get(f"/api/v1/nodes/{name}")
        # A new node is tainted until the controller has seen it Ready: only then do pods land on it.
        return _condition(node, "Ready") and not (node or {}).get("spec", {}).get("taints")

    async def _webhooks_answer(self) -> bool:
        try:
            await self._api.apply(_REFUSED, dry_run=True, patience=0)
        except PlaygroundError as refusal:
            return _REFUSAL in refusal.details
        except aiohttp.ClientError:
            return False
        return False


def _condition(item: Object | None, kind: str) -> bool:
    # An object just made may hold a null here.
    conditions = (item or {}).get("status", {}).get("conditions") or []
    return any(one["type"] == kind and one["status"] == "True" for one in conditions)
