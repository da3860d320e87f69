"""Checks which tiers may answer a request and in which order, for every reason that moves one to the front."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise.routing.request import RequestFacts
from tierwise.routing.route import Route, RouteTier, Rule, Use
from tierwise.routing.tier_choice import (
    CLASSIFIED,
    CONVERSATION,
    ContentChoice,
    TierChoice,
    cheaper_tiers,
    choose_tiers,
    matches,
    tokens_needed,
)

SMALL = RouteTier("small", "s", urls=("http://s",), context_length=1000)
MIDDLE = RouteTier("middle", "m", urls=("http://m",), context_length=8000)
LARGE = RouteTier("large", "l", urls=("http://l",), context_length=32_000)
CLOUD = RouteTier("cloud", "c", Use.OVERFLOW, urls=("http://c",))
ROUTE = Route("chat", ("chat", "auto"), (SMALL, MIDDLE, LARGE), "small")
SPILLING = replace(ROUTE, tiers=(SMALL, CLOUD, LARGE))


def told(choice: TierChoice) -> list[tuple[str, str]]:
    return [(one.tier.name, one.reason) for one in choice.candidates]


def order(route: Route, facts: RequestFacts | None = None, full: str = "") -> list[tuple[str, str]]:
    """The tiers and why, with the tiers named in `full` full."""
    return told(choose_tiers(route, facts or RequestFacts("chat"), dict.fromkeys(full.split(), True)))


def ruled(tier: str, **conditions: object) -> Route:
    return replace(ROUTE, rules=(Rule("r", tier, **conditions),))  # type: ignore[arg-type]


# --- adapters -------------------------------------------------------------------------------------------------------

TUNED = replace(LARGE, adapters=("legal", "medical"))
ALSO = replace(MIDDLE, adapters=("legal",))
ADAPTED = replace(ROUTE, tiers=(SMALL, ALSO, TUNED))


def test_an_adapter_is_asked_of_the_tiers_that_have_it_and_of_no_other() -> None:
    assert order(ADAPTED, RequestFacts("medical")) == [("large", "Direct")]
    assert order(ADAPTED, RequestFacts("legal")) == [("middle", "Direct"), ("large", "Direct")]
    assert order(ADAPTED, RequestFacts("poetry")) == []


def test_a_full_tier_is_asked_for_an_adapter_last() -> None:
    assert order(ADAPTED, RequestFacts("legal"), full="middle") == [("large", "Direct"), ("middle", "Direct")]
    assert order(ADAPTED, RequestFacts("legal"), full="middle large") == [("middle", "Direct"), ("large", "Direct")]


def test_a_context_that_is_too_short_for_an_adapter_is_passed_over() -> None:
    assert order(ADAPTED, RequestFacts("legal", prompt_tokens=9000)) == [("large", "ContextLength")]


def test_a_name_of_the_route_or_of_a_tier_that_has_no_such_adapter_means_what_it_meant() -> None:
    assert order(replace(ADAPTED, model_names=("legal",)), RequestFacts("legal"))[0] == ("small", "Default")
    assert order(replace(ADAPTED, direct_access=True), RequestFacts("middle")) == [("middle", "Direct")]


def test_an_adapter_keeps_its_name_upstream_and_nothing_else_does() -> None:
    assert TUNED.upstream_model("legal") == "legal"
    assert [TUNED.upstream_model(name) for name in ("chat", "large", "poetry")] == ["l"] * 3
    assert LARGE.upstream_model("legal") == "l"


# --- by name --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["chat", "auto"])
def test_the_routes_names_get_the_default_tier_and_then_the_dearer_ones(model: str) -> None:
    assert order(ROUTE, RequestFacts(model)) == [("small", "Default"), ("middle", "Fallback"), ("large", "Fallback")]


def test_a_cheaper_tier_never_stands_in_for_a_dearer_one() -> None:
    route = replace(ROUTE, default_tier="middle")
    assert order(route) == [("middle", "Default"), ("large", "Fallback")]
    assert order(replace(ROUTE, default_tier="large"), full="large") == [("large", "Default")]


def test_a_tiers_own_name_gets_that_tier_and_no_other_full_or_short_or_not() -> None:
    facts = RequestFacts("middle", prompt_tokens=10**6)
    assert order(ROUTE, facts, full="middle") == [("middle", "Direct")]
    assert order(SPILLING, RequestFacts("cloud")) == [("cloud", "Direct")]


def test_without_direct_access_a_tiers_name_is_nobodys() -> None:
    assert order(replace(ROUTE, direct_access=False), RequestFacts("middle")) == []


def test_a_name_that_nobody_has_gets_nothing() -> None:
    route = replace(ROUTE, rules=(Rule("r", "large"),))
    assert choose_tiers(route, RequestFacts("gpt")) == TierChoice(())


def test_a_route_named_as_a_tier_is_the_route() -> None:
    route = replace(ROUTE, model_names=("middle",))
    assert order(route, RequestFacts("middle"))[0] == ("small", "Default")


@pytest.mark.parametrize("default", ["gone", "cloud"])
def test_where_the_default_is_gone_or_only_for_overflow_the_first_of_the_others_is_it(default: str) -> None:
    route = replace(SPILLING, tiers=(CLOUD, MIDDLE, LARGE), default_tier=default)
    assert order(route) == [("middle", "Default"), ("large", "Fallback")]


def test_a_route_with_nothing_but_overflow_falls_back_to_it() -> None:
    other = replace(LARGE, use=Use.OVERFLOW)
    route = replace(ROUTE, tiers=(CLOUD, other))
    assert order(route) == [("cloud", "Fallback"), ("large", "Fallback")]
    assert choose_tiers(route, RequestFacts("chat")).rule == ""


# --- by rule --------------------------------------------------------------------------------------------------------


def test_the_first_rule_that_matches_decides_and_is_named() -> None:
    rules = (Rule("one", "large", tools=True), Rule("two", "middle"), Rule("three", "large"))
    choice = choose_tiers(replace(ROUTE, rules=rules), RequestFacts("chat"))
    assert choice.rule == "two"
    assert told(choice) == [("middle", "Rule"), ("large", "Fallback")]
    assert choose_tiers(replace(ROUTE, rules=rules), RequestFacts("chat", tools=True)).rule == "one"


def test_without_a_match_there_is_no_rule() -> None:
    assert choose_tiers(ruled("large", tools=True), RequestFacts("chat")).rule == ""


@pytest.mark.parametrize("tier", ["gone", "cloud"])
def test_a_rule_for_a_tier_that_is_gone_or_only_for_overflow_is_passed_over(tier: str) -> None:
    route = replace(SPILLING, rules=(Rule("one", tier), Rule("two", "large")))
    choice = choose_tiers(route, RequestFacts("chat"))
    assert (choice.rule, told(choice)) == ("two", [("large", "Rule")])


FACTS = RequestFacts(
    "chat", prompt_tokens=50, tools=True, images=False, response_format="json_object", headers={"x-team": "a"}
)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, True),
        ({"min_prompt_tokens": 50}, True),
        ({"min_prompt_tokens": 51}, False),
        ({"max_prompt_tokens": 50}, True),
        ({"max_prompt_tokens": 49}, False),
        ({"tools": True}, True),
        ({"tools": False}, False),
        ({"images": False}, True),
        ({"images": True}, False),
        ({"response_format": "json_object"}, True),
        ({"response_format": "json_schema"}, False),
        ({"response_format": ""}, False),
        ({"header": ("x-team", "a")}, True),
        ({"header": ("x-team", "b")}, False),
        ({"header": ("x-other", "a")}, False),
        ({"model": "chat"}, True),
        ({"model": "auto"}, False),
        ({"min_prompt_tokens": 10, "max_prompt_tokens": 90, "tools": True}, True),
        ({"min_prompt_tokens": 10, "max_prompt_tokens": 90, "tools": False}, False),
    ],
)
def test_a_rule_matches_when_all_that_is_set_holds(conditions: dict[str, object], expected: bool) -> None:
    assert matches(Rule("r", "large", **conditions), FACTS) is expected  # type: ignore[arg-type]
    assert order(ruled("large", **conditions), FACTS)[0] == (("large", "Rule") if expected else ("small", "Default"))


# --- by length ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "answer", "first"),
    [
        (999, None, ("small", "Default")),
        (1000, None, ("middle", "ContextLength")),
        (900, 100, ("small", "Default")),
        (900, 101, ("middle", "ContextLength")),
        (7999, None, ("middle", "ContextLength")),
        (8000, None, ("large", "ContextLength")),
    ],
)
def test_a_tier_whose_context_is_too_short_for_prompt_and_answer_is_passed_over(
    prompt: int, answer: int | None, first: tuple[str, str]
) -> None:
    found = order(ROUTE, RequestFacts("chat", prompt_tokens=prompt, max_tokens=answer))
    assert found[0] == first
    assert found[1:] == [(name, "Fallback") for name in ("small", "middle", "large")][4 - len(found) :]


def test_a_tier_whose_context_nobody_knows_is_long_enough() -> None:
    route = replace(ROUTE, tiers=(replace(SMALL, context_length=None), LARGE))
    assert order(route, RequestFacts("chat", prompt_tokens=10**7)) == [("small", "Default")]


def test_where_no_tier_is_long_enough_the_engine_says_so() -> None:
    facts = RequestFacts("chat", prompt_tokens=10**6)
    assert order(ROUTE, facts) == order(ROUTE)
    assert order(ROUTE, facts, full="small")[0] == ("middle", "Spill")


def test_a_long_prompt_goes_to_a_dearer_tier_before_one_for_overflow() -> None:
    facts = RequestFacts("chat", prompt_tokens=9000)
    assert order(SPILLING, facts) == [("large", "ContextLength"), ("cloud", "Fallback")]
    assert order(SPILLING, facts, full="large") == [("cloud", "Spill"), ("large", "ContextLength")]


def test_a_prompt_that_only_overflow_can_take_falls_back_to_it() -> None:
    assert order(SPILLING, RequestFacts("chat", prompt_tokens=10**6)) == [("cloud", "Fallback")]


# --- by load --------------------------------------------------------------------------------------------------------


def test_a_full_tier_is_left_for_the_next_that_is_not_and_stays_behind_it() -> None:
    middle, large = ("middle", "Fallback"), ("large", "Fallback")
    assert order(ROUTE, full="small") == [("middle", "Spill"), ("small", "Default"), large]
    assert order(ROUTE, full="small middle") == [("large", "Spill"), ("small", "Default"), middle]
    assert order(ROUTE, full="middle large") == [("small", "Default"), middle, large]


def test_where_all_are_full_the_first_is_waited_for() -> None:
    assert order(ROUTE, full="small middle large") == order(ROUTE)


def test_overflow_takes_what_spills() -> None:
    assert order(SPILLING, full="small") == [("cloud", "Spill"), ("small", "Default"), ("large", "Fallback")]


def test_a_request_of_a_rule_spills_too_and_upwards_only() -> None:
    route = ruled("middle")
    assert order(route, full="middle") == [("large", "Spill"), ("middle", "Rule")]
    assert choose_tiers(route, RequestFacts("chat"), {"middle": True}).rule == "r"
    assert order(ruled("large"), full="large") == [("large", "Rule")]


def test_a_tier_that_is_too_short_is_not_spilled_to() -> None:
    facts = RequestFacts("chat", prompt_tokens=9000)
    route = replace(ROUTE, tiers=(LARGE, MIDDLE, CLOUD), default_tier="large")
    assert order(route, facts, full="large") == [("cloud", "Spill"), ("large", "Default")]


def test_who_is_said_not_to_be_full_is_not() -> None:
    assert told(choose_tiers(ROUTE, RequestFacts("chat"), {"small": False})) == order(ROUTE)


_tiers = st.lists(
    st.builds(
        RouteTier,
        st.sampled_from("abcdef"),
        st.just("m"),
        st.sampled_from(Use),
        context_length=st.none() | st.integers(1, 30),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda tier: tier.name,
)
_facts = st.builds(
    RequestFacts, st.sampled_from(["chat", "a", "b", "x"]), st.integers(0, 30), st.none() | st.integers(1, 9)
)
_rules = st.lists(st.builds(Rule, st.just("r"), st.sampled_from("abcxyz"), st.none() | st.integers(0, 30)), max_size=3)


@given(_tiers, st.sampled_from("abcxyz"), _rules, st.booleans(), _facts, st.sets(st.sampled_from("abcdef")))
def test_every_order_keeps_the_promises_of_a_route(
    tiers: list[RouteTier], default: str, rules: list[Rule], direct: bool, facts: RequestFacts, full: set[str]
) -> None:
    route = Route("chat", ("chat",), tuple(tiers), default, tuple(rules), direct)
    choice = choose_tiers(route, facts, dict.fromkeys(full, True))
    names = [one.tier.name for one in choice.candidates]
    reasons = [one.reason for one in choice.candidates]
    places = [tiers.index(one.tier) for one in choice.candidates]
    if facts.model != "chat":
        assert names == [one.name for one in tiers if one.name == facts.model and direct]
        return
    assert names
    assert len(set(names)) == len(names)
    assert reasons.count("Default") + reasons.count("Rule") + reasons.count("ContextLength") <= 1
    for candidate in choice.candidates:
        assert candidate.tier.use is Use.ALWAYS or candidate.reason in ("Spill", "Fallback")
    # One is moved to the front; the others stay in the order of the ladder.
    moved = 1 if reasons[0] in ("Spill", "ContextLength") else 0
    rest = places[moved:]
    if "ContextLength" in reasons[1:]:
        rest.remove(places[reasons.index("ContextLength")])
    assert rest == sorted(rest)
    if reasons[0] == "Spill":
        assert names[0] not in full
        assert names[1] in full
    elif names[0] in full:
        assert full >= set(names)

    def fits(tier: RouteTier) -> bool:
        return tier.context_length is None or facts.prompt_tokens + (facts.max_tokens or 1) <= tier.context_length

    some = [fits(one.tier) for one in choice.candidates]
    assert all(some) or not any(some)


# --- when the budget is spent ---------------------------------------------------------------------------------------


def cheaper(route: Route, dearer: str, tokens: int = 100) -> list[tuple[str, str]]:
    return told(TierChoice(tuple(cheaper_tiers(route, dearer, tokens))))


def test_what_the_budget_forbids_goes_to_the_tiers_before_the_dearest_first() -> None:
    assert cheaper(ROUTE, "large") == [("middle", "Budget"), ("small", "Budget")]
    assert cheaper(ROUTE, "middle") == [("small", "Budget")]
    assert cheaper(ROUTE, "small") == []
    assert cheaper(ROUTE, "gone") == []


@pytest.mark.parametrize(
    ("tokens", "names"), [(1000, ["middle", "small"]), (1001, ["middle"]), (8000, ["middle"]), (8001, [])]
)
def test_and_to_none_whose_context_is_too_short(tokens: int, names: list[str]) -> None:
    assert [name for name, _ in cheaper(ROUTE, "large", tokens)] == names


def test_a_tier_without_a_known_context_takes_any_length() -> None:
    unknown = replace(ROUTE, tiers=(replace(SMALL, context_length=None), LARGE))
    assert cheaper(unknown, "large", 10**9) == [("small", "Budget")]


def test_and_to_none_that_is_only_for_spilling() -> None:
    assert cheaper(SPILLING, "large") == [("small", "Budget")]
    assert cheaper(replace(SPILLING, tiers=(CLOUD, LARGE)), "large") == []


def test_an_answer_without_a_bound_needs_a_token() -> None:
    assert [tokens_needed(10, most) for most in (None, 0, 1, 7)] == [11, 11, 11, 17]


# --- by content ------------------------------------------------------------------------------------------------------


def by_content(
    tier: str, route: Route = ROUTE, facts: RequestFacts | None = None, full: str = "", bound: bool = False
) -> list[tuple[str, str]]:
    content = ContentChoice(tier, CONVERSATION if bound else CLASSIFIED, bound)
    return told(choose_tiers(route, facts or RequestFacts("chat"), dict.fromkeys(full.split(), True), content))


def test_the_content_decides_where_no_rule_does_and_the_dearer_tiers_follow() -> None:
    assert by_content("middle") == [("middle", "Classified"), ("large", "Fallback")]
    assert by_content("large") == [("large", "Classified")]
    assert by_content("large", ruled("middle", tools=True)) == [("large", "Classified")]


def test_a_rule_comes_before_the_content() -> None:
    assert by_content("large", ruled("middle")) == [("middle", "Rule"), ("large", "Fallback")]


def test_a_tier_by_its_name_and_a_model_that_nobody_has_know_no_content() -> None:
    for bound in (False, True):
        assert by_content("large", facts=RequestFacts("middle"), bound=bound) == [("middle", "Direct")]
        assert by_content("large", facts=RequestFacts("gpt"), bound=bound) == []


@pytest.mark.parametrize("tier", ["gone", "cloud"])
def test_content_that_asks_for_a_tier_that_is_gone_or_only_for_overflow_leaves_the_default(tier: str) -> None:
    assert by_content(tier, SPILLING)[0] == ("small", "Default")


def test_what_the_content_wants_spills_and_is_too_short_like_anything_else() -> None:
    assert by_content("small", full="small") == [("middle", "Spill"), ("small", "Classified"), ("large", "Fallback")]
    assert by_content("small", facts=RequestFacts("chat", 5_000)) == [
        ("middle", "ContextLength"),
        ("large", "Fallback"),
    ]


def test_a_tool_loop_stays_before_rules_and_in_a_full_tier_and_what_else_would_have_answered_stands_behind() -> None:
    for full in ("", "large", "small large"):
        assert by_content("large", ruled("small"), full=full, bound=True)[0] == ("large", "Conversation")
    assert by_content("middle", bound=True) == [
        ("middle", "Conversation"),
        ("small", "Fallback"),
        ("large", "Fallback"),
    ]
    assert (
        choose_tiers(ruled("small"), RequestFacts("chat"), None, ContentChoice("large", CONVERSATION, True)).rule == ""
    )


def test_a_tool_loop_in_a_tier_for_overflow_stays_there_and_counts_as_spilled() -> None:
    assert by_content("cloud", SPILLING, bound=True) == [
        ("cloud", "Spill"),
        ("small", "Fallback"),
        ("large", "Fallback"),
    ]


def test_a_tool_loop_leaves_a_tier_that_is_gone_or_too_short() -> None:
    assert by_content("gone", bound=True) == order(ROUTE)
    long = RequestFacts("chat", 5_000)
    assert by_content("small", facts=long, bound=True) == order(ROUTE, long)


@given(
    st.sampled_from(["small", "middle", "large", "cloud", "gone"]),
    st.booleans(),
    st.integers(0, 40_000),
    st.sets(st.sampled_from(["small", "middle", "large", "cloud"])),
    st.booleans(),
)
def test_whatever_the_content_says_each_tier_is_tried_once_and_somebody_answers(
    tier: str, bound: bool, tokens: int, full: set[str], ruled_: bool
) -> None:
    route = replace(ROUTE, tiers=(SMALL, MIDDLE, CLOUD, LARGE), rules=(Rule("r", "middle"),) if ruled_ else ())
    content = ContentChoice(tier, CLASSIFIED, bound)
    choice = choose_tiers(route, RequestFacts("chat", tokens), dict.fromkeys(full, True), content)
    names = [one.tier.name for one in choice.candidates]
    assert names
    assert len(names) == len(set(names))
    if ruled_ and not bound:
        assert choice.rule == "r"
