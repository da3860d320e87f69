"""Estimates what labelling will cost from the first prompts of it, with an interval.

How long answers are cannot be known before any has come. So some prompts are asked first, a random sample since all are
asked in the order of their hashes, and the mean of each kind of question times their number is the estimate. More of
them are asked until its 95 % interval is at most 12 % wide to each side, or half of the prompts, or 200, are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tierwise.routing.cost import estimate as request_estimate
from tierwise.routing.route import Tariff, TokenRates
from tierwise_training.intervals import mean
from tierwise_training.make_labels import all_questions, open_questions
from tierwise_training.prompts import Prompt
from tierwise_training.questions import Answers, Plan, Question, answer_questions, comparisons, judge_questions, sampled

LEAST_PILOT = 20
MOST_PILOT = 200
STEP = 10
WANTED = 0.12
_Z = 1.96
_BYTES_PER_TOKEN = 2  # of a text in English it is four; a limit must hold for code and Chinese too
_LARGEST = 8192


@dataclass(frozen=True, slots=True)
class Estimate:
    """US dollars of all of it, with what is spent already. `error` is half the 95 % interval. `requests`: of all."""

    cost: float
    error: float
    spent: Decimal
    requests: int
    prompts: int

    @property
    def certain(self) -> bool:
        """Whether the interval is as short as wanted."""
        return self.error <= WANTED * self.cost


def pilot_size(prompts: int) -> int:
    """The most prompts that are asked before anything is confirmed."""
    return min(prompts, max(LEAST_PILOT, min(MOST_PILOT, -(-prompts // 2))))


def estimate(prompts: Sequence[Prompt], plan: Plan, answers: Answers) -> Estimate:
    """What labelling all these prompts costs, by those that are done. `prompts` in the order in which they are
    asked."""
    base: list[float] = []
    by_use: dict[str, list[float]] = {"small": [], "reference": [], "judge": []}
    calls: list[int] = []
    for prompt in prompts:
        if open_questions(prompt, plan, answers):
            continue
        asked = {question.use: question for question in answer_questions(prompt, plan)}
        pair = comparisons(prompt, plan, answers).get("small")
        judged = [] if pair is None else judge_questions(prompt, plan, pair)
        small, reference = (_cost(answers, [asked[use]]) for use in ("small", "reference"))
        judge = _cost(answers, judged)
        base.append(small + reference + judge)
        calls.append(2 + len(judged))
        for use, value in (("small", small), ("reference", reference), ("judge", judge)):
            by_use[use].append(value)
    size = len(prompts)
    each = mean(base, size)
    agains = sum(sampled(prompt, "again", plan.again_percent) for prompt in prompts)
    ceilings = sum(sampled(prompt, "ceiling", plan.ceiling_percent) for prompt in prompts)
    small, reference, judge = (mean(by_use[use], size).value for use in ("small", "reference", "judge"))
    total = size * each.value + agains * (small + judge) + ceilings * (reference + judge)
    known = {q.key: q for prompt in prompts for q in all_questions(prompt, plan, answers) if q.key in answers}
    per_prompt = mean([float(number) for number in calls], size).value
    judges = max(0.0, per_prompt - 2) if calls else math.nan
    requests = size * per_prompt + agains * (1 + judges) + ceilings * (1 + judges)
    scale = total / (size * each.value) if each.value else 1.0
    return Estimate(
        cost=total,
        error=_Z * each.error * size * scale if total else 0.0,
        spent=sum((Decimal(answers[key].cost or "0") for key in known), Decimal(0)),
        requests=0 if math.isnan(requests) else round(requests),
        prompts=size,
    )


def _cost(answers: Answers, asked: Sequence[Question]) -> float:
    return float(sum((Decimal(answers[question.key].cost or "0") for question in asked), Decimal(0)))


def most(question: Question, rates: Mapping[str, TokenRates]) -> Decimal:
    """What one request may cost at most, to hold the budget before it is sent: the prompt at two bytes a token, and an
    answer of `max_tokens`, or of 8,192 tokens where the request sets no limit. Nothing where the tier has no price."""
    price = rates.get(question.tier)
    if price is None:
        return Decimal(0)
    prompt = sum(len(str(message.get("content", "")).encode()) for message in question.body["messages"])
    limit = question.body.get("max_completion_tokens", question.body.get("max_tokens"))
    tokens = limit if isinstance(limit, int) and limit > 0 else _LARGEST
    # The router's estimate caps an answer at 4,096 tokens; here a budget is a promise, so longer ones count as asked.
    more = max(0, tokens - 4_096) * price.output / 1_000_000
    return request_estimate(prompt // _BYTES_PER_TOKEN + 64, tokens, Tariff(price)) + more
