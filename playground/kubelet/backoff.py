"""Computes how long a container waits before its next start.

The arithmetic of the kubelet's own back-off (pkg/kubelet, client-go util/flowcontrol): the first restart is
immediate, then 10 s doubling to 300 s; a container that stayed up for twice the maximum starts afresh. The
clock is a plain number of seconds handed in, so that a test can live through an hour of crashes.
"""

from __future__ import annotations

from dataclasses import dataclass

INITIAL_S = 10.0
MAXIMUM_S = 300.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """The delay in force and when it was set; the zero delay is "has never failed"."""

    delay: float = 0.0
    updated: float = 0.0
    initial: float = INITIAL_S
    maximum: float = MAXIMUM_S

    def _fresh(self, ended: float) -> bool:
        return self.delay == 0.0 or ended - self.updated > 2 * self.maximum

    def remaining(self, ended: float, now: float) -> float:
        """Return the seconds still to wait for something that ended at `ended`."""
        if self._fresh(ended):
            return 0.0
        return max(0.0, self.delay - (now - ended))  # in this order: exact when nothing has passed yet

    def next(self, ended: float, now: float) -> Backoff:
        """Return the back-off in force after the restart that happens `now`."""
        delay = self.initial if self._fresh(ended) else min(2 * self.delay, self.maximum)
        return Backoff(delay, now, self.initial, self.maximum)


def describe(seconds: float) -> str:
    """Write a delay as Go does in the kubelet's messages: 10s, 40s, 2m40s, 5m0s."""
    whole = int(seconds)
    return f"{whole}s" if whole < 60 else f"{whole // 60}m{whole % 60}s"


def restart_wanted(policy: str, exit_code: int) -> bool:
    """Tell whether a container with this restart policy starts again after this exit code."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)
