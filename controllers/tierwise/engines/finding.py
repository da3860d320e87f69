"""Describes a finding: what is wrong with a spec, in words that fit a condition."""

from __future__ import annotations

from dataclasses import dataclass

from tierwise.reasons import UNSUPPORTED


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding about a spec. `reason` is a constant of tierwise.reasons; only a `fatal` one forbids serving.

    A finding that is not fatal is advice (its reason stands under Advice): the spec is served as it is."""

    reason: str
    message: str
    fatal: bool = True


def missing(engine: str, release: str, what: str, remedy: str | None) -> Finding:
    """A release of the engine does not have `what` (field and value); `remedy` tells what to do instead, when known."""
    return Finding(UNSUPPORTED, f"{engine} {release} does not have {what}" + (f": {remedy}" if remedy else ""))
