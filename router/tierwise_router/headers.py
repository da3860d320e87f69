"""Decides which headers travel: from a client to a replica or a provider, and what is said about an answer.

Nothing that belongs to one connection travels, nor what a client's Connection header names. Keys never do: ours goes
to a provider, nobody's to a replica. A provider gets only what it needs; who a tenant is, is none of its business.
"""

from __future__ import annotations

from collections.abc import Iterable

from tierwise_router.record import Record
from tierwise_router.upstream import Server

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"expect",
        b"host",
        b"http2-settings",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
    }
)
# What is said of the body's coding is not true of what goes upstream: it has been read as JSON.
_OURS = frozenset(
    {
        b"authorization",
        b"accept-encoding",
        b"api-key",
        b"content-encoding",
        b"content-type",
        b"cookie",
        b"forwarded",
        b"x-request-id",
    }
)
# X-data-parallel-rank chooses the engine within a replica.
_PREFIXES = (b"proxy-", b"x-tierwise-", b"x-data-parallel-", b"x-forwarded-", b"x-api-key")
_TO_PROVIDERS = frozenset({b"accept", b"traceparent", b"tracestate", b"openai-beta", b"idempotency-key"})


def to_upstream(
    headers: Iterable[tuple[bytes, bytes]], *, private: frozenset[bytes], external: bool
) -> list[tuple[bytes, bytes]]:
    """What of a client's headers goes upstream. `private` are names (lower case) that stay here, such as a tenant's."""
    kept = list(headers)
    named = {
        part.strip().lower()
        for name, value in kept
        if name == b"connection"
        for part in value.split(b",")
        if part.strip()
    }
    if external:
        return [(name, value) for name, value in kept if name in _TO_PROVIDERS and name not in named]
    return [
        (name, value)
        for name, value in kept
        if name not in _HOP_BY_HOP
        and name not in _OURS
        and name not in named
        and name not in private
        and not name.startswith(_PREFIXES)
    ]


def own(record: Record) -> list[tuple[str, str]]:
    """What the router says of an answer."""
    said = [("x-request-id", record.id), ("x-tierwise-request-id", record.id)]
    if record.tier:
        said += [("x-tierwise-tier", record.tier), ("x-tierwise-reason", record.reason)]
    return said


def request_bytes(
    server: Server,
    path: str,
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes | None,
    request_id: str,
    key: str | None,
    *,
    method: str = "POST",
) -> bytes:
    """A request as it goes upstream. No compression: a compressed stream of events has no usage that could be read."""
    lines = [
        b"%b %b HTTP/1.1\r\nhost: %b\r\naccept-encoding: identity\r\nx-request-id: %b\r\n"
        % (method.encode(), server.target(path).encode(), server.authority.encode(), request_id.encode())
    ]
    if body is not None:
        lines.append(b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body))
    elif method != "GET":
        lines.append(b"content-length: 0\r\n")
    if key is not None:
        lines.append(b"authorization: Bearer %b\r\n" % key.encode())
    lines += [b"%b: %b\r\n" % (name, value) for name, value in headers]
    lines += [b"\r\n", body or b""]
    return b"".join(lines)
