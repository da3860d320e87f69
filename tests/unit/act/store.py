"""An API server in memory, as far as the Cluster port needs one: resource versions, UIDs and owners are enforced.

It stands in for the real one in tests of what is written and when. That it behaves like the real one is checked by
`tests/port.py`, which runs against both.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from tierwise.errors import Conflict, Gone, TierwiseError
from tierwise.ports import EventRecord, ObjectRef


def merged(below: Any, above: Any) -> Any:
    """`above` laid over `below`: maps merge, None removes, everything else replaces."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return copy.deepcopy(above)
    result = dict(copy.deepcopy(below))
    for key, value in above.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


class Store:
    """The Cluster port (and create, replace, list) over a dictionary. `writes` tells what was written, in order."""

    def __init__(self) -> None:
        self._objects: dict[ObjectRef, dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        self.writes: list[tuple[str, str]] = []
        self.reads: list[str] = []
        self.events: list[EventRecord] = []
        self.failing: dict[str, TierwiseError] = {}

    def put(self, ref: ObjectRef, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Put an object there as if somebody else had written it."""
        before = self._objects.get(ref)
        made: dict[str, Any] = copy.deepcopy(dict(manifest))
        metadata = made.setdefault("metadata", {})
        metadata |= {"name": ref.name, "namespace": ref.namespace, "resourceVersion": str(next(self._numbers))}
        metadata["uid"] = before["metadata"]["uid"] if before else metadata.get("uid") or f"uid-{next(self._numbers)}"
        self._objects[ref] = made
        return copy.deepcopy(made)

    def drop(self, ref: ObjectRef) -> None:
        """Take an object away as if somebody else had deleted it."""
        self._objects.pop(ref, None)

    def seen(self, ref: ObjectRef) -> dict[str, Any]:
        """The object as it is."""
        return copy.deepcopy(self._objects[ref])

    def _may(self, verb: str, ref: ObjectRef) -> None:
        for key in (verb, f"{verb} {ref.name}"):
            if key in self.failing:
                raise self.failing[key]

    def _at(self, ref: ObjectRef) -> dict[str, Any]:
        if ref not in self._objects:
            raise Gone(f'{ref.plural} "{ref.name}" not found', status=404, reason="NotFound")
        return self._objects[ref]

    def _same(self, ref: ObjectRef, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """The object, if it has the version and the UID that the request names."""
        found = self._at(ref)
        for name in ("resourceVersion", "uid"):
            if wanted.get(name) not in (None, found["metadata"][name]):
                raise Conflict(f'{ref.plural} "{ref.name}": {name} differs', status=409, reason="Conflict")
        return found

    async def get(self, ref: ObjectRef) -> Mapping[str, Any] | None:
        """The object, or None."""
        self._may("get", ref)
        self.reads.append(f"{ref.plural}/{ref.name}")
        found = self._objects.get(ref)
        return copy.deepcopy(found)

    async def apply(self, ref: ObjectRef, manifest: Mapping[str, Any], *, force: bool = True) -> Mapping[str, Any]:
        """Like server-side apply with one manager: maps merge, lists are replaced. Without force any other value that
        is there counts as somebody else's."""
        self._may("apply", ref)
        if ref in self._objects:
            found = self._same(ref, manifest["metadata"])
            if not force and merged(manifest, found) != merged(found, manifest):
                raise Conflict(f"{ref.name}: fields belong to somebody else", status=409, reason="Conflict")
            self.writes.append(("apply", ref.name))
            return self.put(ref, merged(found, manifest))
        if manifest["metadata"].get("resourceVersion"):
            raise Conflict(f"{ref.name} does not exist", status=409)
        self.writes.append(("apply", ref.name))
        return self.put(ref, manifest)

    async def prune(self, ref: ObjectRef, paths: Sequence[str], *, resource_version: str) -> Mapping[str, Any]:
        """Remove fields."""
        self._may("prune", ref)
        found = self._same(ref, {"resourceVersion": resource_version})
        self.writes.append(("prune", ref.name))
        for path in paths:
            *parents, last = path.split(".")
            below = found
            for name in parents:
                below = below.get(name) or {}
            below.pop(last, None)
        return self.put(ref, found)

    async def scale(self, ref: ObjectRef, replicas: int, *, resource_version: str) -> None:
        """Write the replicas."""
        self._may("scale", ref)
        found = self._same(ref, {"resourceVersion": resource_version})
        self.writes.append((f"scale to {replicas}", ref.name))
        self.put(ref, merged(found, {"spec": {"replicas": replicas}}))

    async def annotate_pod(self, namespace: str, name: str, *, uid: str, annotations: Mapping[str, str]) -> None:
        """Merge annotations."""
        ref = ObjectRef("v1", "pods", namespace, name)
        self._may("annotate", ref)
        found = self._same(ref, {"uid": uid})
        self.writes.append(("annotate", name))
        self.put(ref, merged(found, {"metadata": {"annotations": dict(annotations)}}))

    async def patch_status(self, ref: ObjectRef, status: Mapping[str, Any], *, resource_version: str) -> str:
        """Replace the status."""
        self._may("status", ref)
        found = self._same(ref, {"resourceVersion": resource_version})
        self.writes.append(("status", ref.name))
        made = self.put(ref, {**found, "status": copy.deepcopy(dict(status))})
        return str(made["metadata"]["resourceVersion"])

    async def record_event(self, event: EventRecord) -> None:
        """Keep an Event."""
        self._may("event", ObjectRef("events.k8s.io/v1", "events", event.namespace, event.name))
        self.events.append(event)

    async def create(self, ref: ObjectRef, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create, unless it exists."""
        self._may("create", ref)
        if ref in self._objects:
            raise Conflict(f"{ref.name} already exists", status=409, reason="AlreadyExists")
        self.writes.append(("create", ref.name))
        return self.put(ref, manifest)

    async def replace(self, ref: ObjectRef, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Replace the version that the manifest names."""
        self._may("replace", ref)
        self._same(ref, {"resourceVersion": manifest["metadata"].get("resourceVersion")})
        self.writes.append(("replace", ref.name))
        return self.put(ref, manifest)

    async def list(self, ref: ObjectRef, *, selector: str = "") -> tuple[tuple[Mapping[str, Any], ...], str]:
        """All objects of a kind in a namespace (in all: an empty one)."""
        self._may("list", ref)
        items = [
            copy.deepcopy(body)
            for at, body in sorted(self._objects.items(), key=lambda pair: (pair[0].namespace, pair[0].name))
            if at.plural == ref.plural and ref.namespace in ("", at.namespace)
        ]
        return tuple(items), str(next(self._numbers))

    async def watch(self, ref: ObjectRef, *, since: str, selector: str = "") -> AsyncIterator[Mapping[str, Any]]:
        """Nothing ever happens here."""
        self._may("watch", ref)
        nothing: tuple[Mapping[str, Any], ...] = ()
        for event in nothing:
            yield event
