"""Refuses to write for a tier or route that has changed since the decision.

The informer may be behind: an API server lags, a watch loses an event, a deletion is not reported. The versions and
UIDs of the children protect the children, but nothing protects the spec: a pin that was removed would still be written.
So the object itself is read, with quorum, before the first write for it. If its UID or generation differs, or it is
being deleted, the write ends with Conflict, and the next cycle decides again. This costs one read per object that has
something to write; a settled one costs none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from tierwise.api.kinds import MODEL_TIER, Kind
from tierwise.errors import Conflict
from tierwise.ports import Cluster, EventRecord, ObjectRef
from tierwise.types import RouteObject, TierObject


class GuardedClient:
    """The Cluster port for the writes of one tier or route in one cycle. Every write raises Conflict when that is not
    as it was decided about."""

    def __init__(self, owner: TierObject | RouteObject, cluster: Cluster, kind: Kind = MODEL_TIER) -> None:
        """`owner`: as it was decided about; `kind`: what it is."""
        self._owner = owner
        self._kind = kind
        self._cluster = cluster
        self._checked = False
        self._one_reads = asyncio.Lock()

    async def check(self) -> None:
        """Read the owner, once. Raises Conflict when it is not as it was decided about."""
        async with self._one_reads:
            if not self._checked:
                await self._compare()

    async def _compare(self) -> None:
        key = self._owner.key
        found = await self._cluster.get(ObjectRef.of(self._kind, key.namespace, key.name))
        metadata = found["metadata"] if found is not None else {}
        seen = metadata.get("uid"), metadata.get("generation"), metadata.get("deletionTimestamp")
        if seen != (self._owner.uid, self._owner.generation, None):
            raise Conflict(
                f"not written: {self._kind.name} {key} has changed since it was read; it is decided anew", status=409
            )
        self._checked = True

    async def get(self, ref: ObjectRef) -> Mapping[str, Any] | None:
        """Read an object."""
        return await self._cluster.get(ref)

    async def apply(self, ref: ObjectRef, manifest: Mapping[str, Any], *, force: bool = True) -> Mapping[str, Any]:
        """Apply, if the owner is current."""
        await self.check()
        return await self._cluster.apply(ref, manifest, force=force)

    async def prune(self, ref: ObjectRef, paths: Sequence[str], *, resource_version: str) -> Mapping[str, Any]:
        """Remove fields, if the owner is current."""
        await self.check()
        return await self._cluster.prune(ref, paths, resource_version=resource_version)

    async def scale(self, ref: ObjectRef, replicas: int, *, resource_version: str) -> None:
        """Scale, if the owner is current."""
        await self.check()
        await self._cluster.scale(ref, replicas, resource_version=resource_version)

    async def annotate_pod(self, namespace: str, name: str, *, uid: str, annotations: Mapping[str, str]) -> None:
        """Annotate a pod, if the owner is current."""
        await self.check()
        await self._cluster.annotate_pod(namespace, name, uid=uid, annotations=annotations)

    async def patch_status(self, ref: ObjectRef, status: Mapping[str, Any], *, resource_version: str) -> str:
        """Replace the status: its version guards it."""
        return await self._cluster.patch_status(ref, status, resource_version=resource_version)

    async def record_event(self, event: EventRecord) -> None:
        """Record an Event."""
        await self._cluster.record_event(event)
