"""Counts the operators' wrong writes.

Counted afterwards and from outside: from the API server's audit log, which no operator can flatter. Only writes that
landed count; one that the server refused harmed nobody. Operators are the ServiceAccounts of the Lease's namespace.

not the leader   The Lease was not the writer's when the write came: by the log of Lease writes somebody else held it,
                 nobody did, or the writer's last renewal was older than the Lease lasts. Every write counts, also of
                 an Event.
out of bounds    Replicas that no spec of the last `LAG` seconds allows: outside minReplicas..maxReplicas, other than
                 spec.replicas where that is set, or under Advisory any change of what runs already. (A watch is behind
                 by a moment; a write on what was true ten seconds ago is no fault, on what was true before that is.)
blind            Fewer replicas without a value for every ready replica. Two witnesses. The tier's own status: the one
                 that records this very decision (same from, same to, written within `ACCOUNT` seconds), else the one
                 that stood when the write came, must say MetricsAvailable=True and the state Value for running,
                 waiting and kvCacheUsage, which are sums over all ready replicas. And the test: within a period in
                 which it knows that the operator could see nothing (`Blind`) every such write is wrong, whatever the
                 status says. Not counted: what spec.replicas asks for, and falling to exactly maxReplicas from above
                 it; both need no metrics.
foreign          A write to an object that is not of the tier that bears the name now: a Deployment, InferenceService
                 or pod whose owners do not lead to it (or to one that was deleted within `LAG` seconds), an object
                 that was not ours before, a status decided on a namesake that is gone (older than the object itself),
                 or a pod's annotation that names no UID. What a route is made of must bear the name of a route.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.audit import Write, writes
from tests.faults.history import History, Key, Tier
from tierwise.kube.objects import ROUTER_CHILDREN, ROUTER_SUFFIX
from tierwise.times import seconds

LAG = 10.0
ACCOUNT = 15.0
CYCLE = 45.0  # a decision is written within one cycle, which is given up after 40 s
LEADER, BOUNDS, BLIND, FOREIGN = "not the leader", "out of bounds", "blind", "foreign"
_SIGNALS = ("running", "waiting", "kvCacheUsage")
_OF_ROUTES = frozenset({"modelroutes/status", *ROUTER_CHILDREN})
_UNOWNED = frozenset({"leases", "events", "tokenreviews", "subjectaccessreviews", "selfsubjectaccessreviews"})


@dataclass(frozen=True, slots=True)
class Wrong:
    """One wrong write."""

    kind: str
    what: str
    who: str
    at: float
    why: str

    def __str__(self) -> str:
        return (
            f"{self.kind}: {self.what} by {self.who} at {time.strftime('%H:%M:%S', time.gmtime(self.at))}: {self.why}"
        )


@dataclass(frozen=True, slots=True)
class Blind:
    """From when till when the operator could have no value of a tier (seconds since the epoch)."""

    namespace: str
    tier: str
    since: float
    until: float


class Ledger:
    """The wrong writes of the operators that share one Lease."""

    def __init__(self, log: Path, lease: Key) -> None:
        """`lease`: its namespace and name. The period begins now."""
        self._log = log
        self._lease = lease
        self._since = time.time()

    def restart(self) -> None:
        """The period begins now."""
        self._since = time.time()

    def wrong(self, blind: Sequence[Blind] = ()) -> list[Wrong]:
        """The wrong writes since the period began."""
        return [each for each in judge(writes(self._log), self._lease, blind) if each.at >= self._since]

    def written(self, resource: str, name: str = "") -> list[Write]:
        """What the operators wrote in the period and landed: of this resource (with its subresource), in order."""
        return [write for write in self.all_written() if write.resource == resource and name in ("", write.name)]

    def all_written(self) -> list[Write]:
        """Whatever the operators wrote in the period and landed, in order."""
        return [
            write
            for write in writes(self._log)
            if write.at >= self._since and write.landed and _ours(write, self._lease)
        ]


@dataclass(frozen=True, slots=True)
class _Scale:
    """A change of replicas, with what was known when it came."""

    write: Write
    tier: Tier
    before: int
    after: int


def judge(log: Iterable[Write], lease: Key, blind: Sequence[Blind] = ()) -> list[Wrong]:
    """The wrong ones among all writes of a log, in order. Raises nothing: what cannot be told is wrong."""
    history = History(lease)
    wrong: list[Wrong] = []
    scales: list[_Scale] = []
    for write in log:
        if write.landed and _ours(write, lease):
            why = _not_leader(write, history)
            wrong += [_wrong(LEADER, write, why)] if why else []
            why = _foreign(write, history)
            wrong += [_wrong(FOREIGN, write, why)] if why else []
            scales += _scale(write, history)
        history.after(write)
    for scale in scales:
        why = _out_of_bounds(scale)
        wrong += [_wrong(BOUNDS, scale.write, why)] if why else []
        why = _unseen(scale, blind)
        wrong += [_wrong(BLIND, scale.write, why)] if why else []
    return sorted(wrong, key=lambda each: each.at)


def _wrong(kind: str, write: Write, why: str) -> Wrong:
    return Wrong(kind, str(write), write.instance, write.at, why)


def _ours(write: Write, lease: Key) -> bool:
    return write.user.startswith(f"system:serviceaccount:{lease[0]}:")


def _not_leader(write: Write, history: History) -> str:
    if write.resource == "leases":
        return ""
    holder = history.held(write.at)
    if holder is None:
        return "nobody held the Lease"
    if holder.instance != write.instance:
        return f"{holder.instance} held the Lease"
    if write.at > holder.at + holder.seconds:
        return f"its Lease had run out {write.at - holder.at - holder.seconds:.1f} s before"
    return ""


def _foreign(write: Write, history: History) -> str:
    kind = write.resource
    if kind.split("/")[0] in _UNOWNED:
        return ""
    if kind == "modeltiers/status":
        return _foreign_status(write, history)
    if kind == "inferenceservices":
        return _foreign_service(write, history)
    if kind == "pods":
        uid = str(((write.request or {}).get("metadata") or {}).get("uid") or "")
        if not uid:
            return "it names no UID"
        history.after(write)  # its owner is told by nothing else
        return _not_of_a_tier(uid, write, history)
    if kind in ("deployments/scale", "replicasets/scale"):
        return _not_of_a_tier(write.uid, write, history)
    if kind in _OF_ROUTES:
        # A RoleBinding has the name of its ClusterRole behind that of the router.
        name = write.name.split(".")[0].removesuffix(ROUTER_SUFFIX)
        return "" if {(write.namespace, write.name), (write.namespace, name)} & history.routes else "no route's"
    return "no tier has such a child"


def _foreign_status(write: Write, history: History) -> str:
    patch = write.request if isinstance(write.request, list) else []
    decided_on = next((int(step["value"]) for step in patch if step["path"] == "/metadata/resourceVersion"), 0)
    tier = history.tiers.get(write.uid)
    if tier is None:
        return "an unknown tier"
    if decided_on < tier.first_version:
        return f"decided on version {decided_on}, the tier began with {tier.first_version}"
    return ""


def _foreign_service(write: Write, history: History) -> str:
    key = (write.namespace, write.name)
    uid = write.uid or history.services.get(key, "")
    if write.verb == "delete" or history.known(uid):
        return _not_of_a_tier(uid, write, history)
    return "" if _alive(history.tiers.get(write.owner), write) else f"made for an unknown tier {write.owner}"


def _not_of_a_tier(uid: str, write: Write, history: History) -> str:
    owners = history.chain(uid, write.at - LAG)
    if not owners:
        return f"{uid or 'it'} belongs to no tier"
    if not any(_alive(history.tiers[owner], write) for owner in owners):
        return f"{uid} belongs to a tier that is gone"
    return ""


def _alive(tier: Tier | None, write: Write) -> bool:
    return tier is not None and (tier.gone is None or write.at - tier.gone <= LAG)


def _scale(write: Write, history: History) -> list[_Scale]:
    if write.resource != "deployments/scale":
        return []
    owners = history.chain(write.uid, write.at - LAG)
    after = int((write.response.get("spec") or {}).get("replicas") or 0)
    before = history.replicas.get(write.uid, 0)
    return [_Scale(write, history.tiers[owner], before, after) for owner in sorted(owners)]


def _out_of_bounds(scale: _Scale) -> str:
    asked = scale.tier.asked(scale.write.at - LAG, scale.write.at)
    if any(bound.allow(scale.after, scale.before) for bound in asked):
        return ""
    return f"{scale.before} to {scale.after} replicas, allowed was {asked[-1] if asked else 'nothing'}"


def _unseen(scale: _Scale, blind: Sequence[Blind]) -> str:
    write, tier = scale.write, scale.tier
    asked = tier.asked(write.at - LAG, write.at)
    if scale.after >= scale.before or any(bound.pinned == scale.after for bound in asked):
        return ""
    if any(scale.after == bound.high < scale.before for bound in asked):
        return ""
    for period in blind:
        if (period.namespace, period.tier) == tier.key and period.since <= write.at <= period.until:
            return f"{scale.before} to {scale.after} replicas while nothing could be measured"
    status = _account(scale)
    return _gaps(status) if status is not None else "no status says from which values"


def _account(scale: _Scale) -> Mapping[str, Any] | None:
    """The status that records this decision, else the one that stood then."""
    standing: Mapping[str, Any] | None = None
    for told, status in scale.tier.statuses:
        if told.done <= scale.write.at:
            standing = status
        elif told.at <= scale.write.done + ACCOUNT and _records(status, scale):
            return status
    return standing


def _records(status: Mapping[str, Any], scale: _Scale) -> bool:
    decisions = (status.get("scaling") or {}).get("decisions") or ()
    if not decisions:
        return False
    last = decisions[0]
    decided = seconds(last["time"])
    soon = decided is not None and scale.write.at - CYCLE <= decided <= scale.write.done
    return soon and (last["from"], last["to"]) == (scale.before, scale.after)


def _gaps(status: Mapping[str, Any]) -> str:
    said = {each["type"]: each for each in status.get("conditions") or ()}
    available = said.get("MetricsAvailable") or {}
    if available.get("status") != "True":
        return f"MetricsAvailable was {available.get('status', 'not told')} ({available.get('reason', '')})"
    states = {each["name"]: each["state"] for each in (status.get("scaling") or {}).get("signals") or ()}
    unknown = [name for name in _SIGNALS if states.get(name) != "Value"]
    return f"{', '.join(unknown)} had no value" if unknown else ""
