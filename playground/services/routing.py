"""Finds the addresses behind each ClusterIP:port and behind each name.

Pure: Services and EndpointSlices in, tables out. As with kube-proxy, an endpoint counts when its `ready`
condition is not false, which excludes terminating pods; and when a Service has none of these, its terminating
ones that are still `serving` do (pkg/proxy/topology.go).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from playground.rest import Json


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """An IPv4 address and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Write host:port."""
        return f"{self.host}:{self.port}"


Routes = Mapping[Address, tuple[Address, ...]]


def routes(services: Iterable[Json], slices: Iterable[Json]) -> dict[Address, tuple[Address, ...]]:
    """Return, for every ClusterIP and TCP port, its endpoints that count, in order (possibly none)."""
    behind = _slices_by_service(slices)
    table: dict[Address, tuple[Address, ...]] = {}
    for service in services:
        spec = service["spec"]
        host = spec.get("clusterIP")
        if host in (None, "", "None") or spec.get("type") == "ExternalName":
            continue
        own = behind.get(_key(service), [])
        for port in spec.get("ports", []):
            if port.get("protocol", "TCP") == "TCP":
                name = port.get("name") or ""
                table[Address(host, port["port"])] = _endpoints(own, name, _ready) or _endpoints(own, name, _draining)
    return table


def names(services: Iterable[Json], slices: Iterable[Json]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the addresses of every (namespace, service): its ClusterIP, or a headless one's endpoints."""
    behind = _slices_by_service(slices)
    table: dict[tuple[str, str], tuple[str, ...]] = {}
    for service in services:
        spec = service["spec"]
        host = spec.get("clusterIP")
        if spec.get("type") == "ExternalName":
            continue
        if host in (None, "", "None"):
            hosts = {e for part in behind.get(_key(service), []) for e in _hosts(part, _ready)}
            table[_key(service)] = tuple(sorted(hosts))
        else:
            table[_key(service)] = (host,)
    return table


def _key(service: Json) -> tuple[str, str]:
    return (service["metadata"]["namespace"], service["metadata"]["name"])


def _slices_by_service(slices: Iterable[Json]) -> dict[tuple[str, str], list[Json]]:
    found: dict[tuple[str, str], list[Json]] = {}
    for part in slices:
        metadata = part["metadata"]
        name = metadata.get("labels", {}).get("kubernetes.io/service-name")
        if name and part.get("addressType") == "IPv4":
            found.setdefault((metadata["namespace"], name), []).append(part)
    return found


def _ready(conditions: Json) -> bool:
    return conditions.get("ready") is not False


def _draining(conditions: Json) -> bool:
    return bool(conditions.get("terminating") and conditions.get("serving"))


def _hosts(part: Json, counts: Callable[[Json], bool]) -> list[str]:
    chosen = [endpoint for endpoint in part.get("endpoints") or [] if counts(endpoint.get("conditions", {}))]
    return [address for endpoint in chosen for address in endpoint["addresses"][:1]]


def _endpoints(parts: Iterable[Json], port_name: str, counts: Callable[[Json], bool]) -> tuple[Address, ...]:
    found = {
        Address(host, port["port"])
        for part in parts
        for port in part.get("ports") or []
        if (port.get("name") or "") == port_name and port.get("port")
        for host in _hosts(part, counts)
    }
    return tuple(sorted(found))
