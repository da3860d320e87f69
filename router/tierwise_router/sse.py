"""Cuts a stream of server-sent events into whole events, without changing a byte of them.

Events arrive cut anywhere, with LF, CR or CRLF, with comments between them. What is passed on is the same bytes in the
same order; only whole events are ever left out. An event that is longer than the limit is passed on as it comes and
not read, so that no stream can fill the memory.
"""

from __future__ import annotations

import re

MOST_EVENT_BYTES = 1 << 20

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r)(?:\r\n|\n|\r)")


class EventSplitter:
    """Feed bytes, get whole events, each with the blank line that ends it.

    An event that was too long comes in pieces; `oversized` is then true until its end has come."""

    __slots__ = ("_carriage", "_rest", "oversized")

    def __init__(self) -> None:
        self._rest = b""
        self._carriage = False
        self.oversized = False

    def feed(self, data: bytes) -> list[bytes]:
        """The events that are complete now."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        if not self._carriage and b"\r" not in data:
            # Almost every engine and provider: LF only.
            if data.endswith(b"\n\n") and data.find(b"\n\n") == len(data) - 2 and not self.oversized:
                return [data]
            end = data.rfind(b"\n\n")
            if end < 0:
                return self._keep(data)
            events = [piece + b"\n\n" for piece in data[:end].split(b"\n\n")]
            self.oversized = False
            return events + self._keep(data[end + 2 :])
        self._carriage = True
        events = []
        at = 0
        for blank in _BLANK_LINE.finditer(data):
            # A CR at the very end may be half of a CRLF: its LF must stay with it.
            if blank.end() == len(data) and data.endswith(b"\r"):
                break
            events.append(data[at : blank.end()])
            at = blank.end()
            self.oversized = False
        return events + self._keep(data[at:])

    def rest(self) -> bytes:
        """What has come of an event that never ended."""
        rest, self._rest = self._rest, b""
        return rest

    def _keep(self, rest: bytes) -> list[bytes]:
        if self.oversized or len(rest) > MOST_EVENT_BYTES:
            self.oversized = True
            # The last two bytes may be the beginning of the blank line.
            self._rest = rest[-2:]
            return [rest[:-2]] if len(rest) > 2 else []
        self._rest = rest
        return []


def data_of(event: bytes) -> bytes | None:
    """The data of an event, its lines joined by LF; None where it has none (a comment, an id)."""
    if event.startswith(b"data: ") and event.endswith(b"\n\n") and b"\n" not in event[:-2] and b"\r" not in event:
        return event[6:-2]
    lines = []
    for line in _LINE_END.split(event):
        if line.startswith(b"data:"):
            lines.append(line[6:] if line.startswith(b"data: ") else line[5:])
    return b"\n".join(lines) if lines else None
