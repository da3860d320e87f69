"""Names the autoscalers that a simulation can ask: ours, a fixed number, and those of others."""

from __future__ import annotations

from collections.abc import Callable

from tierwise.errors import Invalid
from tierwise_sim.replay.scaler import Scaler, Static
from tierwise_sim.replay.scenario import Scenario

OURS = "tierwise"
MADE: dict[str, Callable[[Scenario], Scaler | None]] = {
    OURS: lambda scenario: None,
    "static": lambda scenario: Static(),
}
"""By name. None: the simulation's own operator."""


def make(name: str, scenario: Scenario) -> Scaler | None:
    """The autoscaler of that name, for one run. Raises Invalid with the names that there are."""
    if name not in MADE:
        raise Invalid(f"--autoscaler {name!r} is not known; there are {', '.join(sorted(MADE))}")
    return MADE[name](scenario)


