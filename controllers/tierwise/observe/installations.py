"""Tells which namespaces another installation of Tierwise serves, so that never two act on one tier.

Two operators with two Leases would both write: each has its own Prometheus, and they undo each other. Each installation
can be seen by what its chart makes, all of it with the label `tierwise.io/installation`:

    cluster      its Deployment; it serves all namespaces, but for those that an installation of the other sort serves
    namespaces   a RoleBinding in every namespace that it serves

Of two of one sort the older one serves; of two of the same age, the first by namespace and name. A Deployment without
replicas serves nobody. Nothing has to be written or asked for, and every installation comes to the same answer from the
same objects. A process that no chart made (`tierwise run` beside a cluster) is not among them, and gives way to nobody.

GPUPools are in no namespace: whoever acts in any tells of them. Two that act in different ones both do, since one for
named namespaces cannot see who acts elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tierwise.observe.object_fields import items, mapping, optional_number, text, time
from tierwise.types import Installation, Installations

INSTALLATION_LABEL = "tierwise.io/installation"
CLUSTER, NAMESPACES = "cluster", "namespaces"


@dataclass(frozen=True, slots=True, order=True)
class InstallationRecord:
    """One trace of an installation; the first of them, in this order, serves. `serves`: the namespace; empty: all."""

    created_at: float
    installation: Installation
    serves: str


def deployment_trace(body: Mapping[str, Any]) -> InstallationRecord | None:
    """The Deployment of an installation that serves all namespaces; None for another, and for one without replicas."""
    metadata = mapping(body, "metadata")
    stopped = optional_number(mapping(body, "spec").get("replicas")) == 0
    if text(mapping(metadata, "labels"), INSTALLATION_LABEL) != CLUSTER or stopped or metadata.get("deletionTimestamp"):
        return None
    return InstallationRecord(_created(metadata), Installation(text(metadata, "namespace"), text(metadata, "name")), "")


def binding_trace(body: Mapping[str, Any]) -> InstallationRecord | None:
    """The RoleBinding of an installation that serves this namespace; None for another."""
    metadata = mapping(body, "metadata")
    subject = next(iter(items(body, "subjects")), {})
    if text(mapping(metadata, "labels"), INSTALLATION_LABEL) != NAMESPACES or metadata.get("deletionTimestamp"):
        return None
    installation = Installation(text(subject, "namespace"), text(metadata, "name"))
    return InstallationRecord(_created(metadata), installation, text(metadata, "namespace"))


def _created(metadata: Mapping[str, Any]) -> float:
    return time(metadata, "creationTimestamp") or 0.0


def installations(
    own: Installation, watched: Collection[str], traces: Iterable[InstallationRecord | None]
) -> Installations:
    """Who serves beside `own`, and who serves instead. `watched`: the namespaces that it serves; none: all."""
    found = sorted(trace for trace in traces if trace is not None)
    if not any(trace.installation == own for trace in found):
        return Installations()
    everywhere = [trace.installation for trace in found if not trace.serves]
    named: dict[str, list[Installation]] = {}
    for trace in found:
        if trace.serves and trace.installation not in named.setdefault(trace.serves, []):
            named[trace.serves].append(trace.installation)
    if watched:
        ours = {namespace: named.get(namespace, []) for namespace in watched}
        instead = {namespace: who[0] for namespace, who in ours.items() if who and who[0] != own}
        beside = {namespace: who[1] for namespace, who in ours.items() if len(who) > 1 and who[0] == own}
        return Installations(instead=instead, beside=beside, nowhere=all(each in instead for each in watched))
    first = everywhere[0] if everywhere else own
    instead = {namespace: who[0] for namespace, who in named.items()}
    if first != own:
        return Installations(instead=instead, everywhere=first, nowhere=True)
    return Installations(instead=instead, beside={"": everywhere[1]} if len(everywhere) > 1 else {})
