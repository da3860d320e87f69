"""Defines what is watched through kopf, and what is kept of each object.

Every kind has an index (its record, by UID) and an event handler. The handler only wakes the loop, and only when the
record has changed: a HorizontalPodAutoscaler has its status written every 15 s, and none of that is in its record. The
server applies the label selectors, so a cluster with ten thousand pods costs no more than its engines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import kopf

from tierwise.ports import ObjectRef
from tierwise.runtime.backoff import InfiniteBackoff

REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 75.0  # bookmarks come about every minute
# Between two streams of one kind. kopf's own tenth of a second, while each watch is refused as too old (410), comes to
# twenty lists of everything in a second.
RECONNECT_SECONDS = 2.0

# Of which object an event told (its UID), and its resource version then; empty when it is gone.
Heard = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class WatchedKind:
    """One kind to watch: where it is in the API, which objects, and what is kept of one."""

    name: str
    api_version: str
    plural: str
    record: Callable[[Mapping[str, Any]], Any]
    selector: str = ""

    def ref(self, namespace: str) -> ObjectRef:
        """The collection in a namespace, or in all."""
        return ObjectRef(self.api_version, self.plural, namespace, "")

    @property
    def group_version(self) -> tuple[str, str]:
        """Group (empty for the core) and version."""
        group, _, version = self.api_version.rpartition("/")
        return group, version


def register(
    registry: kopf.OperatorRegistry,
    kinds: tuple[WatchedKind, ...],
    started: Callable[[Mapping[str, kopf.Index[str, Any]]], None],
    heard: Heard,
    changed: Callable[[], None],
) -> None:
    """Put an index and an event handler per kind into the registry. `started` receives the indices; after all kinds
    were listed, `heard` is called for every event, `changed` for those that left another record than before."""

    @kopf.on.startup(registry=registry)
    async def _(**kwargs: Any) -> None:
        started({kind.name: kwargs[_index_name(kind)] for kind in kinds})

    for kind in kinds:
        group, version = kind.group_version
        kopf.index(group, version, kind.plural, id=_index_name(kind), registry=registry)(_indexer(kind))
        kopf.on.event(group, version, kind.plural, id=f"{kind.name}-event", registry=registry)(
            _waker(kind, heard, changed)
        )


def _index_name(kind: WatchedKind) -> str:
    return f"{kind.name}_index"  # a name that no keyword argument of kopf has


def _indexer(kind: WatchedKind) -> Callable[..., Any]:
    async def index(body: kopf.Body, **_: Any) -> dict[str, Any]:
        return {str(body["metadata"]["uid"]): kind.record(dict(body))}

    return index


def _waker(kind: WatchedKind, heard: Heard, changed: Callable[[], None]) -> Callable[..., Any]:
    told: dict[str, tuple[Any, ...]] = {}

    async def wake(body: kopf.Body, **kwargs: Any) -> None:
        uid = str(body["metadata"]["uid"])
        heard(uid, "" if kwargs["type"] == "DELETED" else str(body["metadata"]["resourceVersion"]))
        # The index was brought up to date before: it holds nothing of an object that is gone, or that cannot be read.
        records = tuple(kwargs[_index_name(kind)].get(uid, ()))
        before = told.pop(uid, ())
        if records:
            told[uid] = records
        if records != before:
            changed()

    return wake


def kopf_settings(kinds: tuple[WatchedKind, ...]) -> kopf.OperatorSettings:
    """kopf as an informer that never gives up."""
    settings = kopf.OperatorSettings()
    # Any limit below the number of objects deadlocks the start, since each object's worker waits for all others.
    settings.queueing.worker_limit = None
    settings.networking.error_backoffs = InfiniteBackoff()
    settings.networking.request_timeout = REQUEST_SECONDS
    settings.networking.connect_timeout = CONNECT_SECONDS
    settings.watching.inactivity_timeout = SILENCE_SECONDS
    settings.watching.reconnect_backoff = RECONNECT_SECONDS
    for kind in kinds:
        if kind.selector:
            group, version = kind.group_version
            settings.watching.label_selectors[group, version, kind.plural] = kind.selector
    settings.posting.enabled = False
    # Needs no right to list CRDs and namespaces. A CRD that comes late or goes is noticed by the informer itself.
    settings.scanning.disabled = True
    # kopf would otherwise kill the process ten minutes after any of its ends, also those that we recover from.
    settings.process.ultimate_exiting_timeout = None
    return settings
