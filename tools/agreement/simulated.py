"""Simulates the scene: the same manifests and requests, with the start-up time that the playground had."""

from __future__ import annotations

from collections.abc import Sequence

from tierwise_sim.replay import manifests
from tierwise_sim.replay.run import Simulation
from tierwise_sim.replay.scenario import Scenario
from tierwise_sim.settings import EngineSettings
from tierwise_sim.step_source import step_source
from tierwise_sim.step_time import StepSource
from tierwise_sim.traces.arrival import Arrival
from tools.agreement import scene
from tools.agreement.compare import Steps, Timeline


def simulate(name: str, requests: Sequence[Arrival], startup: float) -> Timeline:
    """Replicas over time, as `tierwise simulate` has them."""
    found = manifests.read(scene.documents(), manifests.Assumed(startup_seconds=startup, steps=_steps))
    given = Scenario(found.tiers, found.route_name, found.route, scene.trace(name, requests), seed=scene.SEED)
    done = Simulation(given)
    for _ in done.run():
        pass
    points = done.fleets[scene.TIER].timeline
    return Timeline(
        _steps_of([(point.at, point.desired) for point in points]),
        _steps_of([(point.at, point.ready) for point in points]),
    )


def _steps(tier: str, settings: EngineSettings) -> StepSource:
    """As the engine's own server chooses them (`tierwise_sim.server`)."""
    return step_source(settings)


def _steps_of(points: Sequence[tuple[float, int]]) -> Steps:
    found: list[tuple[float, int]] = []
    for at, value in points:
        if not found or found[-1][1] != value:
            found.append((round(at, 2), value))
    return found
