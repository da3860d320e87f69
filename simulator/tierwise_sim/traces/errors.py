"""Defines the error of a trace that cannot be read or made.

One error for every format, so that a caller catches one. Its message names the place, the reason, and what was
expected. Whoever looks at one field knows no place and says only the other two; the reader of the line adds it.
"""

from __future__ import annotations

from tierwise.errors import Invalid


class TraceError(Invalid):
    """A trace that says something impossible, or nothing. Trying again changes nothing."""


class FieldProblem(Exception):
    """What is wrong with one row, and what was expected in its place. A reader makes a TraceError of it."""

    def __init__(self, reason: str, expected: str) -> None:
        super().__init__(f"{reason}; expected {expected}")
        self.reason = reason
        self.expected = expected


def at_line(file: object, line: int, reason: str, expected: str) -> TraceError:
    """The error of one line: `FILE:LINE: reason; expected ...`. Lines count from 1."""
    return TraceError(f"{file}:{line}: {reason}; expected {expected}")
