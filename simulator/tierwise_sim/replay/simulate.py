"""Simulates one scenario from its beginning to its result: what the command, sweeps and comparisons call."""

from __future__ import annotations

from collections.abc import Callable

from tierwise_sim.replay import autoscalers
from tierwise_sim.replay.result import SimulationResult
from tierwise_sim.replay.run import Simulation
from tierwise_sim.replay.scenario import Scenario
from tierwise_sim.replay.summary import summary


def simulate(
    scenario: Scenario,
    autoscaler: str = autoscalers.OURS,
    rule: str = "",
    shown: Callable[[float], None] | None = None,
) -> SimulationResult:
    """What comes of a scenario when this autoscaler decides, and this rule divides a budget among tiers that know
    nothing of each other. `shown` is told the time now and then, in seconds of the simulation.

    Raises Invalid for an autoscaler, or a rule, that nobody knows."""
    simulation = Simulation(scenario, autoscalers.make(autoscaler, scenario, rule))
    for at in simulation.run():
        if shown is not None:
            shown(at)
    return summary(simulation, f"{autoscaler} with {rule}" if rule else autoscaler)
