"""Reads where the replicas of a tier are from the EndpointSlices of its Service. Pure.

A replica is known by the UID of its pod: a new pod may get the address of an old one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tierwise.observe.object_fields import items, mapping, text

# In this order: a pod with two addresses is asked at the first.
_FAMILIES = ("IPv4", "IPv6")


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One replica in one slice. `takes`: it is ready, and not on its way out."""

    family: int
    key: str
    url: str
    takes: bool


def endpoints(body: Mapping[str, Any]) -> tuple[Endpoint, ...]:
    """The endpoints of one EndpointSlice, sorted. An absent `ready` means ready, as the API defines it."""
    kind, port = text(body, "addressType"), _port(body)
    if kind not in _FAMILIES or port is None:
        return ()
    family = _FAMILIES.index(kind)
    found = []
    for each in items(body, "endpoints"):
        addresses, conditions = each.get("addresses") or (), mapping(each, "conditions")
        if not addresses:
            continue
        host = str(addresses[0]) if family == 0 else f"[{addresses[0]}]"
        takes = conditions.get("ready") is not False and not conditions.get("terminating")
        key = text(mapping(each, "targetRef"), "uid") or host
        found.append(Endpoint(family, key, f"http://{host}:{port}", takes))
    return tuple(sorted(found))


def _port(body: Mapping[str, Any]) -> int | None:
    """The port named http (or http1 and the like), else the first."""
    ports = [each for each in items(body, "ports") if each.get("port") and each.get("protocol", "TCP") == "TCP"]
    named = [each for each in ports if text(each, "name").startswith("http")]
    return next((int(each["port"]) for each in [*named, *ports]), None)


def replicas(slices: Iterable[tuple[Endpoint, ...]], known: Iterable[str]) -> tuple[dict[str, str], frozenset[str]]:
    """The replicas by key with their URLs, and those of them that take no new request.

    One that does not take requests counts only when it is known: its open answers end. Another one is not there yet."""
    seen = set(known)
    urls: dict[str, str] = {}
    takes: set[str] = set()
    for each in sorted(endpoint for part in slices for endpoint in part):
        if each.takes or each.key in seen:
            urls.setdefault(each.key, each.url)
            if each.takes:
                takes.add(each.key)
    return urls, frozenset(urls.keys() - takes)
