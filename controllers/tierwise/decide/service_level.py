"""Judges whether a tier keeps its service level, from what its engines counted in the last minute.

A percentile over a minute is a matter of chance: of a hundred requests one is late where 99 % are promised, and now and
then three are. So a target is missed when more are late than chance would make of what is allowed (two standard
deviations above it), and kept when no more are late than allowed. Between the two nothing is said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tierwise.api.service_targets import ServiceTargets
from tierwise.types import Signal, TierSignals

_DEVIATIONS = 2.0
_FEWEST = 3  # late requests


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the service level was missed (a sentence says how) or kept. `excess`: how many times the late requests
    from which on it is missed."""

    missed: str = ""
    excess: float = 0.0


def judge(signals: TierSignals, targets: ServiceTargets | None) -> Verdict | None:
    """The verdict on the last minute; None without targets, without measurements, and where chance decides."""
    if targets is None:
        return None
    found = []
    if targets.ttft is not None:
        what = f"had no token after {targets.ttft.milliseconds} ms"
        found.append(_one(signals.begun_lately, signals.late_first_tokens, targets.ttft.allowed, what))
    if targets.inter_token is not None:
        what = f"took more than {targets.inter_token.milliseconds} ms per token"
        found.append(_one(signals.spoken_lately, signals.late_answers, targets.inter_token.allowed, what))
    missed = [each for each in found if each is not None and each.missed]
    if missed:
        return max(missed, key=lambda each: each.excess)
    return Verdict() if found and None not in found else None


def _one(counted: Signal, late: Signal, allowed: float, what: str) -> Verdict | None:
    if not (counted.has_value and late.has_value) or counted.value < 1:
        return None
    expected = counted.value * allowed
    if late.value <= expected:
        return Verdict()
    limit = max(_FEWEST, expected + _DEVIATIONS * math.sqrt(expected))
    if late.value < limit:
        return None
    said = f"{late.value:.0f} of {counted.value:.0f} requests {what}, {allowed:.0%} may"
    return Verdict(said, late.value / limit)
