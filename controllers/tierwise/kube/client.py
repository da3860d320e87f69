"""Implements the Cluster port on a real API server.

Four choices keep two writers from harming each other. Children are written by server-side apply under one field
manager, forced only for the fields that we render, and only in an object that is ours. Replicas go through the scale
subresource, and a status is replaced whole. Both carry the resource version of their decision, so a leader that was
paused cannot write an outdated decision when it wakes up.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from tierwise.api.kinds import KINDS
from tierwise.api.modeltier import API_VERSION
from tierwise.errors import Gone
from tierwise.kube.objects import FIELD_MANAGER
from tierwise.kube.transport import APPLY, JSON_PATCH, MERGE, METADATA_ONLY, ApiTransport
from tierwise.ports import Clock, EventRecord, ObjectRef

REPORTING_CONTROLLER = "tierwise.io/operator"
# Of thousands of nodes, with 20 KB each, a few hundred are in memory at a time.
PAGE = 250
NOTE_LENGTH = 1024  # of events.k8s.io/v1
_MANAGED = (("fieldManager", FIELD_MANAGER),)
_CLUSTER_WIDE = frozenset(kind.name for kind in KINDS if not kind.namespaced)


def path_of(ref: ObjectRef, subresource: str = "") -> str:
    """The URL path of an object, or of its collection when `ref.name` is empty."""
    parts = ["api" if "/" not in ref.api_version else "apis", ref.api_version]
    parts += ["namespaces", quote(ref.namespace, safe="")] if ref.namespace else []
    parts += [ref.plural, quote(ref.name, safe=""), subresource]
    return "/" + "/".join(part for part in parts if part)


def _what(verb: str, ref: ObjectRef) -> str:
    return f"{verb} {ref.plural} {'/'.join(part for part in (ref.namespace, ref.name) if part) or '(all)'}"


class KubernetesCluster:
    """The Cluster port over an ApiTransport, plus what the process needs beside it: list, watch, create and replace."""

    def __init__(self, wire: ApiTransport, clock: Clock, *, instance: str) -> None:
        """`instance` names this process in Events, e.g. its pod name."""
        self._wire = wire
        self._clock = clock
        self._instance = instance

    async def get(self, ref: ObjectRef) -> Mapping[str, Any] | None:
        """The object, read with quorum; None when it (or its kind) does not exist."""
        try:
            return await self._wire.call(_what("get", ref), "GET", path_of(ref))
        except Gone:
            return None

    async def apply(self, ref: ObjectRef, manifest: Mapping[str, Any], *, force: bool = True) -> Mapping[str, Any]:
        """Server-side apply; a `metadata.resourceVersion` in the manifest makes it conditional (Conflict)."""
        return await self._wire.call(
            _what("apply", ref),
            "PATCH",
            path_of(ref),
            query=(*_MANAGED, ("force", str(force).lower())),
            body=dict(manifest),
            content_type=APPLY,
        )

    async def prune(self, ref: ObjectRef, paths: Sequence[str], *, resource_version: str) -> Mapping[str, Any]:
        """Remove fields by a merge patch: server-side apply takes away only what we applied ourselves."""
        body: dict[str, Any] = {"metadata": {"resourceVersion": resource_version}}
        for path in paths:
            *parents, last = path.split(".")
            below = body
            for name in parents:
                below = below.setdefault(name, {})
            below[last] = None
        return await self._patch("prune", ref, body)

    async def scale(self, ref: ObjectRef, replicas: int, *, resource_version: str) -> None:
        """Write `spec.replicas` of the scale subresource."""
        body = {"metadata": {"resourceVersion": resource_version}, "spec": {"replicas": replicas}}
        await self._patch("scale", ref, body, subresource="scale")

    async def annotate_pod(self, namespace: str, name: str, *, uid: str, annotations: Mapping[str, str]) -> None:
        """Merge annotations; Conflict when another pod bears the name now, Gone when none does."""
        body = {"metadata": {"uid": uid, "annotations": dict(annotations)}}
        await self._patch("annotate", ObjectRef("v1", "pods", namespace, name), body)

    async def patch_status(self, ref: ObjectRef, status: Mapping[str, Any], *, resource_version: str) -> str:
        """Replace the whole status: a merge would keep what the new status no longer says."""
        body = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version},
            {"op": "add", "path": "/status", "value": dict(status)},
        ]
        made = await self._patch("patch status of", ref, body, subresource="status", content_type=JSON_PATCH)
        return str(made["metadata"]["resourceVersion"])

    async def record_event(self, event: EventRecord) -> None:
        """Create an Event."""
        body = event_body(event, self._clock.now(), self._instance)
        await self.create(ObjectRef("events.k8s.io/v1", "events", event.namespace, ""), body)

    async def create(self, ref: ObjectRef, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create an object; Conflict when it exists."""
        collection = ObjectRef(ref.api_version, ref.plural, ref.namespace, "")
        return await self._wire.call(
            _what("create", ref), "POST", path_of(collection), query=_MANAGED, body=dict(manifest)
        )

    async def replace(self, ref: ObjectRef, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """Replace an object; Conflict when its resource version is not the one in the manifest."""
        return await self._wire.call(_what("replace", ref), "PUT", path_of(ref), query=_MANAGED, body=dict(manifest))

    async def pages(
        self, ref: ObjectRef, *, selector: str = ""
    ) -> AsyncIterator[tuple[tuple[Mapping[str, Any], ...], str]]:
        """All objects of a collection, some at a time, each time with the resource version to watch from (the same for
        all pages); Gone when the kind does not exist (404), or when the list changed too much meanwhile (410)."""
        query = [("limit", str(PAGE))] + ([("labelSelector", selector)] if selector else [])
        token = ""
        while True:
            answer = await self._wire.call(
                _what("list", ref), "GET", path_of(ref), query=[*query, *([("continue", token)] if token else [])]
            )
            metadata = answer.get("metadata") or {}
            yield tuple(answer.get("items") or ()), str(metadata.get("resourceVersion") or "")
            token = str(metadata.get("continue") or "")
            if not token:
                return

    async def versions(self, ref: ObjectRef, *, selector: str = "") -> dict[str, str]:
        """The resource versions of all objects of a collection, by UID: only their metadata travels."""
        query = (("labelSelector", selector),) if selector else ()
        answer = await self._wire.call(_what("list", ref), "GET", path_of(ref), query=query, accept=METADATA_ONLY)
        found = (item["metadata"] for item in answer.get("items") or ())
        return {str(metadata["uid"]): str(metadata["resourceVersion"]) for metadata in found}

    async def watch(self, ref: ObjectRef, *, since: str, selector: str = "") -> AsyncIterator[Mapping[str, Any]]:
        """Watch events (bookmarks included) after a resource version, until the server ends the stream."""
        query = [("watch", "true"), ("allowWatchBookmarks", "true"), ("resourceVersion", since)]
        query += [("labelSelector", selector)] if selector else []
        async for event in self._wire.stream(_what("watch", ref), path_of(ref), query):
            yield event

    async def _patch(
        self, verb: str, ref: ObjectRef, body: Any, *, subresource: str = "", content_type: str = MERGE
    ) -> Mapping[str, Any]:
        return await self._wire.call(
            _what(verb, ref), "PATCH", path_of(ref, subresource), query=_MANAGED, body=body, content_type=content_type
        )


def event_body(event: EventRecord, now: float, instance: str) -> dict[str, Any]:
    """The manifest of an events.k8s.io/v1 Event. `now`: seconds since the epoch."""
    if event.at is None:
        metadata, at = {"generateName": f"{event.name}-"}, now
    else:
        said = json.dumps([event.uid, event.reason, event.message, event.at]).encode()
        metadata, at = {"name": f"{event.name}-{hashlib.sha256(said).hexdigest()[:16]}"}, event.at
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {**metadata, "namespace": event.namespace},
        "eventTime": datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": REPORTING_CONTROLLER,
        "reportingInstance": instance[:128],
        "action": event.action,
        "reason": event.reason,
        "type": "Warning" if event.warning else "Normal",
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": event.kind,
            **({} if event.kind in _CLUSTER_WIDE else {"namespace": event.namespace}),
            "name": event.name,
            "uid": event.uid,
        },
        "note": event.message[:NOTE_LENGTH],
    }
