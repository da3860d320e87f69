"""Checks that the cost is estimated within what it says, and that a price is what its file says."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import pytest

from tests.unit.training.made import PLAN, answer, many, prompt
from tierwise.errors import Invalid
from tierwise.routing.route import TokenRates
from tierwise_training import prices
from tierwise_training.estimate import LEAST_PILOT, STEP, Estimate, estimate, most, pilot_size
from tierwise_training.make_labels import open_questions
from tierwise_training.prompts import Prompt
from tierwise_training.questions import Answer, Question, shuffled

RATES = TokenRates(Decimal(2), Decimal(1), Decimal(2), Decimal(10))


def asked(prompts: list[Prompt], rng: Random, spread: float) -> dict[str, Answer]:
    """All answers, their lengths log-normal as those of models are."""
    answers: dict[str, Answer] = {}
    for one in prompts:
        while questions := open_questions(one, PLAN, answers):
            for question in questions:
                tokens = max(1, round(200 * rng.lognormvariate(-spread * spread / 2, spread)))
                cost = (Decimal(50) * RATES.input + tokens * RATES.output) / 1_000_000
                answers[question.key] = answer(
                    "4", output_tokens=tokens, cost=str(cost if question.tier == "large" else cost / 10)
                )
    return answers


def piloted(prompts: list[Prompt], answers: dict[str, Answer]) -> Estimate:
    """The estimate after as many prompts as the command asks first."""
    size, cap = LEAST_PILOT, pilot_size(len(prompts))
    while True:
        known: dict[str, Answer] = {}
        for one in prompts[:size]:
            while questions := open_questions(one, PLAN, known):
                known |= {question.key: answers[question.key] for question in questions}
        found = estimate(prompts, PLAN, known)
        if size >= cap or found.certain:
            return found
        size = min(cap, size + STEP)


@pytest.mark.parametrize(("spread", "count"), [(0.4, 120), (0.7, 240)])
def test_the_estimate_is_within_15_percent_and_its_interval_holds(spread: float, count: int) -> None:
    rng = Random(f"{spread} {count}")
    near = held = 0
    draws = 20
    for _ in range(draws):
        offset = rng.randrange(10**9)
        prompts = shuffled([prompt(f"What is {offset + number} + 1?") for number in range(count)])
        answers = asked(prompts, rng, spread)
        cost = float(sum(Decimal(one.cost or "0") for one in answers.values()))
        found = piloted(prompts, answers)
        near += abs(found.cost / cost - 1) <= 0.15
        held += abs(found.cost - cost) <= found.error
        assert found.requests == len(answers)
    assert near >= 0.95 * draws
    assert held >= 0.85 * draws


def test_what_is_all_known_is_exact() -> None:
    prompts = shuffled(many(60))
    answers = asked(prompts, Random(1), 0.7)
    found = estimate(prompts, PLAN, answers)
    cost = sum((Decimal(one.cost or "0") for one in answers.values()), Decimal(0))
    assert found.spent == cost
    assert found.error == 0
    assert found.cost == pytest.approx(float(cost), rel=0.1)


def test_what_costs_nothing_is_certain_at_once() -> None:
    prompts = many(30)
    answers = {key: Answer(one.text) for key, one in asked(prompts[:20], Random(1), 0.4).items()}
    found = estimate(prompts, PLAN, answers)
    assert (found.cost, found.certain) == (0, True)


def test_a_pilot_is_a_part_of_the_prompts() -> None:
    assert [pilot_size(count) for count in (5, 20, 60, 300, 3_000)] == [5, 20, 30, 150, 200]


def test_what_one_request_may_cost_holds_for_long_answers() -> None:
    question = Question(
        "k", "large", "small", {"messages": [{"role": "user", "content": "x" * 1_000}], "max_tokens": 100_000}
    )
    assert most(question, {"large": RATES}) > Decimal("1")
    assert most(question, {}) == 0


def test_prices_are_read_by_tier_or_from_a_route_file() -> None:
    plain = prices.parse('large: {input: 2.50, output: "10", cachedInput: 0.25}\n', "f")
    assert plain == {"large": TokenRates(Decimal("2.5"), Decimal("0.25"), Decimal("2.5"), Decimal(10))}
    tiers = [
        "{name: small, replicaHour: '1'}",
        "{name: large, prices: {input: '2.5', cachedInput: '0.25', output: '10'}}",
    ]
    route = "tiers:\n" + "".join(f"- {tier}\n" for tier in tiers)
    assert prices.parse(route, "f") == plain


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        "large: 3",
        "large: {input: 1}",
        "large: {input: -1, output: 1}",
        "large: {input: 1, output: 1, x: 1}",
        "{",
    ],
)
def test_prices_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="prices"):
        prices.parse(text, "f")
