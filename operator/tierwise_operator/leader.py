"""Decides whether this process may write: holds and renews the Lease.

Several copies of the operator may run. The one that holds the Lease writes; the others watch and are ready. The client
library's own election is not used: it fails when the Lease does not exist yet, lets the leader run on when the API
server is away, and writes local times labelled as UTC (kubernetes.aio 37.0.2).

Two clocks must not be mixed. Whether *another* holder has died is judged by how long *we* have seen its Lease
unchanged, never by the times written in it, so skewed clocks do no harm. Whether *we* still hold it is judged by the
age of our last renewal on a monotonic clock, counted from before the request was sent. The fence checks that age right
before every single write: a process that was stopped for a minute and goes on writes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from tierwise.errors import Conflict, Gone, TierwiseError, Transient
from tierwise.ports import Clock, ObjectRef

logger = logging.getLogger(__name__)


class LeaseStore(Protocol):
    """Where the Lease is kept: three verbs with optimistic locking (Conflict when somebody else wrote first)."""

    async def get(self, ref: ObjectRef) -> Mapping[str, Any] | None:
        """The Lease, or None."""
        ...

    async def create(self, ref: ObjectRef, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create it."""
        ...

    async def replace(self, ref: ObjectRef, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Replace the version that the manifest names."""
        ...


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: `duration` until others may take over, `deadline` until this process stops writing, `retry` between
    two attempts. deadline < duration: the old leader has stopped before a new one starts."""

    duration: float
    deadline: float
    retry: float


class Leader:
    """One candidate for one Lease."""

    def __init__(
        self,
        store: LeaseStore,
        ref: ObjectRef,
        identity: str,
        timing: Timing,
        clock: Clock,
        *,
        changed: Callable[[bool], None] = lambda leading: None,
    ) -> None:
        """`changed` is called when this process begins or ceases to lead."""
        self._store = store
        self._ref = ref
        self._identity = identity
        self._timing = timing
        self._clock = clock
        self._changed = changed
        self._renewed_at: float | None = None
        self._held: Mapping[str, Any] | None = None  # the Lease as we wrote it last
        self._seen_version = ""
        self._seen_at = 0.0
        self._trouble = ""
        self._told = False

    @property
    def leading(self) -> bool:
        """Whether this process may write now."""
        if self._renewed_at is None:
            return False
        return self._clock.monotonic() - self._renewed_at < self._timing.deadline

    def fence(self) -> None:
        """Raise Transient unless this process may write now."""
        if not self.leading:
            raise Transient(f"not written: this process does not hold the Lease {self._ref.name}")

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Acquire, renew, and try again for ever."""
        while True:
            try:
                async with asyncio.timeout(self._timing.deadline / 2):
                    await self.attempt()
                self._trouble = ""
            except (Conflict, Gone):  # somebody else wrote the Lease: it is not ours until we read it again
                self._renewed_at = self._held = None
            except TierwiseError as error:
                self._complain(error.message)
            except TimeoutError:
                self._complain("no answer in time")
            self._tell()
            await sleep(self._timing.retry)

    async def attempt(self) -> None:
        """Renew the Lease that is held; else read it once and, where that is allowed, take it."""
        sent_at = self._clock.monotonic()
        lease = self._held if self._held is not None else await self._store.get(self._ref)
        if lease is None:
            made = await self._store.create(self._ref, self._manifest({}, ""))
            self._won(made, sent_at)
            return
        spec = lease.get("spec") or {}
        holder = str(spec.get("holderIdentity") or "")
        version = str(lease["metadata"]["resourceVersion"])
        if version != self._seen_version:
            self._seen_version, self._seen_at = version, self._clock.monotonic()
        if holder not in ("", self._identity):
            self._renewed_at = self._held = None
            patience = float(spec.get("leaseDurationSeconds") or self._timing.duration)
            if self._clock.monotonic() - self._seen_at < patience:
                return
        made = await self._store.replace(self._ref, self._manifest(spec, version))
        self._won(made, sent_at)

    async def release(self) -> None:
        """Let another process take over at once. Does nothing when the Lease is not held."""
        lease = self._held
        if lease is None:
            return
        spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            async with asyncio.timeout(self._timing.deadline / 2):
                await self._store.replace(self._ref, {**lease, "spec": spec})
        except (TierwiseError, TimeoutError) as error:
            logger.warning("the Lease could not be given back, another process waits until it runs out: %s", error)
        finally:
            self._renewed_at = self._held = None
            self._tell()

    def _won(self, made: Mapping[str, Any], sent_at: float) -> None:
        self._renewed_at, self._held = sent_at, made
        self._seen_version, self._seen_at = str(made["metadata"]["resourceVersion"]), self._clock.monotonic()

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:  # once, not every two seconds of an outage
            self._trouble = trouble
            logger.warning("the Lease could not be renewed: %s", trouble)

    def _tell(self) -> None:
        if self.leading != self._told:
            self._told = self.leading
            logger.info("this process %s the Lease %s", "holds" if self._told else "does not hold", self._ref.name)
            self._changed(self._told)

    def _manifest(self, before: Mapping[str, Any], version: str) -> dict[str, Any]:
        now = datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        held = before.get("holderIdentity") == self._identity
        transitions = int(before.get("leaseTransitions") or 0)
        metadata = {"name": self._ref.name, "namespace": self._ref.namespace}
        return {
            "apiVersion": self._ref.api_version,
            "kind": "Lease",
            "metadata": {**metadata, "resourceVersion": version} if version else metadata,
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": max(1, round(self._timing.duration)),
                "acquireTime": before.get("acquireTime", now) if held else now,
                "renewTime": now,
                "leaseTransitions": transitions if held or not version else transitions + 1,
            },
        }
