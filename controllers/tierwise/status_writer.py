"""Writes the statuses of one kind, and knows what it wrote.

The informer may still show an object as it was before our own last write. So an object is looked at with our own last
status laid over it, and a status is replaced on the version that results.
"""

from __future__ import annotations

import logging
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tierwise.api.base import Model
from tierwise.api.kinds import Kind
from tierwise.errors import Conflict, Gone, TierwiseError
from tierwise.ports import Clock, Cluster, ObjectRef
from tierwise.types import TierKey

logger = logging.getLogger(__name__)

Status = TypeVar("Status", bound=Model)


@dataclass(frozen=True, slots=True)
class StatusWrite(Generic[Status]):
    """A status that this process wrote: on which versions of the object, one after the other and from the one that the
    informer showed last, which version that made, and when (monotonic)."""

    onto: tuple[str, ...]
    version: str
    status: Status
    at: float


@dataclass(slots=True)
class StatusWriter(Generic[Status]):
    """What this process wrote to the objects of one kind. They are known by UID: a namesake starts afresh."""

    kind: Kind
    writes: dict[str, StatusWrite[Status]] = field(default_factory=dict)

    def forget(self, alive: Container[str]) -> None:
        """Drop what belongs to objects that are gone."""
        self.writes = {uid: write for uid, write in self.writes.items() if uid in alive}

    def own(self, uid: str, version: str) -> StatusWrite[Status] | None:
        """Our own last write, if the informer shows the object as it was before that (`version`); None if not."""
        write = self.writes.get(uid)
        if write is None:
            return None
        if version == write.version and write.onto:
            self.writes[uid] = StatusWrite((), write.version, write.status, write.at)
        if version not in write.onto:
            return None
        passed = write.onto.index(version)
        self.writes[uid] = StatusWrite(write.onto[passed:], write.version, write.status, write.at)
        return write

    def age(self, uid: str, clock: Clock) -> float | None:
        """Seconds since this process last wrote the status of this object; None when it never did."""
        before = self.writes.get(uid)
        return None if before is None else clock.monotonic() - before.at

    async def write(self, key: TierKey, uid: str, on: str, status: Status, cluster: Cluster, clock: Clock) -> bool:
        """Replace the status on the version `on`; whether that was done. What is not written stands until the next
        cycle."""
        ref = ObjectRef.of(self.kind, key.namespace, key.name)
        body = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        whose = {self.kind.singular.removeprefix("model"): str(key)}
        try:
            version = await cluster.patch_status(ref, body, resource_version=on)
        except (Conflict, Gone) as error:  # it changed or went while we thought about it: the next cycle sees that
            logger.debug("%s", error.message, extra=whose)
            return False
        except TierwiseError as error:
            logger.warning("a status was not written: %s", error.message, extra=whose)
            return False
        before = self.writes.get(uid)
        chain = before.onto if before is not None and before.version == on else ()
        self.writes[uid] = StatusWrite((*chain, on), version, status, clock.monotonic())
        return True
