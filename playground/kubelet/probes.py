"""Decides when a probe is due, and what its outcomes mean.

Pure: a probe is a spec, a state and `observe`. The thresholds are those of the kubelet
(pkg/kubelet/prober/worker.go): a result changes only after as many equal outcomes in a row as its threshold
says. A kubelet probes at a random phase of the period; here a container is looked at more often during its
first period, and a failure of such an early look does not count. So a quick server is Ready at once, while
the deadline of a startup probe stays failureThreshold x periodSeconds as documented.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from playground.kubelet.model import Json

FIRST_LOOK_S = 0.1


class Kind(Enum):
    """The three probes, by their key in a container."""

    STARTUP = "startupProbe"
    READINESS = "readinessProbe"
    LIVENESS = "livenessProbe"

    @property
    def word(self) -> str:
        """Return the word the kubelet uses in its messages: Startup, Readiness or Liveness."""
        return self.value.removesuffix("Probe").capitalize()


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """One probe: what to do, how often (seconds) and how many outcomes decide."""

    kind: Kind
    action: Json
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3
    grace: int | None = None


@dataclass(frozen=True, slots=True)
class ProbeState:
    """The result in force (None: nothing known yet) and the current run of equal outcomes."""

    passing: bool | None
    outcome: bool | None = None
    streak: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """One moment to probe: seconds after the container's start, and whether a failure counts."""

    at: float
    counts: bool


def probe_of(container: Json, kind: Kind) -> ProbeSpec | None:
    """Return the container's probe of this kind with the API's defaults, or None."""
    given = container.get(kind.value)
    if not given:
        return None
    actions = {key: given[key] for key in ("httpGet", "tcpSocket", "exec", "grpc") if key in given}
    return ProbeSpec(
        kind=kind,
        action=actions,
        initial_delay=float(given.get("initialDelaySeconds", 0)),
        period=float(given.get("periodSeconds") or 10),
        timeout=float(given.get("timeoutSeconds") or 1),
        success_threshold=int(given.get("successThreshold") or 1),
        failure_threshold=int(given.get("failureThreshold") or 3),
        grace=given.get("terminationGracePeriodSeconds"),
    )


def initial_state(kind: Kind) -> ProbeState:
    """Return what holds before the first outcome: alive, not ready, start unknown."""
    return ProbeState({Kind.LIVENESS: True, Kind.READINESS: False, Kind.STARTUP: None}[kind])


def observe(state: ProbeState, spec: ProbeSpec, outcome: bool) -> ProbeState:
    """Return the state after one more counted outcome."""
    streak = state.streak + 1 if state.outcome is outcome else 1
    threshold = spec.success_threshold if outcome else spec.failure_threshold
    passing = outcome if streak >= threshold else state.passing
    return replace(state, passing=passing, outcome=outcome, streak=streak)


def looks(spec: ProbeSpec, since_start: float = 0.0) -> Iterator[Look]:
    """Yield the moments to probe, for ever: early looks in the first period, then every period.

    `since_start` is the container's age when this probe begins (later than 0 after a startup probe).
    """
    base = max(spec.initial_delay, since_start)
    offset = FIRST_LOOK_S
    while offset < spec.period:
        yield Look(base + offset, counts=False)
        offset *= 2
    tick = 1
    while True:
        yield Look(base + tick * spec.period, counts=True)
        tick += 1
