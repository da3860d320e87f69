"""Plans which loads to measure on an engine, and fits step times to what was measured.

Every load is a closed loop, so its schedule does not depend on the durations that are sought (`closed_loop`), and a fit
needs no further request. The loads that are fitted to span what is asked for; those that judge lie between them, and
are never fitted to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tierwise_sim.calibrated import Calibrated, Calibration, Judged, LoadPoint, Rates
from tierwise_sim.closed_loop import Figures, Schedule, figures, schedule, timed
from tierwise_sim.fitting import best_fit
from tierwise_sim.sequence import Request
from tierwise_sim.settings import EngineSettings
from tierwise_sim.step_time import Overheads

# Seconds: (least, where the search begins, most). From a data-centre GPU to a laptop's processor.
_SOUGHT: Mapping[str, tuple[float, float, float]] = {
    "weights": (1e-5, 5e-3, 10.0),
    "token": (1e-8, 1e-4, 1.0),
    "context": (1e-11, 1e-7, 1e-2),
    "step": (1e-6, 1e-3, 1.0),
    "sequence": (1e-8, 1e-5, 0.1),
    "prompt": (1e-7, 1e-3, 1.0),
    "request": (1e-6, 5e-3, 5.0),
}
# Arithmetic of a query-key pair per token: 2 x layers x hidden size / parameters, 2e-5 (70B) to 5e-5 (1B) if dense.
# Prompts of some thousand tokens do not show it, and a fit that was free to choose would say anything.
_PAIR_PER_TOKEN = 3e-5


@dataclass(frozen=True, slots=True)
class Plan:
    """The loads to fit to, and those to judge with."""

    fitted: tuple[LoadPoint, ...]
    judging: tuple[LoadPoint, ...]

    @property
    def loads(self) -> tuple[LoadPoint, ...]:
        """All of them, as they are measured."""
        return self.fitted + self.judging

    def requests(self, waves: int) -> int:
        """How many requests measuring them takes."""
        return sum(load.users * waves for load in self.loads)


def plan(users: Sequence[int], prompts: Sequence[int], outputs: Sequence[int]) -> Plan:
    """Fit to every combination of users and prompts at the first answer length; judge between them, and at the others.

    Raises ValueError without two different numbers of users and two prompt lengths: one of each tells no slope.
    """
    users, prompts = sorted(set(users)), sorted(set(prompts))
    if len(users) < 2 or len(prompts) < 2 or not outputs:
        raise ValueError("at least two numbers of users, two prompt lengths and one answer length are needed")
    usual = outputs[0]
    grid = tuple(LoadPoint(each, prompt, usual) for prompt in prompts for each in users)
    middle = _between(prompts[0], prompts[-1])
    judging = [LoadPoint(_between(low, high), middle, usual) for low, high in pairwise(users)]
    judging += [LoadPoint(_between(users[0], users[-1]), middle, output) for output in outputs[1:]]
    return Plan(grid, tuple(dict.fromkeys(load for load in judging if load not in grid)))


def _between(low: int, high: int) -> int:
    """The geometric middle of two numbers."""
    return max(1, round(math.sqrt(low * high)))


def order(load: LoadPoint, waves: int, settings: EngineSettings) -> Schedule:
    """What an engine does under a load, without durations. Raises ValueError when a request cannot fit."""
    asked = [Request(str(n), load.prompt_tokens, load.output_tokens) for n in range(load.users * waves)]
    return schedule(settings, asked, load.users)


def said(known: Schedule, step_time: Calibrated) -> Figures:
    """What a benchmark would report of a schedule under these step times."""
    return figures(timed(known, step_time))


def calibrate(
    model: str,
    settings: EngineSettings,
    measured: Mapping[LoadPoint, Figures],
    planned: Plan,
    waves: int,
) -> Calibration:
    """Fit to the measured loads that were planned for it, and judge on the others.

    Raises ValueError when none of the loads to fit to was measured.
    """
    schedules = {load: order(load, waves, settings) for load in measured}
    fitted = [load for load in planned.fitted if load in measured]
    if not fitted:
        raise ValueError("no load was measured that could be fitted to")

    def errors(values: Sequence[float]) -> list[float]:
        step_time, rows = _step_time(values), []
        for load in fitted:
            found, seen = said(schedules[load], step_time), measured[load]
            rows += [found.inter_token / seen.inter_token - 1, found.ttft / seen.ttft - 1]
        return rows

    bounds = [(least, most) for least, _, most in _SOUGHT.values()]
    step_time = _step_time(best_fit(errors, _starts(measured, fitted), bounds))
    judged = []
    for load in measured:
        found, seen = said(schedules[load], step_time), measured[load]
        judged.append(Judged(load, load in fitted, seen.ttft, seen.inter_token, found.ttft, found.inter_token))
    return Calibration(model, settings.max_num_batched_tokens, step_time.rates, step_time.overheads, tuple(judged))


def _starts(measured: Mapping[LoadPoint, Figures], fitted: Sequence[LoadPoint]) -> list[list[float]]:
    """Where the search begins, from the fewest users: a token's time by the difference of two prompts, and the time of
    a step divided in several ways between reading the weights and what is beside it."""
    few = min(load.users for load in fitted)
    alone = sorted((load for load in fitted if load.users == few), key=lambda load: load.prompt_tokens)
    short, long = alone[0], alone[-1]
    more = (measured[long].ttft - measured[short].ttft) / max(1, long.prompt_tokens - short.prompt_tokens)
    step = measured[short].inter_token
    starts = []
    for share in (0.9, 0.6, 0.3):
        begun = {name: start for name, (_, start, _) in _SOUGHT.items()}
        begun |= {"weights": share * step, "step": (1 - share) * step, "sequence": 0.01 * step}
        begun |= {"token": more} if more > 0 else {}
        starts.append([min(most, max(least, begun[name])) for name, (least, _, most) in _SOUGHT.items()])
    return starts


def _step_time(values: Sequence[float]) -> Calibrated:
    named = dict(zip(_SOUGHT, values, strict=True))
    weights, token, context = (named.pop(name) for name in ("weights", "token", "context"))
    return Calibrated(Rates(weights, token, context, _PAIR_PER_TOKEN * token), Overheads(**named))
