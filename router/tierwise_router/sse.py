"""Cuts a stream of server-sent events into whole events, without changing a byte of them.

Events arrive cut anywhere, with LF, CR or CRLF, with comments between them. What is passed on is the same bytes in the
same order; only whole events are ever left out. An event that is longer than the limit is passed on as it comes and
not read, so that no stream can fill the memory.
"""

from __future__ import annotations

import re

MOST_EVENT_BYTES = 1 << 20

_LINE_END = re.compile(rb"\r\n|\n|\r")
# Atomic: a CRLF is one end of a line, and never a CR with an empty line behind it.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")


class EventSplitter:
    """Feed bytes, get whole events, each with the blank line that ends it.

    An event that was too long comes in pieces. `oversized` says whether one is under way: if it is before `feed`, the
    first piece belongs to it, and if it is afterwards, the last."""

    __slots__ = ("_carriage", "_rest", "oversized")

    def __init__(self) -> None:
        self._rest = b""
        self._carriage = False
        self.oversized = False

    def feed(self, data: bytes) -> list[bytes]:
        """The events that are complete now."""
        known = len(self._rest)
        if known:
            data = self._rest + data
            self._rest = b""
        if self._carriage or b"\r" in data:
            self._carriage = True
            return self._with_carriage_returns(data, known)
        # Almost every engine and provider: LF only.
        end = data.rfind(b"\n\n", max(0, known - 1))
        if end < 0:
            return self._keep(data)
        if end == len(data) - 2 and data.find(b"\n\n") == end:
            self.oversized = False
            return [data]
        events = [piece + b"\n\n" for piece in data[:end].split(b"\n\n")]
        self.oversized = False
        return events + self._keep(data[end + 2 :])

    @property
    def between(self) -> bool:
        """Whether nothing of an event is kept, and lines end with LF alone: what comes begins an event."""
        return not (self._rest or self._carriage or self.oversized)

    def rest(self) -> bytes:
        """What has come of an event that never ended."""
        rest, self._rest = self._rest, b""
        return rest

    def _with_carriage_returns(self, data: bytes, known: int) -> list[bytes]:
        events = []
        at = 0
        # The blank line may have begun in what was known; nothing before its last three bytes can be part of one.
        for blank in _BLANK_LINE.finditer(data, max(0, known - 3)):
            # A CR at the very end may be half of a CRLF: its LF must stay with it.
            if blank.end() == len(data) and data.endswith(b"\r"):
                break
            events.append(data[at : blank.end()])
            at = blank.end()
            self.oversized = False
        return events + self._keep(data[at:])

    def _keep(self, rest: bytes) -> list[bytes]:
        if self.oversized or len(rest) > MOST_EVENT_BYTES:
            self.oversized = True
            # The last three bytes may be the beginning of the blank line.
            self._rest = rest[-3:]
            return [rest[:-3]] if len(rest) > 3 else []
        self._rest = rest
        return []


def ends_with_blank_line(event: bytes) -> bool:
    """Whether what is left at the end of a stream is whole: it was kept since the LF of its last CR could come."""
    return event.endswith(b"\r") and _BLANK_LINE.search(event, max(0, len(event) - 3)) is not None


def data_of(event: bytes) -> bytes | None:
    """The data of an event, its lines joined by LF; None where it has none (a comment, an id)."""
    if event.startswith(b"data: ") and event.endswith(b"\n\n") and b"\n" not in event[:-2] and b"\r" not in event:
        return event[6:-2]
    lines = []
    for line in _LINE_END.split(event):
        if line.startswith(b"data:"):
            lines.append(line[6:] if line.startswith(b"data: ") else line[5:])
    return b"\n".join(lines) if lines else None
