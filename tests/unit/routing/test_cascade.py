"""Checks what is seen of held tokens, what is decided of them, and that escalations stay within their percent."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.cascade import (
    BUDGET_REQUESTS,
    Decision,
    EscalationBudget,
    Features,
    Surroundings,
    Token,
    begun,
    decide,
    features,
    in_tool_loop,
    plan,
    suits,
)
from tierwise.routing.request import RequestFacts
from tierwise.routing.route import Cascade, Route, RouteTier, Rule, Use
from tierwise.routing.tier_choice import choose_tiers

SMALL = RouteTier("small", "s", urls=("http://s",), context_length=1000)
CLOUD = RouteTier("cloud", "c", Use.OVERFLOW, urls=("http://c",))
MIDDLE = RouteTier("middle", "m", urls=("http://m",))
LARGE = RouteTier("large", "l", urls=("http://l",))
RULE = Cascade(24, -0.5, 30)
ROUTE = Route("chat", ("chat",), (SMALL, CLOUD, MIDDLE, LARGE), "small", cascade=RULE)

LOGPROBS = st.floats(-30.0, 0.0)
TOKENS = st.lists(st.builds(Token, LOGPROBS, st.none() | st.floats(0, 30), st.booleans()), min_size=1, max_size=40)


def said(*values: float) -> list[Token]:
    return [Token(value) for value in values]


# --- features -------------------------------------------------------------------------------------------------------


def test_the_features_of_a_sure_answer_with_one_doubt() -> None:
    tokens = [*said(*[-0.1] * 10), Token(-4.1, 0.25), *said(*[-0.1] * 9)]
    seen = features(tokens)
    assert seen is not None
    assert seen.tokens == 20
    assert seen.mean == pytest.approx(-0.3)
    assert seen.least == -4.1
    assert seen.low_tenth == -0.1, "the second least of twenty"
    assert seen.lowest_window == pytest.approx(-0.6), "4.1 and seven times 0.1, by eight"
    assert seen.first_margin is None


def test_the_margin_is_of_the_first_token_of_content_and_not_of_the_reasoning_before_it() -> None:
    tokens = [Token(-1, 0.5, content=False), Token(-1, 0.7), Token(-1, 0.9)]
    seen = features(tokens)
    assert seen is not None
    assert seen.first_margin == 0.7


def test_nothing_is_seen_of_no_tokens() -> None:
    assert features([]) is None


@given(TOKENS)
def test_the_features_of_any_tokens_lie_between_the_least_and_the_surest(tokens: list[Token]) -> None:
    seen = features(tokens)
    assert seen is not None
    values = sorted(token.log_probability for token in tokens)
    assert seen.least == values[0]
    for value in (seen.mean, seen.low_tenth, seen.lowest_window):
        assert values[0] - 1e-9 <= value <= values[-1] + 1e-9
    if len(tokens) % 8 == 0:
        assert seen.lowest_window <= seen.mean + 1e-9, "windows that cover it all cannot all be above the mean"
    below = sum(value <= seen.low_tenth for value in values)
    assert below >= len(values) / 10
    assert sum(value < seen.low_tenth for value in values) < max(1, math.ceil(len(values) / 10))


@given(TOKENS, st.integers(0, 39), st.floats(0, 5))
def test_a_token_that_is_surer_makes_no_feature_less_sure(tokens: list[Token], place: int, by: float) -> None:
    place %= len(tokens)
    surer = list(tokens)
    surer[place] = replace(tokens[place], log_probability=min(0.0, tokens[place].log_probability + by))
    before, after = features(tokens), features(surer)
    assert before is not None
    assert after is not None
    for name in ("mean", "least", "low_tenth", "lowest_window"):
        assert getattr(after, name) >= getattr(before, name) - 1e-9


@given(TOKENS, st.integers(0, 2**32))
def test_the_mean_does_not_depend_on_the_order_of_adding(tokens: list[Token], seed: int) -> None:
    one, two = features(tokens), features(random.Random(seed).sample(tokens, len(tokens)))
    assert one is not None
    assert two is not None
    assert (one.mean, one.least, one.low_tenth) == (two.mean, two.least, two.low_tenth)


# --- deciding -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "around", "decision"),
    [
        (-0.5, Surroundings(), Decision.RELEASED),
        (-0.50001, Surroundings(), Decision.ESCALATED),
        (-0.4, Surroundings(dearer_free=False, within_budget=False), Decision.RELEASED),
        (-2.0, Surroundings(dearer_free=False), Decision.TIER_FULL),
        (-2.0, Surroundings(within_budget=False), Decision.OVER_BUDGET),
        (-2.0, Surroundings(tool_call=True), Decision.TOOL_CALL),
    ],
)
def test_what_is_decided(mean: float, around: Surroundings, decision: Decision) -> None:
    assert decide(Features(24, mean, mean, mean, mean, None), RULE, around) is decision


def test_an_engine_that_says_no_probabilities_is_released() -> None:
    assert decide(None, RULE, Surroundings()) is Decision.NO_SIGNAL


@given(st.none() | TOKENS.map(features), st.floats(-10, 0), st.booleans(), st.booleans(), st.booleans())
def test_it_is_escalated_only_when_unsure_affordable_and_no_call_of_a_tool(
    seen: Features | None, least: float, tool_call: bool, free: bool, within: bool
) -> None:
    found = decide(seen, Cascade(24, least), Surroundings(tool_call, free, within))
    unsure = seen is not None and seen.mean < least
    assert (found is Decision.ESCALATED) == (unsure and free and within and not tool_call)


# --- the budget of escalations --------------------------------------------------------------------------------------


def spend(budget: EscalationBudget, percent: int, wishes: list[bool]) -> list[bool]:
    made = []
    for wish in wishes:
        escalated = wish and budget.allows(percent)
        budget.count(escalated)
        made.append(escalated)
    return made


@given(st.integers(0, 100), st.lists(st.booleans(), max_size=300))
def test_escalations_never_pass_their_percent_of_all_decisions(percent: int, wishes: list[bool]) -> None:
    made = spend(EscalationBudget(), percent, wishes)
    for count in range(1, len(made) + 1):
        assert Fraction(sum(made[:count]), count) <= Fraction(percent, 100)
    assert made == spend(EscalationBudget(), percent, wishes), "the same requests are decided alike"


@given(st.integers(0, 100), st.floats(0, 1), st.integers(0, 2**32))
def test_escalations_never_pass_their_percent_of_the_last_thousand(percent: int, share: float, seed: int) -> None:
    chance = random.Random(seed)
    made = spend(EscalationBudget(), percent, [chance.random() < share for _ in range(3 * BUDGET_REQUESTS)])
    window = sum(made[:BUDGET_REQUESTS])
    for end in range(BUDGET_REQUESTS, len(made)):
        assert 100 * window <= percent * BUDGET_REQUESTS
        window += made[end] - made[end - BUDGET_REQUESTS]


def test_whoever_always_wants_gets_the_whole_percent_and_no_more() -> None:
    made = spend(EscalationBudget(), 30, [True] * 2 * BUDGET_REQUESTS)
    assert sum(made[:10]) == 3
    assert sum(made[BUDGET_REQUESTS:]) == 300
    assert sum(spend(EscalationBudget(), 100, [True] * 50)) == 50
    assert sum(spend(EscalationBudget(), 0, [True] * 50)) == 0


def test_a_quiet_time_is_not_saved_up_beyond_the_last_thousand() -> None:
    budget = EscalationBudget()
    spend(budget, 10, [False] * 5 * BUDGET_REQUESTS)
    made = spend(budget, 10, [True] * BUDGET_REQUESTS)
    assert sum(made) == 100


# --- which requests -------------------------------------------------------------------------------------------------


def tiers(route: Route, facts: RequestFacts | None = None, full: str = "") -> list[tuple[str, str]] | None:
    candidates = choose_tiers(route, facts or RequestFacts("chat"), dict.fromkeys(full.split(), True)).candidates
    found = plan(route, candidates)
    return None if found is None else [(one.tier.name, one.reason) for one in found.escalated]


def test_the_next_dearer_tier_that_always_answers_follows_then_the_cheap_one_then_the_others() -> None:
    assert tiers(ROUTE) == [
        ("middle", "Escalated"),
        ("small", "Default"),
        ("cloud", "Fallback"),
        ("large", "Fallback"),
    ]


@pytest.mark.parametrize(
    ("route", "facts", "full"),
    [
        (replace(ROUTE, cascade=None), RequestFacts("chat"), ""),
        (ROUTE, RequestFacts("small"), ""),
        (ROUTE, RequestFacts("unknown"), ""),
        (ROUTE, RequestFacts("chat"), "small"),
        (ROUTE, RequestFacts("chat", prompt_tokens=5000), ""),
        (replace(ROUTE, rules=(Rule("r", "small", tools=True),)), RequestFacts("chat", tools=True), ""),
        (replace(ROUTE, tiers=(SMALL, CLOUD)), RequestFacts("chat"), ""),
        (replace(ROUTE, default_tier="large"), RequestFacts("chat"), ""),
    ],
)
def test_whatever_else_has_decided_is_no_cascade(route: Route, facts: RequestFacts, full: str) -> None:
    assert tiers(route, facts, full) is None


def test_the_reason_is_the_cascade_and_in_the_shadow_what_it_was() -> None:
    candidates = choose_tiers(ROUTE, RequestFacts("chat")).candidates
    found = plan(ROUTE, candidates)
    assert found is not None
    order = [(one.tier.name, one.reason) for one in begun(found, candidates)]
    assert order[0] == ("small", "Cascade")
    assert order[1:] == [("cloud", "Fallback"), ("middle", "Fallback"), ("large", "Fallback")]
    assert begun(replace(found, rule=replace(RULE, shadow=True)), candidates) == candidates


@pytest.mark.parametrize(
    "body",
    [
        {"n": 2},
        {"best_of": 3},
        {"prompt": ["a", "b"]},
        {"prompt": [[1, 2], [3]]},
        {"echo": True},
        {"use_beam_search": True},
        {"messages": [{"role": "user"}, {"role": "assistant"}, {"role": "tool"}]},
        {"messages": [{"role": "function"}]},
    ],
)
def test_several_answers_echoes_and_tool_loops_are_not_cascaded(body: dict[str, object]) -> None:
    assert not suits(body)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"n": 1, "best_of": None, "echo": False},
        {"prompt": "a"},
        {"prompt": ["a"]},
        {"prompt": [1, 2, 3]},
        {"messages": [{"role": "tool"}, {"role": "user"}]},
        {"messages": []},
        {"messages": "nonsense"},
        {"messages": ["nonsense"]},
    ],
)
def test_one_answer_to_one_prompt_is_cascaded(body: dict[str, object]) -> None:
    assert suits(body)


def test_a_tool_loop_is_a_conversation_whose_last_message_is_of_a_tool() -> None:
    assert in_tool_loop([{"role": "user"}, {"role": "tool", "tool_call_id": "c"}])
    assert not in_tool_loop([{"role": "tool"}, {"role": "assistant"}])
    assert not in_tool_loop(None)
