"""What is wrong with a spec, in words that fit a condition?"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about a spec. `reason` is a constant of tierwise.reasons; only a `fatal` one forbids serving.

    A finding that is not fatal has the reason Valid: the spec is served as it is, and the message is advice."""

    reason: str
    message: str
    fatal: bool = True
