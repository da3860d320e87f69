"""Runs `tierwise label`: estimates the cost, asks a person, asks the tiers, writes the labels.

The labels are written whenever a run ends, with those that there are: a budget that is used up, a signal or an endpoint
that is away costs what was under way and no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tierwise.errors import Invalid
from tierwise.routing.route import TokenRates
from tierwise_training import audit, labels
from tierwise_training.asking import Limits, Router
from tierwise_training.estimate import LEAST_PILOT, STEP, Estimate, estimate, most, pilot_size
from tierwise_training.journal import SUFFIX, Journal
from tierwise_training.labelling import Budget, Labelling, Outcome
from tierwise_training.make_labels import make_label, open_questions
from tierwise_training.prompts import Prompt
from tierwise_training.questions import Plan, answer_questions

STOPPED = 130


@dataclass(frozen=True)
class Job:
    """What the options say, read and checked. `prompts` in the order in which they are asked; with a `salt` features
    are kept instead of prompts. `keep_prompts`: the person knows that prompts are kept. `budget` in US dollars, for all
    runs together."""

    prompts: Sequence[Prompt]
    plan: Plan
    out: Path
    url: str
    rates: dict[str, TokenRates]
    budget: Decimal
    limits: Limits
    key: str | None = None
    salt: bytes | None = None
    keep_prompts: bool = False
    yes: bool = False
    estimate_only: bool = False

    @property
    def tiers(self) -> list[str]:
        """All tiers that are asked."""
        judge = self.plan.judge_tier
        return [self.plan.small, self.plan.reference, *([judge] if judge else [])]

    @property
    def answers_file(self) -> Path:
        """Where the answers are kept."""
        return self.out.with_name(self.out.name + SUFFIX)


async def label(job: Job, console: Console) -> int:
    """Make the labels; the exit code. Raises TierwiseError, after writing what there is."""
    if not job.yes and not job.estimate_only and not sys.stdin.isatty():
        raise Invalid("there is no terminal to ask whether to go on: say --yes, or --estimate-only first")
    with Journal(job.answers_file) as journal:
        job = await _checked(job)
        spent = sum((Decimal(answer.cost or "0") for answer in journal.answers.values()), Decimal(0))
        budget = Budget(job.budget, spent)
        try:
            async with (
                Router(job.url, job.key, job.rates, job.limits) as router,
                _signals() as stop,
            ):
                labelling = Labelling(router, journal, job.plan, job.rates, budget)
                outcome = await _run(job, labelling, journal, console, stop)
        finally:
            made = _write(job, journal)
    if outcome is None:
        return 0
    console.print(
        f"{made} labels of {len(job.prompts)} prompts in {job.out}; spent ${outcome.spent:.4f}{_uncounted(job)}"
    )
    if job.salt is None and not job.keep_prompts:
        console.print("It holds your prompts in plain text; --features-only keeps salted hashes of them instead.")
    console.print(
        f"{job.answers_file} holds the answers: with it a run goes on, and --audit works. Delete it when done."
    )
    if outcome.failed:
        console.print(f"{outcome.failed} prompts got no answer to a question: run it again to ask them again.")
    if outcome.why:
        console.print(f"Stopped, since {outcome.why}; run it again to go on.")
    return STOPPED if outcome.why.startswith("it was told") else int(bool(outcome.failed or outcome.why))


async def _checked(job: Job) -> Job:
    """The job with its route's name, after the endpoint has said that it knows the tiers. Raises Invalid, Transient."""
    async with Router(job.url, job.key, job.rates, job.limits) as router:
        served = await router.models()
    if missing := sorted(set(job.tiers) - set(served)):
        raise Invalid(
            f"{job.url} serves {', '.join(sorted(served))}, and not {', '.join(missing)}; is directAccess on?"
        )
    if job.plan.route:
        return job
    others = sorted(set(served) - set(job.tiers))
    if len(others) != 1:
        raise Invalid(
            f"say the route's name with --route: {job.url} serves {', '.join(others) or 'no other name'} as well"
        )
    return replace(job, plan=replace(job.plan, route=others[0]))


async def _run(
    job: Job, labelling: Labelling, journal: Journal, console: Console, stop: asyncio.Event
) -> Outcome | None:
    """The pilot, the question, the rest. None where nothing more was wanted."""
    left = [prompt for prompt in job.prompts if open_questions(prompt, job.plan, journal.answers)]
    if left:
        _announce(job, left, console)
    with _progress(console, len(job.prompts), len(job.prompts) - len(left)) as advance:
        outcome, found = await _pilot(job, labelling, journal, stop, advance)
    if left:
        console.print(said(found, job))
    if job.estimate_only or outcome.why:
        return None if job.estimate_only else outcome
    left = [prompt for prompt in job.prompts if open_questions(prompt, job.plan, journal.answers)]
    if left and not job.yes and not await _confirmed(console, stop):
        return None
    with _progress(console, len(job.prompts), len(job.prompts) - len(left)) as advance:
        outcome = await labelling.run(left, job.limits.concurrency, advance, stop)
    if found.cost and not outcome.why and not outcome.failed:
        change = (float(outcome.spent) / found.cost - 1) * 100
        console.print(f"estimated ${found.cost:.4f}, spent ${outcome.spent:.4f} ({change:+.1f} %)")
    return outcome


