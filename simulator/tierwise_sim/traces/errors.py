"""Defines the error of a trace that cannot be read or made.

One error for every format, so that a caller catches one. Its message names the place, the reason, and what was expected.
"""

from __future__ import annotations

from tierwise.errors import Invalid


class TraceError(Invalid):
    """A trace that says something impossible, or nothing. Trying again changes nothing."""


def at_line(file: object, line: int, reason: str, expected: str) -> TraceError:
    """The error of one line: `FILE:LINE: reason; expected ...`. Lines count from 1."""
    return TraceError(f"{file}:{line}: {reason}; expected {expected}")
