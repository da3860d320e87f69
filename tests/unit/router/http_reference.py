"""Reads HTTP/1.1 requests with h11, which shares no code with what the router uses, and more strictly than it.

h11 takes lines that end with LF alone; here every line of a head ends with CRLF. What the router forgives on purpose is
taken away before (see `forgiven`), so that the two must agree on everything else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import h11

_SPACES = re.compile(rb"\A([A-Z-]+) +(/[^ \r\n]*) +(?=[A-Z])")
_RTSP = re.compile(rb"\A([^\r\n]* )(?:RTSP|ICE)/")


@dataclass(frozen=True)
class Reference:
    """One request as h11 reads it; header values without blanks around them."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    left: bytes
    """What follows it."""


def forgiven(data: bytes) -> bytes:
    """`data` without what the router reads though h11 does not: empty lines before, more spaces than one in the first
    line, another protocol's name; none of them changes where a request ends."""
    data = data.lstrip(b"\r\n")
    return _RTSP.sub(rb"\1HTTP/", _SPACES.sub(rb"\1 \2 ", data))


def read(data: bytes) -> Reference | None:
    """The first request of `data`, None where it is refused or not complete."""
    data = forgiven(data)
    head, found, _ = data.partition(b"\r\n\r\n")
    if not found or b"\n" in head.replace(b"\r\n", b"") or b"\r" in head.replace(b"\r\n", b""):
        return None
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    request: h11.Request | None = None
    body = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return None
    except h11.RemoteProtocolError:
        return None
    if request is None:
        return None
    left = connection.trailing_data[0]
    headers = [(bytes(name), bytes(value)) for name, value in request.headers]
    return Reference(request.method.decode(), request.target.decode("latin-1"), headers, body, left)


def read_all(data: bytes) -> list[Reference]:
    """Every request until one is refused, is not complete, or ends the connection."""
    found = []
    while (one := read(data)) is not None:
        found.append(one)
        options = [value.lower().split(b",") for name, value in one.headers if name == b"connection"]
        if any(option.strip() == b"close" for listed in options for option in listed):
            break
        data = one.left
    return found
