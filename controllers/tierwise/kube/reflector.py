"""Lists and watches kinds that may be absent.

kopf ends when the kind of a watch disappears (404), but a cluster without KServe, or without KEDA, is normal and must
be reported. So these kinds have a list/watch of our own. An absent kind is a fact (`present` is False) that is checked
again every half minute; an expired resource version (410) means listing again; every other failure is tried again,
later each time, for ever. What was seen last stays visible meanwhile. A lost event leaves no trace, so everything is
listed again every few minutes, except kinds that are merely useful and may be large.

Nodes are watched in this way too, because an operator that serves some namespaces only may not be allowed to see them.
Such a kind is `optional`: a refusal is reported once and counts as absence, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from tierwise.errors import Forbidden, Gone, TierwiseError
from tierwise.ports import ObjectRef
from tierwise.runtime.backoff import delays

logger = logging.getLogger(__name__)

ABSENT_SECONDS = 30.0
REFUSED_SECONDS = 300.0
# Between two streams that the server ended by itself, so that a server that ends them at once is not asked in a loop.
PAUSE_SECONDS = 0.5
# How long a watch is believed.
RELIST_SECONDS = 300.0
# Only a stream that lasted begins the pauses anew: where none ever lasts, every try is a list of everything.
LASTING_SECONDS = 10.0

Record = TypeVar("Record")


class Source(Protocol):
    """Where objects are listed and watched; Gone with status 404 when the kind does not exist, 410 when too late."""

    def pages(self, ref: ObjectRef, *, selector: str = "") -> AsyncIterator[tuple[tuple[Mapping[str, Any], ...], str]]:
        """All objects, some at a time, and the resource version to watch from."""
        ...

    def watch(self, ref: ObjectRef, *, since: str, selector: str = "") -> AsyncIterator[Mapping[str, Any]]:
        """The changes after it."""
        ...


class Reflector(Generic[Record]):
    """The records of one kind in one namespace (or in all: `ref.namespace` empty), by UID."""

    def __init__(
        self,
        source: Source,
        ref: ObjectRef,
        record: Callable[[Mapping[str, Any]], Record | None],
        wake: Callable[[], None],
        *,
        selector: str = "",
        optional: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`record` makes the small value that is kept of an object (None: nothing); `wake` is called after each
        change. `optional`: what may be refused."""
        self._source = source
        self._ref = ref
        self._record = record
        self._wake = wake
        self._selector = selector
        self._optional = optional
        self._sleep = sleep
        self._records: dict[str, Record] = {}
        self._trouble = ""
        self.present: bool | None = None  # None until the first answer
        self.refused = ""  # why the server does not let us look, while it does not

    @property
    def name(self) -> str:
        """The kind, as the API calls it."""
        return self._ref.plural

    @property
    def records(self) -> Mapping[str, Record]:
        """What exists, by UID."""
        return self._records

    @property
    def unknown(self) -> str:
        """Why it is not known what exists; empty when it is."""
        return "" if self.present else self.refused or self._trouble or "they are being listed"

    async def run(self) -> None:
        """Follow the kind for ever."""
        now, pauses = asyncio.get_running_loop().time, delays()
        while True:
            try:
                version = await self._list()
                began, self._trouble = now(), ""
                try:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(None if self._optional else RELIST_SECONDS):
                            await self._follow(version)
                finally:
                    if now() - began > LASTING_SECONDS:
                        pauses = delays()
            except Gone as error:
                if error.status == 404:
                    self._absent(f"the cluster has no {self._ref.plural} ({self._ref.api_version})")
                    await self._sleep(ABSENT_SECONDS)
                else:
                    await self._sleep(next(pauses))
            except Forbidden as error:
                self._refuse(error.message)
                if self._optional:
                    self._absent(f"{error.message}: what they tell is not known")
                    await self._sleep(REFUSED_SECONDS)
                else:
                    self._complain(error.message)
                    await self._sleep(next(pauses))
            except TierwiseError as error:
                self._complain(error.message)
                if self._optional and self.present is None:
                    self.present = False
                    self._wake()
                await self._sleep(next(pauses))

    async def _list(self) -> str:
        records: dict[str, Record] = {}
        version = ""
        async for items, since in self._source.pages(self._ref, selector=self._selector):
            version = since
            records |= {uid: record for uid, record in map(self._read, items) if record is not None}
        changed = records != self._records or self.present is not True
        self._records, self.present, self.refused = records, True, ""
        if changed:
            self._wake()
        return version

    async def _follow(self, version: str) -> None:
        while True:
            async for event in self._source.watch(self._ref, since=version, selector=self._selector):
                body = event.get("object") or {}
                version = str(body.get("metadata", {}).get("resourceVersion") or version)
                if event.get("type") != "BOOKMARK":
                    self._change(str(event.get("type")), body)
            await self._sleep(PAUSE_SECONDS)

    def _change(self, kind: str, body: Mapping[str, Any]) -> None:
        uid, record = self._read(body)
        before = self._records.get(uid)
        if kind == "DELETED" or record is None:
            self._records.pop(uid, None)
        else:
            self._records[uid] = record
        if self._records.get(uid) != before:
            self._wake()

    def _read(self, body: Mapping[str, Any]) -> tuple[str, Record | None]:
        metadata = body.get("metadata") or {}
        try:
            return str(metadata.get("uid")), self._record(body)
        except (KeyError, TypeError, ValueError, AttributeError):  # one malformed object must not hide the others
            logger.exception("%s %s cannot be read", self._ref.plural, metadata.get("name"))
            return str(metadata.get("uid")), None

    def _refuse(self, why: str) -> None:
        if why != self.refused:
            self.refused = why
            self._wake()

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:  # once, not at every try of an outage
            self._trouble = trouble
            logger.warning("%s", trouble)

    def _absent(self, why: str) -> None:
        self._complain(why)
        if self.present is not False:
            self._records, self.present = {}, False
            self._wake()
