"""Checks when a conversation keeps its tier: always in a tool loop, else where leaving would not pay."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.conversation import CACHE_SECONDS, Conversations, LastAnswer, Turn, stays, switch_pays, turn_of
from tierwise.routing.cost import MILLION, Usage, token_cost
from tierwise.routing.request import RequestFacts
from tierwise.routing.route import Route, RouteTier, Tariff, TokenRates, Use
from tierwise.routing.tier_choice import CONVERSATION, ContentChoice

SALT = b"s" * 32


def priced(name: str, input_: str, cached: str, output: str, use: Use = Use.ALWAYS) -> RouteTier:
    rates = TokenRates(Decimal(input_), Decimal(cached), Decimal(input_), Decimal(output))
    return RouteTier(name, "m", use, urls=(f"http://{name}",), tariff=Tariff(rates))


SMALL, LARGE = priced("small", ".1", ".01", ".4"), priced("large", "2", ".2", "8")
OWN = RouteTier("own", "m", urls=("http://own",), tariff=Tariff(replica_hour=Decimal(2)))
CLOUD = priced("cloud", "3", ".3", "9", Use.OVERFLOW)
ROUTE = Route("chat", ("chat",), (SMALL, LARGE, CLOUD), "small")
TURN, LOOP, FIRST_TURN = Turn(b"k"), Turn(b"k", in_tool_loop=True), Turn(b"k", goes_on=False)


def user(text: str = "hi") -> dict[str, Any]:
    return {"role": "user", "content": text}


def key(body: dict[str, Any], tenant: str = "", salt: bytes = SALT) -> bytes:
    found = turn_of(body, tenant, salt)
    assert found is not None
    return found.key


def asked(tier: str, *, tokens: int = 10_000, output: int = 100, at: float = 0.0) -> LastAnswer:
    return LastAnswer(tier, tokens, output, at)


# --- by what a conversation is known ---------------------------------------------------------------------------------

FIRST = {"messages": [{"role": "system", "content": "You help."}, user("Why?")]}
LATER = {"messages": [*FIRST["messages"], {"role": "assistant", "content": "Because."}, user("And why that?")]}


def test_a_later_turn_has_the_key_of_the_first() -> None:
    assert key(FIRST) == key(LATER)


def test_a_response_goes_on_as_a_chat_does() -> None:
    body = {"instructions": "You help.", "input": [user("Why?")]}
    later = {
        "instructions": "You help.",
        "input": [user("Why?"), {"type": "message", "role": "assistant"}, user("So?")],
    }
    assert key(body) == key(later)


@pytest.mark.parametrize(
    "other",
    [
        {"messages": [user("Why?")]},
        {"messages": [{"role": "system", "content": "You help."}, user("How?")]},
        {"messages": [{"role": "system", "content": "You hel"}, user("p.Why?")]},
        {**FIRST, "prompt_cache_key": "a"},
    ],
)
def test_another_beginning_is_another_conversation(other: dict[str, Any]) -> None:
    assert key(other) != key(FIRST)


def test_the_clients_own_key_counts_before_the_text_and_each_tenant_has_its_own() -> None:
    assert key({**FIRST, "prompt_cache_key": "a"}) == key({"messages": [user("other")], "prompt_cache_key": "a"})
    assert key(FIRST, "blue") != key(FIRST, "red")


def test_a_key_tells_nothing_without_the_salt() -> None:
    assert key(FIRST, salt=b"a" * 32) != key(FIRST, salt=b"b" * 32)
    assert b"Why" not in key(FIRST)
    assert len(key(FIRST)) == 16


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"messages": "Why?"},
        {"messages": [{"role": "system", "content": "You help."}]},
        {"input": "Why?"},
        {"messages": [None, 3, "x"]},
        {"prompt": "Why?", "prompt_cache_key": ""},
    ],
)
def test_what_has_no_beginning_is_no_conversation(body: dict[str, Any]) -> None:
    assert turn_of(body, "", SALT) is None


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["role", "content", "type", "text"]) | st.text(), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["messages", "input", "instructions", "prompt_cache_key"]), json))
def test_any_json_is_read_without_an_error(body: dict[str, Any]) -> None:
    found = turn_of(body, "tenant", SALT)
    assert found is None or len(found.key) == 16


# --- tool loops ------------------------------------------------------------------------------------------------------

CALL = {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}]}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "42"}


@pytest.mark.parametrize(
    ("messages", "inside"),
    [
        ([user()], False),
        ([user(), CALL, RESULT], True),
        ([user(), CALL, RESULT, CALL, RESULT], True),
        ([user(), CALL, RESULT, {"role": "assistant", "content": "so"}], True),
        ([user(), CALL, RESULT, {"role": "assistant", "content": "42."}, user("thanks")], False),
        ([user(), {"role": "function", "name": "f", "content": "42"}], True),
        ([user(), {"type": "function_call"}, {"type": "function_call_output", "output": "42"}], True),
        ([user(), {"type": "custom_tool_call_output"}], True),
        ([user(), {"type": "function_call"}], False),
    ],
)
def test_results_of_tools_behind_the_last_question_are_a_tool_loop(messages: list[Any], inside: bool) -> None:
    for body in ({"messages": messages}, {"input": messages}):
        found = turn_of(body, "", SALT)
        assert found is not None
        assert found.in_tool_loop is inside
        assert found.goes_on or not inside


@pytest.mark.parametrize("tier", ["small", "large", "cloud"])
@pytest.mark.parametrize("wanted", [SMALL, LARGE])
def test_inside_a_tool_loop_the_tier_that_called_goes_on(tier: str, wanted: RouteTier) -> None:
    found = stays(ROUTE, RequestFacts("chat"), LOOP, asked(tier), wanted, 10**6)
    assert found == ContentChoice(tier, CONVERSATION, bound=True)


@pytest.mark.parametrize("turn", [TURN, LOOP])
def test_where_nothing_is_known_or_the_tier_is_gone_nothing_is_kept(turn: Turn) -> None:
    assert stays(ROUTE, RequestFacts("chat"), turn, None, SMALL, 0) is None
    assert stays(ROUTE, RequestFacts("chat"), turn, asked("gone"), SMALL, 0) is None


def test_a_turn_goes_on_when_an_answer_was_given_in_it() -> None:
    first, later = turn_of(FIRST, "", SALT), turn_of(LATER, "", SALT)
    assert first is not None
    assert later is not None
    assert (first.goes_on, later.goes_on) == (False, True)


def test_whoever_begins_as_another_conversation_did_is_decided_alone() -> None:
    near = replace(ROUTE, tiers=(CLOSE, LARGE))
    assert stays(near, RequestFacts("chat", 10_200), FIRST_TURN, asked("large"), CLOSE, 0) is None


# --- between turns ---------------------------------------------------------------------------------------------------


def test_a_dearer_tier_gets_the_turn_when_the_policy_asks_for_it() -> None:
    assert stays(ROUTE, RequestFacts("chat", 10_000), TURN, asked("small"), LARGE, 0) is None


def test_what_answers_already_needs_no_reason_to_stay() -> None:
    assert stays(ROUTE, RequestFacts("chat", 10_000), TURN, asked("large"), LARGE, 0) is None


def test_a_tier_for_overflow_keeps_no_conversation_between_turns() -> None:
    assert stays(ROUTE, RequestFacts("chat", 10_000), TURN, asked("cloud"), LARGE, 0) is None


CLOSE = priced("close", "1.9", ".1", "7.5")  # hardly cheaper than large: the cached prefix is worth more


def test_a_cheaper_tier_gets_it_only_where_that_saves_more_than_the_cached_prefix() -> None:
    facts = RequestFacts("chat", 10_200)
    near = replace(ROUTE, tiers=(CLOSE, LARGE))
    assert stays(near, facts, TURN, asked("large"), CLOSE, 0) == ContentChoice("large", CONVERSATION)
    assert stays(ROUTE, facts, TURN, asked("large"), SMALL, 0) is None


def test_a_prefix_that_is_no_longer_cached_holds_nobody() -> None:
    near = replace(ROUTE, tiers=(CLOSE, LARGE))
    facts, last = RequestFacts("chat", 10_200), asked("large", at=100.0)
    assert stays(near, facts, TURN, last, CLOSE, 100 + CACHE_SECONDS) == ContentChoice("large", CONVERSATION)
    assert stays(near, facts, TURN, last, CLOSE, 101 + CACHE_SECONDS) is None


def test_a_new_prompt_that_shares_little_with_the_cache_holds_nobody() -> None:
    near = replace(ROUTE, tiers=(CLOSE, LARGE))
    assert stays(near, RequestFacts("chat", 10_200), TURN, asked("large", tokens=10), CLOSE, 0) is None


def test_without_prices_per_token_the_policy_decides() -> None:
    route = replace(ROUTE, tiers=(OWN, SMALL, replace(OWN, name="own-large")))
    for wanted in (OWN, SMALL):
        assert stays(route, RequestFacts("chat", 10**5), TURN, asked("own-large"), wanted, 0) is None
    assert stays(route, RequestFacts("chat", 10**5), TURN, asked("small"), OWN, 0) is None


rates = st.builds(TokenRates, *[st.decimals("0", "20", places=2) for _ in range(4)])
tokens = st.integers(0, 200_000)


@given(rates, rates, tokens, tokens, tokens)
def test_switching_pays_exactly_if_the_turn_is_cheaper_there_than_here_with_the_prefix_cached(
    here: TokenRates, there: TokenRates, prompt: int, before: int, output: int
) -> None:
    kept, wanted = replace(LARGE, tariff=Tariff(here)), replace(SMALL, tariff=Tariff(there))
    last = LastAnswer("large", before, output, 0.0)
    prefix = min(before + output, prompt)
    answer = output or 1024
    stay = token_cost(Usage(prompt - prefix, prefix, 0, answer), here)
    leave = token_cost(Usage(prompt, 0, 0, answer), there)
    assert switch_pays(kept, wanted, RequestFacts("chat", prompt), last, 0) is (stay > leave)
    assert MILLION == 10**6


# --- what is remembered ----------------------------------------------------------------------------------------------


def test_the_conversation_that_was_silent_longest_is_forgotten_first() -> None:
    memory = Conversations(most=2)
    one, two, three = (Turn(bytes([number])) for number in range(3))
    memory.answered(one, asked("small"))
    memory.answered(two, asked("large"))
    memory.answered(one, asked("large"))
    memory.answered(three, asked("small"))
    assert (memory.last(one), memory.last(two), memory.last(three)) == (asked("large"), None, asked("small"))
    assert len(memory) == 2


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["small", "large"])), max_size=60), st.integers(1, 5))
def test_never_more_is_remembered_than_allowed_and_the_latest_always(given: list[tuple[int, str]], most: int) -> None:
    memory = Conversations(most=most)
    for number, tier in given:
        turn = Turn(bytes([number]))
        memory.answered(turn, asked(tier))
        assert memory.last(turn) == asked(tier)
        assert len(memory) <= most
