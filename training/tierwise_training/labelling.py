"""Asks everything that labels need, several prompts at a time, and stops where the budget does.

A prompt's questions come one after the other: both tiers, then a judge who must see the answers. Each answer is kept at
once. A request's most possible cost is held back before it is sent and given back when its tokens are known, so that
the budget is not passed whatever the answers turn out to be; `estimate.most` says what is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tierwise.errors import Transient
from tierwise.routing.route import TokenRates
from tierwise_training import estimate
from tierwise_training.asking import Router
from tierwise_training.journal import Journal
from tierwise_training.make_labels import open_questions
from tierwise_training.prompts import Prompt
from tierwise_training.questions import Plan, Question

NOBODY_ANSWERS = 10
"""So many prompts without an answer one after the other, and the run ends: the endpoint is away."""

Progress = Callable[[int, Decimal], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `why` says why it stopped before its end, empty where it did not; `failed` are prompts that got
    no answer to a question."""

    spent: Decimal
    failed: int = 0
    why: str = ""


class Budget:
    """US dollars of one run: what is spent, and what is held for requests that are under way. None is no limit."""

    def __init__(self, limit: Decimal | None, spent: Decimal = Decimal(0)) -> None:
        self.limit = limit
        self.spent = spent
        self._held = Decimal(0)
        self._changed = asyncio.Condition()

    async def hold(self, amount: Decimal) -> bool:
        """Hold an amount, waiting for requests under way to cost less than they might. Whether there is room for it."""
        async with self._changed:
            while self.limit is not None and self.spent + self._held + amount > self.limit:
                if not self._held or self.spent + amount > self.limit:
                    return False
                await self._changed.wait()
            self._held += amount
            return True

    async def settle(self, held: Decimal, cost: Decimal) -> None:
        """A request has ended, and cost so much."""
        async with self._changed:
            self._held -= held
            self.spent += cost
            self._changed.notify_all()


class Labelling:
    """One run over prompts. `stop` ends it: what is under way is given up and asked again by the next run."""

    def __init__(
        self, router: Router, journal: Journal, plan: Plan, rates: Mapping[str, TokenRates], budget: Budget
    ) -> None:
        self._router = router
        self._journal = journal
        self._plan = plan
        self._rates = rates
        self._budget = budget
        self._spent_out = False
        self._failed = 0
        self._failed_in_a_row = 0

    async def run(self, prompts: Sequence[Prompt], concurrency: int, done: Progress, stop: asyncio.Event) -> Outcome:
        """Ask what is not asked yet about these prompts, in their order. Raises Invalid, Refused or Transient where
        nothing would come of going on."""
        self._failed = 0
        left = iter([prompt for prompt in prompts if open_questions(prompt, self._plan, self._journal.answers)])

        async def work() -> None:
            for prompt in left:
                if not await self._prompt(prompt):
                    return
                done(1, self._budget.spent)

        workers = [asyncio.create_task(work()) for _ in range(concurrency)]
        stopping: asyncio.Future[Any] = asyncio.create_task(stop.wait())
        everything: asyncio.Future[Any] = asyncio.gather(*workers)
        try:
            await asyncio.wait([everything, stopping], return_when=asyncio.FIRST_COMPLETED)
            if everything.done():
                everything.result()
        finally:
            for task in (*workers, stopping):
                task.cancel()
            await asyncio.gather(everything, *workers, stopping, return_exceptions=True)
        why = "it was told to stop" if stop.is_set() else "the budget is used up" if self._spent_out else ""
        return Outcome(self._budget.spent, self._failed, why)

    async def _prompt(self, prompt: Prompt) -> bool:
        """Everything about one prompt; whether to go on with the next."""
        while questions := open_questions(prompt, self._plan, self._journal.answers):
            for question in questions:
                try:
                    if not await self._ask(question):
                        self._spent_out = True
                        return False
                except Transient as error:
                    self._failed += 1
                    self._failed_in_a_row += 1
                    if self._failed_in_a_row >= NOBODY_ANSWERS:
                        raise Transient(f"{NOBODY_ANSWERS} prompts in a row got no answer: {error.message}") from error
                    return True
                self._failed_in_a_row = 0
        return not self._spent_out

    async def _ask(self, question: Question) -> bool:
        held = estimate.most(question, self._rates)
        if not await self._budget.hold(held):
            return False
        cost = Decimal(0)
        try:
            answer = await self._router.ask(question)
            cost = Decimal(answer.cost or "0")
            self._journal.add(question.key, answer)
        finally:
            await self._budget.settle(held, cost)
        return True
