"""Keeps the steps of one decision: who changed the number of replicas, to what, and why.

Every step is kept, changed or not: the trail is what `tierwise explain`, the condition and the Event show.
"""

from __future__ import annotations

from collections.abc import Iterable

from tierwise import reasons
from tierwise.types import Step

_LIMITS = frozenset(
    {
        reasons.MIN_REPLICAS,
        reasons.MAX_REPLICAS,
        reasons.NO_METRICS,
        reasons.NO_MEMORY,
        reasons.SCALE_DOWN_WINDOW,
        reasons.HEADROOM,
        reasons.PINNED,
        reasons.NO_ROUTER_METRICS,
        reasons.NOT_ROUTED,
        reasons.TARGET,
    }
)


class Trail:
    """The steps so far, and the replicas after them."""

    def __init__(self, current: int, steps: Iterable[Step] = ()) -> None:
        """`current`: the replicas that are asked for now. `steps`: those that were taken before."""
        self.current = self.replicas = current
        self.steps: list[Step] = []
        self.limited_by = ""
        for each in steps:
            self.step(each.name, each.replicas, each.reason, each.message)

    def step(self, name: str, replicas: int, reason: str = "", message: str = "") -> None:
        """Add a step. With a reason it changed something, or kept it from changing."""
        self.replicas = replicas
        self.steps.append(Step(name, replicas, reason, message))
        if reason in _LIMITS:
            self.limited_by = reason

    def reason(self, name: str) -> str:
        """The reason of the last step of this name; empty when it had none, or was not taken."""
        return next((step.reason for step in reversed(self.steps) if step.name == name), "")

    def message(self, reason: str) -> str:
        """What the last step with this reason said."""
        return next((step.message for step in reversed(self.steps) if step.reason == reason), "")
