"""Records the kubelet's Events, for `kubectl describe pod`.

Events under the kubelet's own reasons. The same event again raises the count of the first one instead of
adding another, as client-go's correlator does. Reporting never holds up or fails the work it reports.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass

from playground.kubelet.model import Json, timestamp, utc_now
from playground.rest import AWAY, ApiError, Rest

log = logging.getLogger(__name__)
MAX_MESSAGE = 1024


@dataclass(slots=True)
class _Known:
    name: str
    count: int


class EventRecorder:
    """Events of one node's pods, posted one after the other in the background."""

    def __init__(self, client: Rest, node: str) -> None:
        """Prepare; `run` posts."""
        self._client, self._node = client, node
        self._queue: asyncio.Queue[tuple[Json, str, str, str]] = asyncio.Queue(maxsize=1000)
        self._known: dict[tuple[str, str, str], _Known] = {}

    def normal(self, pod: Json, reason: str, message: str) -> None:
        """Report something expected about a pod."""
        self._put(pod, "Normal", reason, message)

    def warning(self, pod: Json, reason: str, message: str) -> None:
        """Report something wrong with a pod."""
        self._put(pod, "Warning", reason, message)

    def _put(self, pod: Json, kind: str, reason: str, message: str) -> None:
        try:
            self._queue.put_nowait((pod, kind, reason, message[:MAX_MESSAGE]))
        except asyncio.QueueFull:
            log.warning("too many events, one is lost: %s %s", reason, message)

    async def run(self) -> None:
        """Post what is reported, for ever."""
        while True:
            pod, kind, reason, message = await self._queue.get()
            try:
                await self._post(pod, kind, reason, message)
            except (ApiError, *AWAY) as error:
                log.debug("event %s of pod %s not recorded: %s", reason, pod["metadata"]["name"], error)

    async def _post(self, pod: Json, kind: str, reason: str, message: str) -> None:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/events"
        key = (metadata["uid"], reason, message)
        now = timestamp(utc_now())
        known = self._known.get(key)
        if known is not None:
            known.count += 1
            try:
                await self._client.patch(f"{path}/{known.name}", {"count": known.count, "lastTimestamp": now})
                return
            except ApiError as error:
                if error.code != 404:
                    raise
        name = f"{metadata['name'][:200]}.{uuid.uuid4().hex[:16]}"
        await self._client.post(
            path,
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": name, "namespace": metadata["namespace"]},
                "involvedObject": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": metadata["name"],
                    "namespace": metadata["namespace"],
                    "uid": metadata["uid"],
                },
                "type": kind,
                "reason": reason,
                "message": message,
                "count": 1,
                "firstTimestamp": now,
                "lastTimestamp": now,
                "source": {"component": "kubelet", "host": self._node},
                "reportingComponent": "kubelet",
                "reportingInstance": self._node,
            },
        )
        self._known[key] = _Known(name, 1)

    def forget(self, uid: str) -> None:
        """Drop what is remembered of a pod that is gone."""
        self._known = {key: entry for key, entry in self._known.items() if key[0] != uid}
