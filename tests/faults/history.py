"""Reconstructs the state of the cluster at the moment of a write from the writes before it.

Only what the ledger asks: who held the Lease, what each tier asked for, which Deployment belonged to which tier, and
how many replicas it had.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.audit import Write
from tierwise.api.modeltier import ModelTierSpec

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a spec allows. `pinned`: spec.replicas."""

    low: int
    high: int
    pinned: int | None
    advisory: bool

    def allow(self, replicas: int, before: int) -> bool:
        """Whether so many replicas may be written where there were so many."""
        if self.advisory and before > 0:
            return False
        return replicas == self.pinned if self.pinned is not None else self.low <= replicas <= self.high


def bounds(spec: Mapping[str, Any]) -> Bounds:
    """Those of a spec as the API server has it."""
    parsed = ModelTierSpec.model_validate(spec)
    scaling = parsed.scaling
    return Bounds(scaling.min_replicas, scaling.max_replicas, parsed.replicas, scaling.mode == "Advisory")


@dataclass(slots=True)
class Tier:
    """One ModelTier, by UID."""

    key: Key
    uid: str
    born: float
    first_version: int
    specs: list[tuple[float, Bounds]] = field(default_factory=list)
    statuses: list[tuple[Write, Mapping[str, Any]]] = field(default_factory=list)
    gone: float | None = None

    def asked(self, since: float, until: float) -> list[Bounds]:
        """What the spec asked for at any time of this period, the latest last."""
        ends = [at for at, _ in self.specs[1:]] + [until + 1]
        return [bound for (begin, bound), end in zip(self.specs, ends, strict=True) if begin <= until and end >= since]


@dataclass(frozen=True, slots=True)
class Holder:
    """A Lease as it was written."""

    instance: str
    at: float
    seconds: float


class History:
    """What the writes so far have made. `after` adds one."""

    def __init__(self, lease: Key) -> None:
        self._lease = lease
        self.holder: Holder | None = None
        self._holders: list[tuple[float, Holder | None]] = []
        self.tiers: dict[str, Tier] = {}
        self.named: dict[Key, str] = {}
        self._owners: dict[str, list[tuple[float, str]]] = {}
        self.replicas: dict[str, int] = {}
        self._versions: dict[str, int] = {}
        self.services: dict[Key, str] = {}
        self.routes: set[Key] = set()

    def after(self, write: Write) -> None:
        """Add a write that has landed."""
        if not write.landed:
            return
        kind = write.resource.split("/")[0]
        if kind == "leases":
            self._leased(write)
        elif kind == "modeltiers":
            self._tier(write)
        elif kind == "modelroutes":
            self.routes.add((write.namespace, write.name))
        elif write.resource in ("inferenceservices", "deployments", "replicasets", "pods"):
            self._owned(write)
        if kind == "deployments" and write.uid and write.verb != "delete":
            self._scaled(write)

    def held(self, at: float) -> Holder | None:
        """Who held the Lease then, as far as anybody could know: the last write of it that was answered before."""
        return next((holder for done, holder in reversed(self._holders) if done <= at), None)

    def chain(self, uid: str, since: float) -> set[str]:
        """UIDs of the tiers to which an object belongs, or belonged at any time since then."""
        if uid in self.tiers:
            return {uid}
        owners = self._owners.get(uid, [])
        latest = [owner for at, owner in owners if at >= since] or []
        before = [owner for at, owner in owners if at < since][-1:]
        return set().union(*(self.chain(owner, since) for owner in {*latest, *before} if owner))

    def known(self, uid: str) -> bool:
        """Whether the object was seen before."""
        return uid in self._owners

    def _leased(self, write: Write) -> None:
        if (write.namespace, write.name or self._lease[1]) != self._lease:
            return
        holder: Holder | None = None
        if write.verb in ("create", "update", "patch"):
            spec = (write.request or {}).get("spec") or {}
            identity = str(spec.get("holderIdentity") or "")
            seconds = float(spec.get("leaseDurationSeconds") or 0)
            holder = Holder(identity.rsplit("_", 1)[0], write.at, seconds) if identity else None
        self._holders.append((write.done, holder))

    def _tier(self, write: Write) -> None:
        key = (write.namespace, write.name)
        if write.verb in ("delete", "deletecollection"):
            self._deleted(write)
            return
        if not write.uid:
            return
        before = self.named.get(key)
        if before is not None and before != write.uid and self.tiers[before].gone is None:
            self.tiers[before].gone = write.done
        tier = self.tiers.setdefault(write.uid, Tier(key, write.uid, write.done, write.version))
        self.named[key] = write.uid
        if write.resource == "modeltiers/scale":
            latest = tier.specs[-1][1]
            pinned = int((write.response.get("spec") or {}).get("replicas") or 0)
            tier.specs.append((write.done, Bounds(latest.low, latest.high, pinned, latest.advisory)))
            return
        asked = bounds(write.response["spec"])
        if not tier.specs or tier.specs[-1][1] != asked:
            tier.specs.append((write.done, asked))
        if write.resource == "modeltiers/status":
            tier.statuses.append((write, write.response.get("status") or {}))

    def _deleted(self, write: Write) -> None:
        """A tier is gone from the moment its deletion was accepted, whatever finalizer still holds the object: its
        children are let go then. Which tiers a collection takes (it may have a selector) its answer lists; without one
        that was kept it is every tier of the namespace."""
        if write.verb == "delete":
            gone = {self.named.get((write.namespace, write.name), "")}
        elif "items" in write.response:
            gone = {str(item["metadata"]["uid"]) for item in write.response["items"] or ()}
        else:
            gone = {uid for (namespace, _), uid in self.named.items() if namespace == write.namespace}
        for uid in gone & self.tiers.keys():
            tier = self.tiers[uid]
            tier.gone = write.done if tier.gone is None else tier.gone
            if self.named.get(tier.key) == uid:
                del self.named[tier.key]

    def _owned(self, write: Write) -> None:
        if not write.uid or write.verb == "delete":
            return
        owners = self._owners.setdefault(write.uid, [])
        if not owners or owners[-1][1] != write.owner:
            owners.append((write.done, write.owner))
        if write.resource == "inferenceservices":
            self.services[(write.namespace, write.name)] = write.uid

    def _scaled(self, write: Write) -> None:
        if write.version >= self._versions.get(write.uid, 0):
            self._versions[write.uid] = write.version
            absent = 0 if write.resource == "deployments/scale" else 1
            self.replicas[write.uid] = int((write.response.get("spec") or {}).get("replicas", absent))