async def _pilot(
    job: Job, labelling: Labelling, journal: Journal, stop: asyncio.Event, advance: Advance
) -> tuple[Outcome, Estimate]:
    """Ask prompts until the estimate is as certain as wanted, or the most that may be asked before a person
    confirms."""
    cap = pilot_size(len(job.prompts))
    size = min(cap, LEAST_PILOT)
    while True:
        outcome = await labelling.run(job.prompts[:size], job.limits.concurrency, advance, stop)
        found = estimate(job.prompts, job.plan, journal.answers)
        if outcome.why or size >= cap or found.certain:
            return outcome, found
        size = min(cap, size + STEP)


def _announce(job: Job, left: Sequence[Prompt], console: Console) -> None:
    pilot = left[: pilot_size(len(job.prompts))]
    bound = sum((most(one, job.rates) for prompt in pilot for one in answer_questions(prompt, job.plan)), Decimal(0))
    rates = ", ".join(sorted(set(job.tiers) & set(job.rates))) or "no tier"
    console.print(
        f"{len(job.prompts)} prompts, {len(left)} to be asked; prices are known of {rates}. To estimate the cost, "
        f"up to {len(pilot)} of them are asked first, for at most ${min(job.budget, bound):.2f}."
    )


def said(found: Estimate, job: Job) -> str:
    """The estimate as a sentence."""
    if not found.cost:
        money = _uncounted(job) or "; they cost nothing"
        return f"About {found.requests} requests for all {found.prompts} prompts{money}."
    low, high = max(0.0, found.cost - found.error), found.cost + found.error
    text = (
        f"All {found.prompts} prompts cost about ${found.cost:.4f} (95 %: ${low:.4f} to ${high:.4f}) "
        f"in {found.requests} requests; ${found.spent:.4f} of it is spent{_uncounted(job)}."
    )
    if found.cost > job.budget:
        text += (
            f" The budget of ${job.budget} ends it after about {int(float(job.budget) / found.cost * found.prompts)}."
        )
    return text


def _uncounted(job: Job) -> str:
    without = sorted(set(job.tiers) - set(job.rates))
    return f"; not counted: {', '.join(without)} (no price per token)" if without else ""


async def _confirmed(console: Console, stop: asyncio.Event) -> bool:
    """Whether a person says yes. Not in a thread: that could not be ended by Ctrl-C."""
    console.print("Go on? \\[y/N] ", end="")
    said = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), said.set)
    waiting = [asyncio.create_task(event.wait()) for event in (said, stop)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        loop.remove_reader(sys.stdin.fileno())
        for task in waiting:
            task.cancel()
    return not stop.is_set() and sys.stdin.readline().strip().lower() in ("y", "yes")


def _write(job: Job, journal: Journal) -> int:
    """Write the labels that there are; how many. A file with none is not written."""
    answers, audits = journal.answers, journal.audits
    made = [
        found
        for prompt in job.prompts
        if (found := make_label(prompt, job.plan, answers, job.salt, audits.get(prompt.digest))) is not None
    ]
    if made:
        labels.write(job.out, sorted(made, key=lambda one: one.id))
    return len(made)


class Advance:
    """Counts prompts on a progress bar."""

    def __init__(self, bar: Progress, total: int, done: int) -> None:
        self._bar = bar
        self._task = bar.add_task("asking", total=total, completed=done, spent="")

    def __call__(self, prompts: int, spent: Decimal) -> None:
        """So many more are done, and so much is spent by now."""
        self._bar.update(self._task, advance=prompts, spent=f"${spent:.4f}")


@contextlib.contextmanager
def _progress(console: Console, total: int, done: int) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[spent]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield Advance(bar, total, done)


@contextlib.asynccontextmanager
async def _signals() -> AsyncIterator[asyncio.Event]:
    """Set by SIGINT and SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def audit_pairs(job: Job, wanted: int, console: Console) -> None:
    """Let a person judge pairs, and write what they say into the labels. Raises Invalid where there is nothing to
    judge."""
    found = labels.read(job.out)
    with Journal(job.answers_file) as journal:
        shown = audit.pairs(job.prompts, job.plan, journal.answers, journal.audits, wanted)
        if not shown and not journal.audits:
            raise Invalid(f"{job.answers_file} has no pair for these options: give the same ones as when it was asked")
        try:
            audit.ask(shown, console, sys.stdin.readline, journal.add_audit)
        finally:
            audits = journal.audits
            labels.write(job.out, [_audited(one, audits.get(one.prompt_hash)) for one in found])


def _audited(found: labels.Label, verdict: labels.Verdict | None) -> labels.Label:
    if verdict is None or found.judge is None:
        return found
    return found.model_copy(update={"judge": found.judge.model_copy(update={"audit": verdict})})
