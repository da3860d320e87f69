"""Adds what proposing drafts takes to step times from measured kernels, which know the verifying step only.

A draft token is one pass of the draft model: its weights are read once per pass, and every sequence that decodes is
multiplied with them. The roofline counts the same in its own steps; without it speculation would look better than it
is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tierwise_sim.roofline import ARITHMETIC_EFFICIENCY, BANDWIDTH_EFFICIENCY, DRAFT_PASS_OVERHEAD_SECONDS
from tierwise_sim.settings import EngineSettings
from tierwise_sim.step_time import Batch, StepSource, StepTime


@dataclass(frozen=True)
class WithDrafts:
    """Another model's step times, with the passes of the draft model before each step that verifies."""

    inner: StepTime
    settings: EngineSettings

    @property
    def request_seconds(self) -> float:
        """What the other model says."""
        return self.inner.request_seconds

    def seconds(self, batch: Batch) -> float:
        """Duration of one step."""
        return self.inner.seconds(batch) + draft_seconds(self.settings, batch.decodes, batch.drafted)

    def decode_seconds(self, decodes: int) -> Callable[[int], float]:
        """Of steps that draft nothing."""
        return self.inner.decode_seconds(decodes)


def draft_seconds(settings: EngineSettings, decodes: int, drafted: int) -> float:
    """Seconds in which `drafted` tokens are proposed for each of `decodes` sequences."""
    speculation = settings.speculation
    if speculation is None or not drafted or not decodes:
        return 0.0
    read = settings.draft_bytes / (settings.gpu.bandwidth * 1e9 * BANDWIDTH_EFFICIENCY)
    multiplied = 2 * speculation.draft_params_b * 1e9 * decodes / settings.tensor_parallel
    computed = multiplied / (settings.gpu.bf16 * 1e12 * ARITHMETIC_EFFICIENCY)
    return drafted * (max(read, computed) + DRAFT_PASS_OVERHEAD_SECONDS)


def with_drafts(steps: StepSource, settings: EngineSettings) -> StepSource:
    """The step times of an engine with everything that speculation takes; a roofline has it already."""
    if settings.speculation is None or steps.source != "kernels":
        return steps
    return replace(
        steps, step_time=WithDrafts(steps.step_time, settings), detail=f"{steps.detail}; drafts by data sheet"
    )
