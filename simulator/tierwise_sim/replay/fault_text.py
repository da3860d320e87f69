"""Reads the short text that plans a fault, such as `prometheus-away@600+600` or `small:node-lost@1200`."""

from __future__ import annotations

import re
from collections.abc import Collection

from tierwise.errors import Invalid
from tierwise_sim.replay.scenario import Fault, FaultKind

_FORM = re.compile(
    r"(?:(?P<tier>[a-z][-a-z0-9]*):)?(?P<kind>[a-z-]+)@(?P<at>\d+(?:\.\d+)?)(?:\+(?P<seconds>\d+(?:\.\d+)?))?"
)
_KINDS = ", ".join(kind.value for kind in FaultKind)
HELP = f"[TIER:]KIND@SECOND[+SECONDS], KIND one of {_KINDS}"


def fault_of(text: str, served: Collection[str]) -> Fault:
    """The fault that a text plans. `served`: the tiers that have replicas. Raises Invalid with what was expected."""
    match = _FORM.fullmatch(text)
    if match is None or match["kind"] not in {kind.value for kind in FaultKind}:
        raise Invalid(f"--fault {text!r} is not understood; expected {HELP}")
    if match["tier"] and match["tier"] not in served:
        raise Invalid(f"--fault {text!r}: there is no served tier {match['tier']!r}; there are {', '.join(served)}")
    return Fault(
        at=float(match["at"]),
        kind=FaultKind(match["kind"]),
        seconds=float(match["seconds"] or 0),
        tier=match["tier"] or "",
    )
