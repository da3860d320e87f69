"""Defines the protocols through which the library reaches the outside.

A few narrow seams (cluster, metrics, clock, the journal of scalings), so that every adapter (the real API server, the
real Prometheus, a fault proxy in between) is replaced at one place and nothing else can reach out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from tierwise.api.kinds import MODEL_TIER, Kind
from tierwise.types import PendingScale


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One object of the cluster. `plural` is the resource's name in the URL, e.g. "inferenceservices"."""

    api_version: str
    plural: str
    namespace: str
    name: str

    @classmethod
    def of(cls, kind: Kind, namespace: str, name: str) -> Self:
        """An object of one of our own kinds."""
        return cls(kind.api_version, kind.plural, namespace, name)


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One Kubernetes Event about an object of ours. `warning` makes it a Warning.

    `at`: when it happened (seconds since the epoch), for one that may be written again: the same Event, written a
    second time, is then refused as existing (Conflict). None: now."""

    namespace: str
    name: str
    uid: str
    reason: str
    message: str
    action: str
    warning: bool = False
    at: float | None = None
    kind: str = MODEL_TIER.name


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an instant query: its labels, its value as a float (NaN possible)."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class History:
    """One series of a range query: its labels, and (seconds since 1970, value) in the order of time. A moment for which
    Prometheus has no value is not among them; a value may be NaN."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


class Cluster(Protocol):
    """The API server. Every method raises tierwise.errors.Refused (and its kin) or Transient, and nothing else."""

    async def get(self, ref: ObjectRef) -> Mapping[str, Any] | None:
        """The object, read with quorum; None when it does not exist."""
        ...

    async def apply(self, ref: ObjectRef, manifest: Mapping[str, Any], *, force: bool = True) -> Mapping[str, Any]:
        """Server-side apply under our field manager; the object as it is afterwards. Without `force`: Conflict when
        somebody else has set one of these fields to another value."""
        ...

    async def prune(self, ref: ObjectRef, paths: Sequence[str], *, resource_version: str) -> Mapping[str, Any]:
        """Remove fields (dotted paths), whoever put them there; Conflict when the object changed since."""
        ...

    async def scale(self, ref: ObjectRef, replicas: int, *, resource_version: str) -> None:
        """Write `spec.replicas` through the scale subresource; Conflict when the object changed since."""
        ...

    async def annotate_pod(self, namespace: str, name: str, *, uid: str, annotations: Mapping[str, str]) -> None:
        """Merge annotations into a pod that still has this UID."""
        ...

    async def patch_status(self, ref: ObjectRef, status: Mapping[str, Any], *, resource_version: str) -> str:
        """Replace the status and return the new resource version; Conflict when the object changed since."""
        ...

    async def record_event(self, event: EventRecord) -> None:
        """Write an Event (events.k8s.io/v1)."""
        ...


class ScaleJournal(Protocol):
    """Where a change of replicas is noted before it is asked for: its answer may be lost, the change must not be."""

    def will_scale(self, uid: str, pending: PendingScale) -> None:
        """This change of the tier with that UID is about to be asked for."""
        ...

    def did_not_scale(self, uid: str, pending: PendingScale) -> None:
        """This change was refused."""
        ...


class Metrics(Protocol):
    """Prometheus. Raises tierwise.errors.Transient when it does not answer or answers with an error."""

    async def query(self, promql: str) -> Sequence[Series]:
        """One instant query, evaluated at Prometheus' own now."""
        ...


class Clock(Protocol):
    """Time, passed in so that tests and the simulator own it."""

    def now(self) -> float:
        """Seconds since the epoch: for what people read and what survives a restart."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow: for ages and deadlines inside this process."""
        ...
