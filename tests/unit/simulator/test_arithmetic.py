"""Checks that arithmetic is answered rightly exactly where the rule says so."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise_sim import openai_api as api
from tierwise_sim.arithmetic import Skill, answers_rightly, asked, conclusion, difficulty, value
from tierwise_sim.config import ConfigError, load_config
from tierwise_sim.settings import EngineSettings

EXPRESSIONS = st.lists(st.integers(0, 99), min_size=2, max_size=6).flatmap(
    lambda numbers: st.lists(st.sampled_from("+-*"), min_size=len(numbers) - 1, max_size=len(numbers) - 1).map(
        lambda signs: str(numbers[0]) + "".join(f" {s} {n}" for s, n in zip(signs, numbers[1:], strict=True))
    )
)


@given(EXPRESSIONS)
def test_the_value_is_pythons(expression: str) -> None:
    assert value(expression) == eval(expression)
    assert difficulty(expression) == sum(expression.count(sign) for sign in "+-*")


@given(EXPRESSIONS, st.integers(0, 5), st.integers(0, 100))
def test_a_conclusion_is_right_up_to_the_skill_and_wrong_beyond_it(expression: str, level: int, seed: int) -> None:
    said = conclusion(f"What is {expression}?", Skill(level), Random(seed))
    assert said is not None
    assert (int(said.rpartition("#### ")[2]) == value(expression)) is (difficulty(expression) <= level)


def test_slip_and_luck_turn_their_shares_over() -> None:
    rng = Random(1)
    skill = Skill(1, slip=0.1, luck=0.3)
    easy = sum(answers_rightly("1 + 2", skill, rng) for _ in range(4_000)) / 4_000
    hard = sum(answers_rightly("1 + 2 + 3", skill, rng) for _ in range(4_000)) / 4_000
    assert (easy, hard) == pytest.approx((0.9, 0.3), abs=0.03)


def test_the_last_expression_is_asked_and_other_prompts_are_none() -> None:
    assert asked("Not 1 + 1 but 2 * 3, please") == "2 * 3"
    assert asked("Take 5 apples") is None
    assert conclusion("Hello", Skill(3), Random(0)) is None


ANSWERING = api.Answering(EngineSettings(max_model_len=4000), ("chat",), 20, 0, skill=Skill(1, slip=0.5))


def said(question: str, **more: object) -> str:
    body = {"messages": [{"role": "user", "content": question}], **more}
    call = api.parse_call(body, True, ANSWERING)
    return call.text_between(0, len(call.answer))


def test_a_chat_answers_and_the_same_request_gets_the_same_answer() -> None:
    asked_twice = [said(f"What is {number} + 4?") for number in range(50) for _ in range(2)]
    assert asked_twice[::2] == asked_twice[1::2]
    assert all("####" in text for text in asked_twice)
    right = sum(said(f"What is {number} + 4?").endswith(f"#### {number + 4}") for number in range(200))
    assert 70 < right < 130


def test_another_seed_of_the_request_may_give_another_answer_of_the_same_length() -> None:
    pairs = [(said(f"{n} + 1", seed=1), said(f"{n} + 1", seed=2)) for n in range(100, 140)]
    assert any(one.rpartition("#")[2] != other.rpartition("#")[2] for one, other in pairs)
    assert all(len(one.split()) == len(other.split()) for one, other in pairs)


def test_an_answer_that_is_cut_has_no_conclusion() -> None:
    assert "####" not in said("What is 1 + 1?", max_tokens=2)


def test_the_environment_gives_the_skill() -> None:
    config = load_config({"TIERWISE_SIM_ANSWERS_SKILL": "2", "TIERWISE_SIM_ANSWERS_SLIP": "0.1"}, "m/x")
    assert config.skill == Skill(2, slip=0.1)
    assert load_config({}, "m/x").skill is None
    with pytest.raises(ConfigError, match="ANSWERS"):
        load_config({"TIERWISE_SIM_ANSWERS_SKILL": "2", "TIERWISE_SIM_ANSWERS_SLIP": "2"}, "m/x")


@pytest.mark.parametrize("limit", [30, 200])
def test_an_answer_of_a_fixed_length_ends_with_the_result(limit: int) -> None:
    body = {
        "messages": [{"role": "user", "content": "What is 3 + 4"}],
        "max_tokens": limit,
        "ignore_eos": True,
    }
    settings = EngineSettings(model="m", max_model_len=4096)
    call = api.parse_call(body, True, api.Answering(settings, ("m",), 200, 0, False, skill=Skill(2)))
    assert len(call.answer) == limit
    assert "".join(call.answer).endswith("#### 7")
