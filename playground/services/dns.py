"""Answers DNS queries for SERVICE.NAMESPACE.svc.cluster.local.

A DNS server (RFC 1035) small enough to read: A records of Services, "no such name" for all else, since the
playground has no way out. Short names (`svc`, `svc.ns`, `svc.ns.svc`) work as on a cluster, through the search
list in each pod's resolv.conf.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping

DNS_ADDRESS = "10.201.0.10"
DOMAIN = "cluster.local"
TTL_S = 5
MAX_ANSWERS = 25  # what fits into a datagram of 512 bytes, the limit without extensions

_A, _IN = 1, 1
_NO_ERROR, _FORMAT_ERROR, _NO_SUCH_NAME, _NOT_IMPLEMENTED = 0, 1, 3, 4

Names = Mapping[tuple[str, str], tuple[str, ...]]


def search_list(namespace: str) -> str:
    """Return the search domains of a pod in this namespace."""
    return f"{namespace}.svc.{DOMAIN} svc.{DOMAIN} {DOMAIN}"


def resolve(name: str, names: Names) -> tuple[str, ...] | None:
    """Return the addresses of a full name, None if there is no such name."""
    labels = name.rstrip(".").lower().split(".")
    if labels[2:] != ["svc", *DOMAIN.split(".")]:
        return None
    service, namespace = labels[:2]
    return names.get((namespace, service))


def answer(query: bytes, names: Names) -> bytes | None:
    """Return the answer to a DNS query, None for something that is none."""
    if len(query) < 12:
        return None
    identity, flags, questions = struct.unpack_from(">HHH", query)
    if flags & 0x8000:
        return None
    if flags & 0x7800:
        return _header(identity, flags, _NOT_IMPLEMENTED, 0, 0)
    try:
        name, end = _name(query, 12)
        kind, group = struct.unpack_from(">HH", query, end)
    except (IndexError, ValueError, struct.error):
        return _header(identity, flags, _FORMAT_ERROR, 0, 0)
    if questions != 1:
        return _header(identity, flags, _FORMAT_ERROR, 0, 0)
    question = query[12 : end + 4]
    addresses = resolve(name, names)
    if addresses is None:
        return _header(identity, flags, _NO_SUCH_NAME, 1, 0) + question
    given = addresses[:MAX_ANSWERS] if (kind, group) == (_A, _IN) else ()
    records = b"".join(
        struct.pack(">HHHIH", 0xC00C, _A, _IN, TTL_S, 4) + bytes(int(part) for part in address.split("."))
        for address in given
    )
    return _header(identity, flags, _NO_ERROR, 1, len(given)) + question + records


def _header(identity: int, flags: int, code: int, questions: int, answers: int) -> bytes:
    # Answer, authoritative, recursion wanted and available as asked.
    out = 0x8480 | (flags & 0x0100) | code
    return struct.pack(">HHHHHH", identity, out, questions, answers, 0, 0)


def _name(query: bytes, start: int) -> tuple[str, int]:
    labels = []
    position = start
    while length := query[position]:
        if length > 63:
            raise ValueError("a question holds no pointers")
        labels.append(query[position + 1 : position + 1 + length].decode("ascii"))
        position += 1 + length
    return ".".join(labels), position + 1


class DnsServer(asyncio.DatagramProtocol):
    """Answers over UDP from `names`, which whoever knows the Services replaces."""

    def __init__(self) -> None:
        """Start with no names."""
        self.names: Names = {}
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, host: str = DNS_ADDRESS, port: int = 53) -> None:
        """Listen. Raises OSError."""
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=(host, port))

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        """Keep the way to answer."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one query."""
        response = answer(data, self.names)
        if response is not None and self._transport is not None:
            self._transport.sendto(response, addr)
