"""Plays a closed loop in virtual time: so many users, each of whom asks again as soon as it was answered.

That is how engines are benchmarked, so it is how the engine model is compared with benchmarks, and how an engine's own
measurements are turned into parameters. In a closed loop the order of things does not depend on how long a step takes:
a request starts when another ends. So one run gives a `Schedule`, from which the times under any other step times
follow without running the engine again, and a fit is a matter of milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random

from tierwise_sim.engine import Engine
from tierwise_sim.sequence import Rejection, Request, Sequence
from tierwise_sim.settings import EngineSettings
from tierwise_sim.step_time import Batch, StepTime


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered request: when it was asked, its first token and its end, in seconds; and its answer's tokens."""

    asked: float
    first_token: float
    end: float
    output_tokens: int

    @property
    def ttft(self) -> float:
        """Seconds to the first token."""
        return self.first_token - self.asked

    @property
    def inter_token(self) -> float | None:
        """Mean seconds between two tokens; None for a single token. vLLM's benchmark calls it TPOT."""
        return (self.end - self.first_token) / (self.output_tokens - 1) if self.output_tokens > 1 else None


@dataclass(frozen=True, slots=True)
class Figures:
    """What a benchmark reports: mean seconds to the first token and between tokens, generated tokens per second."""

    ttft: float
    inter_token: float
    tokens_per_second: float


def figures(answers: Iterable[Answer]) -> Figures:
    """The means over requests, as vLLM's benchmark takes them. Raises ValueError without an answer of two tokens."""
    answered = list(answers)
    gaps = [gap for each in answered if (gap := each.inter_token) is not None]
    if not gaps:
        raise ValueError("no request had an answer of two tokens or more")
    seconds = max(each.end for each in answered) - min(each.asked for each in answered)
    return Figures(
        sum(each.ttft for each in answered) / len(answered),
        sum(gaps) / len(gaps),
        sum(each.output_tokens for each in answered) / seconds,
    )


def play(engine: Engine, requests: Iterable[Request], users: int) -> list[Answer]:
    """Send all requests, `users` at a time; the answers, in the order in which they ended.

    Raises RuntimeError when the engine refuses one.
    """
    asked = iter(requests)
    answers: list[Answer] = []
    for _, request in zip(range(users), asked, strict=False):
        _submit(engine, request)
    while engine.unfinished:
        for each in engine.advance(math.inf, to_finish=True):
            answers.append(_answer(each))
            if (following := next(asked, None)) is not None:
                _submit(engine, following)
    return answers


def _submit(engine: Engine, request: Request) -> None:
    if isinstance(outcome := engine.submit(request, engine.now), Rejection):
        raise RuntimeError(f"request {request.id} was refused: {outcome.reason}")


def _answer(sequence: Sequence) -> Answer:
    first, end = sequence.first_token_at, sequence.finished_at
    if first is None or end is None:
        raise RuntimeError(f"request {sequence.request.id} ended without an answer")
    return Answer(sequence.arrival, first, end, sequence.generated)


@dataclass(frozen=True, slots=True)
class Schedule:
    """What an engine did, without durations: its plans in order, and the answers in steps instead of seconds.

    A plan is the batch of its first step and a number of steps; each further one has one more token per decode.
    """

    plans: tuple[tuple[Batch, int], ...]
    answers: tuple[Answer, ...]


class _Unit:
    """Every step lasts one second: times are counts of steps."""

    request_seconds = 0.0

    def seconds(self, batch: Batch) -> float:
        return 1.0

    def decode_seconds(self, decodes: int) -> Callable[[int], float]:
        return lambda context: 1.0


def schedule(settings: EngineSettings, requests: Iterable[Request], users: int) -> Schedule:
    """The order in which an engine with these settings does the work of a closed loop."""
    plans: list[tuple[Batch, int]] = []
    engine = Engine(settings, Random(0), step_time=_Unit(), watch=lambda *plan: plans.append(plan))  # noqa: S311
    answers = play(engine, requests, users)
    return Schedule(tuple(plans), tuple(answers))


def timed(known: Schedule, step_time: StepTime) -> list[Answer]:
    """The answers of a schedule when steps last as `step_time` says.

    A run of decode steps is taken as its first, middle and last one (Simpson's rule): their durations are all but
    linear in the context. What a request waits before it reaches the scheduler is added to its first token, and does
    not delay anything else, which a run of the engine itself would show.
    """
    now, done, at = 0.0, 0, {0: 0.0}
    for seconds, steps in _durations(known, step_time):
        now, done = now + seconds, done + steps
        at[done] = now
    later = step_time.request_seconds

    def moved(answer: Answer) -> Answer:
        asked, first, end = (at[round(step)] for step in (answer.asked, answer.first_token, answer.end))
        return Answer(asked, first + later, end + later, answer.output_tokens)

    return [moved(each) for each in known.answers]


def _durations(known: Schedule, step_time: StepTime) -> Iterator[tuple[float, int]]:
    for batch, steps in known.plans:
        if steps == 1:
            yield step_time.seconds(batch), 1
            continue
        one, grown = step_time.decode_seconds(batch.decodes), batch.decodes * (steps - 1)
        ends = one(batch.decode_context) + one(batch.decode_context + grown)
        yield steps * (ends + 4 * one(batch.decode_context + grown // 2)) / 6, steps
