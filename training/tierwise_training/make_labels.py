"""Makes labels of prompts and the answers to their questions: pure, so that a label can be made again at any time.

What is right depends on the judge. A rule (number, choice, json, exact) reads the final answer out of a text and
compares it with the gold answer; without one with the reference tier's, which then counts as right where it can be
read. A judge tier compares: a tie is as good as the reference, so both count as right.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from tierwise.routing.question import question_of
from tierwise.routing.text_features import features_of
from tierwise_training import extraction, verdicts
from tierwise_training.labels import JudgeRecord, Label, Pair, TierAnswer, Tokens, Verdict
from tierwise_training.prompts import Prompt
from tierwise_training.questions import (
    Answer,
    Answers,
    Plan,
    Question,
    Use,
    answer_questions,
    comparisons,
    gold_text,
    judge_questions,
)

Right = bool | None


def open_questions(prompt: Prompt, plan: Plan, answers: Answers) -> list[Question]:
    """What is still to be asked about a prompt: first the answers, and when they are there, the judge."""
    missing = [question for question in answer_questions(prompt, plan) if question.key not in answers]
    if missing:
        return missing
    pairs = comparisons(prompt, plan, answers).values()
    asked = {question.key: question for pair in pairs for question in judge_questions(prompt, plan, pair)}
    return [question for key, question in asked.items() if key not in answers]


def all_questions(prompt: Prompt, plan: Plan, answers: Answers) -> list[Question]:
    """Everything about a prompt that is asked or has to be, as far as it is known yet."""
    pairs = comparisons(prompt, plan, answers).values()
    judged = [question for pair in pairs for question in judge_questions(prompt, plan, pair)]
    return list({question.key: question for question in [*answer_questions(prompt, plan), *judged]}.values())


def make_label(
    prompt: Prompt, plan: Plan, answers: Answers, salt: bytes | None = None, audit: Verdict | None = None
) -> Label | None:
    """The label of a prompt; None while something about it is not asked yet. With a salt it holds hashed features
    instead of the prompt."""
    if open_questions(prompt, plan, answers):
        return None
    said = {question.use: answers[question.key] for question in answer_questions(prompt, plan)}
    right, pairs = _judged(prompt, plan, answers, said)
    asked = [answers[question.key] for question in all_questions(prompt, plan, answers)]
    prices = [Decimal(answer.cost) for answer in asked if answer.cost is not None]
    record = JudgeRecord(
        **pairs["small"].model_dump(),
        kind=plan.judge,
        against="reference" if prompt.gold is None else "gold",
        version=verdicts.VERSION if plan.judge_tier else extraction.VERSION,
        models=_models(prompt, plan, answers),
        ceiling=pairs.get("reference again"),
        again=pairs.get("small again"),
        audit=audit,
        cost_usd=f"{sum(prices, Decimal(0)):f}" if prices else None,
    )
    body = {"messages": list(prompt.messages), "tools": prompt.request.get("tools")}
    features = None if salt is None else features_of(*question_of(body), salt).to_json()
    return Label(
        id=prompt.id,
        prompt_hash=prompt.digest,
        group=prompt.group,
        prompt=None if salt is not None else [dict(message) for message in prompt.messages],
        features=features,
        small=_kept(said["small"], right[0]),
        reference=_kept(said["reference"], right[1]),
        judge=record,
        tools=bool(prompt.request.get("tools")),
        from_tier=plan.small,
        reference_tier=plan.reference,
        route=plan.route,
    )


def _judged(
    prompt: Prompt, plan: Plan, answers: Answers, said: dict[Use, Answer]
) -> tuple[tuple[Right, Right], dict[Use, Pair]]:
    """Whether the small and the reference answer are right, and the pair of each answer with the reference's first."""
    others = [use for use in ("small", "small again", "reference again") if use in said]
    if plan.judge_tier is None:
        rights = _by_rule(prompt, plan.judge, said)
        pairs: dict[Use, Pair] = {
            use: Pair(verdict=verdicts.of_rights(rights[use], rights["reference"])) for use in others
        }
        return (rights["small"], rights["reference"]), pairs
    compared = comparisons(prompt, plan, answers)
    pairs = {}
    for use in others:
        pair = compared.get(use)
        if pair is None:
            pairs[use] = Pair()
        elif pair.identical:
            pairs[use] = Pair(verdict="tie", identical=True)
        else:
            asked = judge_questions(prompt, plan, pair)
            pairs[use] = verdicts.combine(
                [verdicts.read_verdict(answers[one.key].text, bool(place)) for place, one in enumerate(asked)]
            )
    contradicted = plan.ties == "unknown" and verdicts.flipped(pairs["small"])
    return ((None, None) if contradicted else verdicts.rights(pairs["small"].verdict)), pairs


def _by_rule(prompt: Prompt, kind: str, said: dict[Use, Answer]) -> dict[Use, Right]:
    read = {use: extraction.reading(kind, answer.text) for use, answer in said.items()}
    wanted = read["reference"] if prompt.gold is None else extraction.reading(kind, gold_text(prompt.gold))
    if wanted is None:
        return dict.fromkeys(said)
    return {use: None if value is None else value == wanted for use, value in read.items()}


def _kept(answer: Answer, right: Right) -> TierAnswer:
    tokens = Tokens(input=answer.input_tokens, output=answer.output_tokens, reasoning=answer.reasoning_tokens)
    return TierAnswer(right=right, tokens=tokens, finish_reason=answer.finish_reason or answer.refused)


def _models(prompt: Prompt, plan: Plan, answers: Answers) -> dict[str, str]:
    """What each tier called its model, by the tier's name."""
    found = {
        question.tier: answers[question.key].model
        for question in all_questions(prompt, plan, answers)
        if question.key in answers and answers[question.key].model
    }
    return dict(sorted(found.items()))


def unreadable_gold(prompts: Sequence[Prompt], kind: str) -> list[str]:
    """The ids of prompts whose gold answer the rule cannot read: a mistake in the file, known before anything is
    spent."""
    if kind not in extraction.KINDS:
        return []
    return [
        prompt.id
        for prompt in prompts
        if prompt.gold is not None and extraction.reading(kind, gold_text(prompt.gold)) is None
    ]
