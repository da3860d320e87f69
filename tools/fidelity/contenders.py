"""Says what tells the step times of a point, fitted only to points and kernels of other GPUs or other models.

Leaving out a GPU means: no point of it is fitted to, and the roofline does not know its kernels, as if nobody had ever
measured one. Leaving out a model means the same of the model. Kernels themselves are measurements of another kind than
the points (single operations, by another tool), so a point is judged with the kernels of its own GPU and model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tierwise_sim.fitted import Efficiencies, Fit, FittedRoofline
from tierwise_sim.kernels import KernelsUnavailable, kernels
from tierwise_sim.roofline import Roofline
from tierwise_sim.step_time import Overheads, StepTime, WithOverheads
from tools.fidelity import plausible
from tools.fidelity.overheads import Bare, Played, bare, fitted
from tools.fidelity.points import Point

ROOFLINE, KERNELS = "roofline", "kernels"
FITTED, WITH_OVERHEADS = "fitted roofline", "kernels with overheads"
NOTHING, A_GPU, A_MODEL = "nothing", "the GPU", "the model"


@dataclass(frozen=True, slots=True)
class Contender:
    """A way to tell step times, and what was left out of its fit: nothing where nothing is fitted."""

    name: str
    left_out: str

    def __str__(self) -> str:
        return self.name if self.left_out == NOTHING else f"{self.name}, {self.left_out} left out"


CONTENDERS = (
    Contender(ROOFLINE, NOTHING),
    Contender(FITTED, A_GPU),
    Contender(FITTED, A_MODEL),
    Contender(KERNELS, NOTHING),
    Contender(WITH_OVERHEADS, A_GPU),
    Contender(WITH_OVERHEADS, A_MODEL),
)


@dataclass(frozen=True)
class Bench:
    """Everything that may be fitted to: the points, played, and the roofline's fit to measured kernels."""

    played: Sequence[Played]
    fit: Fit

    def prepare(self, contender: Contender) -> Callable[[Point], StepTime]:
        """What tells the step times of a point, by a contender; fits are made once per GPU or model left out."""
        if contender.name == ROOFLINE:
            return lambda point: Roofline(point.settings)
        if contender.name == KERNELS:
            return self.kernels
        folds: dict[str, tuple[Overheads, Callable[[Point], StepTime]]] = {}

        def step_time(point: Point) -> StepTime:
            out = point.gpu if contender.left_out == A_GPU else point.model
            if out not in folds:
                folds[out] = self._fold(contender.name, out)
            overheads, gpu = folds[out]
            return WithOverheads(gpu(point), overheads.exposed(point.settings.async_scheduling))

        return step_time

    def _fold(self, name: str, out: str) -> tuple[Overheads, Callable[[Point], StepTime]]:
        """The overheads fitted without a GPU or a model, and what tells the GPU's own work then."""
        gpu = self.kernels if name == WITH_OVERHEADS else self.roofline_without(out)
        if name == WITH_OVERHEADS:
            known = [each for each in self.bare if _other(each.played.point, out)]
        else:
            known = [bare(each, gpu(each.point)) for each in self.played if _other(each.point, out)]
        return fitted([each for each in known if self.possible[each.played.point.id]]), gpu

    @cached_property
    def possible(self) -> dict[str, bool]:
        """By a point's id: whether GPUs can have done the work that it names. What they cannot teaches nothing."""
        return {each.point.id: plausible.possible(each.point, self.kernels(each.point)) for each in self.played}

    @cached_property
    def bare(self) -> list[Bare]:
        """Every point's times by kernels alone."""
        return [bare(each, self.kernels(each.point)) for each in self.played]

    @cached_property
    def kernels(self) -> Callable[[Point], StepTime]:
        """The kernels of a point's engine; where there are none, the roofline that was fitted to all kernels."""

        def step_time(point: Point) -> StepTime:
            try:
                return kernels(point.settings)
            except KernelsUnavailable:
                return self.roofline_without("")(point)

        return step_time

    def roofline_without(self, out: str) -> Callable[[Point], StepTime]:
        """The roofline, fitted to the kernels of all but one GPU or model."""
        known = self.fit.without(out)

        def step_time(point: Point) -> StepTime:
            found = known.of(point.settings)
            return FittedRoofline(point.settings, found[0] if found else Efficiencies())

        return step_time


def _other(point: Point, out: str) -> bool:
    return out not in (point.gpu, point.model)
