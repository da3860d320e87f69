"""Checks that every word of the column STATUS has a class, and what follows from it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from tierwise.report import pools, ready_condition, routes
from tierwise_cli import output
from tierwise_cli.doctor.checks import judge
from tierwise_cli.doctor.facts import Facts, TierState
from tierwise_cli.states import STATES, class_of


def words(function: Callable[..., Any]) -> set[str]:
    """The states that a function returns, each with its reason."""
    returned = [each.value for each in ast.walk(ast.parse(inspect.getsource(function))) if isinstance(each, ast.Return)]
    states = [each.elts[0] for each in returned if isinstance(each, ast.Tuple)]
    assert len(states) == len(returned)
    constants = [node for state in states for node in (_both(state) if isinstance(state, ast.IfExp) else [state])]
    return {str(node.value) for node in constants if isinstance(node, ast.Constant)}


def _both(chosen: ast.IfExp) -> list[ast.expr]:
    return [chosen.body, chosen.orelse]


def test_the_states_are_those_that_are_reported() -> None:
    tiers = words(ready_condition.state)
    assert {"Ready", "External", "Idle", "Stopped", "Degraded", "Failed"} <= tiers
    assert tiers | words(routes.route_state) | words(pools._state) == set(STATES)


@pytest.mark.parametrize("state", sorted(STATES))
def test_colours_and_doctor_are_of_one_mind(state: str) -> None:
    colour = output.state_colour("STATUS", state)
    assert (colour == output.GREEN) == (class_of(state) == "good")
    assert (colour == output.RED) == (class_of(state) == "bad")
    (found,) = [each for each in judge(Facts("models", tiers=(TierState("chat", state, ""),))) if each.check == "Tiers"]
    assert (found.level == "ok") == (class_of(state) in ("good", "moving"))


def test_a_word_that_nobody_knows_is_doubtful() -> None:
    assert output.state_colour("STATUS", "Serving") == output.YELLOW
    assert output.state_colour("STATUS", "-") == output.state_colour("NAME", "Ready") == ""
