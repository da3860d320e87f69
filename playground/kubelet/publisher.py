"""Writes a pod's status to the API, and keeps it there.

Level-triggered: whenever something changed here or there, what the API shows is compared with what should be
shown, and patched if it differs. So a status that somebody else changed (the node lifecycle controller marks
pods not ready while the kubelet is out of reach) is put right by the very event that reports it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from playground.kubelet.model import Json, utc_now
from playground.kubelet.status import PodView, build_status, same_status
from playground.rest import AWAY, STRATEGIC_PATCH, ApiError, Rest

log = logging.getLogger(__name__)
FIRST_RETRY_S, LAST_RETRY_S = 0.2, 3.0
FLUSH_S = 2.0


class Publisher:
    """The status of one pod."""

    def __init__(self, client: Rest, pod: Json, view: Callable[[], PodView]) -> None:
        """Know the pod as the API has it; `view` gives what should be shown."""
        self._client, self._known, self._view = client, pod, view
        self._dirty = asyncio.Event()
        self._lock = asyncio.Lock()
        self.gone = False

    def learn(self, pod: Json) -> None:
        """Take note of what the API shows now."""
        self._keep(pod)
        self._dirty.set()

    def changed(self) -> None:
        """Take note that the view changed."""
        self._dirty.set()

    def object_gone(self) -> None:
        """Stop publishing: there is no object any more."""
        self.gone = True

    async def run(self) -> None:
        """Publish whenever something changed, for ever."""
        retry = FIRST_RETRY_S
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if await self._publish():
                retry = FIRST_RETRY_S
                continue
            await asyncio.sleep(retry)
            retry = min(2 * retry, LAST_RETRY_S)
            self._dirty.set()

    async def flush(self) -> None:
        """Publish now, if the API answers within FLUSH_S."""
        loop = asyncio.get_running_loop()
        until = loop.time() + FLUSH_S
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                for _ in range(int(FLUSH_S / FIRST_RETRY_S)):
                    if await self._publish():
                        return
                    await asyncio.sleep(FIRST_RETRY_S)

    async def _publish(self) -> bool:
        async with self._lock:
            if self.gone:
                return True
            before = self._known.get("status", {})
            status = build_status(self._view(), utc_now(), before)
            if same_status(status, before):
                return True
            metadata = self._known["metadata"]
            path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
            body = {"metadata": {"uid": metadata["uid"]}, "status": _patch(status, before)}
            try:
                self._keep(await self._client.patch(path, body, STRATEGIC_PATCH))
            except ApiError as error:
                # 404: deleted; 409: another pod has the name now.
                if error.code in (404, 409):
                    self.gone = True
                    return True
                log.warning("status of pod %s/%s: %s", metadata["namespace"], metadata["name"], error)
                return False
            except AWAY as error:
                log.debug("status of pod %s/%s: %s", metadata["namespace"], metadata["name"], error)
                return False
            return True

    def _keep(self, pod: Json) -> None:
        if _version(pod) >= _version(self._known):
            self._known = pod


def _version(pod: Json) -> int:
    return int(pod["metadata"]["resourceVersion"])


def _patch(status: Json, before: Json) -> Json:
    """Return the status as a strategic patch: a new pod address replaces the old one instead of joining it."""
    addresses = status.get("podIPs")
    if addresses and before.get("podIPs") not in (None, addresses):
        return {**status, "podIPs": [*addresses, {"$patch": "replace"}]}
    return status
