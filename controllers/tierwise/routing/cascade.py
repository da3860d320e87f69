"""Decides, of the first tokens of a cheap answer, whether it is released or a dearer tier answers instead.

A model that is unsure gives the tokens that it chooses low probabilities. How well that tells right answers from wrong
ones differs from task to task (published for whole answers: AUC .65 to .83, arXiv 2605.02241), and of the first tokens
alone nobody has shown it: so a cascade is experimental until its features, which the access log has, were compared with
verdicts of one's own. A budget bounds what a bad threshold can cost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from math import ceil, fsum
from typing import Any

from tierwise.routing.route import Cascade, Route, RouteTier, Use
from tierwise.routing.tier_choice import CASCADE, DEFAULT, ESCALATED, Candidate

WINDOW_TOKENS = 8
"""A short doubt inside a sure answer shows in its least sure eight tokens, and not in its mean."""
LOW_SHARE = 0.1
BUDGET_REQUESTS = 1_000
"""The escalated percent is kept over so many decisions, the last ones."""
_RESULT_ROLES = ("tool", "function")


class Decision(Enum):
    """What became of a held answer; the values are metric labels. All but one release it."""

    RELEASED = "released"
    """It looks sure."""
    ESCALATED = "escalated"
    OVER_BUDGET = "over_budget"
    """It looks unsure, and as many were escalated as may be."""
    TIER_FULL = "tier_full"
    """It looks unsure, and the dearer tier is full, broken or paid up."""
    TOOL_CALL = "tool_call"
    """It begins with a call of a tool, or may do so: another model might call another one."""
    NO_SIGNAL = "no_signal"
    """The engine has said no log-probabilities."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token of an answer: the natural logarithm of its probability, and by how much the most probable token there
    was ahead of the second one (None where that was not said). `content`: it belongs to the text of the answer, not to
    reasoning before it."""

    log_probability: float
    margin: float | None = None
    content: bool = True


@dataclass(frozen=True, slots=True)
class Features:
    """What is seen of the held tokens: log-probabilities, so 0 at most, and the nearer to 0 the surer. Means are biased
    by length, quantiles are not (arXiv 2404.10136); the first token of a short answer tells most (2605.05166).

    `low_tenth` is the 10 % quantile (nearest rank), `lowest_window` the least mean of eight tokens in a row, and
    `first_margin` the margin of the first token of content, where it was said."""

    tokens: int
    mean: float
    least: float
    low_tenth: float
    lowest_window: float
    first_margin: float | None


def features(tokens: Sequence[Token]) -> Features | None:
    """Of the held tokens; None where there are none."""
    if not tokens:
        return None
    values = [token.log_probability for token in tokens]
    ranked = sorted(values)
    width = min(WINDOW_TOKENS, len(values))
    windows = (fsum(values[start : start + width]) / width for start in range(len(values) - width + 1))
    return Features(
        tokens=len(values),
        mean=fsum(values) / len(values),
        least=ranked[0],
        low_tenth=ranked[ceil(LOW_SHARE * len(ranked)) - 1],
        lowest_window=min(windows),
        first_margin=next((token.margin for token in tokens if token.content), None),
    )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What besides the tokens decides. `tool_call`: the held part calls a tool. `dearer_free`: the dearer tier takes
    requests now. `within_budget`: one more may be escalated (`EscalationBudget`)."""

    tool_call: bool = False
    dearer_free: bool = True
    within_budget: bool = True


def decide(seen: Features | None, rule: Cascade, around: Surroundings) -> Decision:
    """Whether a held answer is released or escalated, and why."""
    if around.tool_call:
        return Decision.TOOL_CALL
    if seen is None:
        return Decision.NO_SIGNAL
    if seen.mean >= rule.min_mean_log_probability:
        return Decision.RELEASED
    if not around.dearer_free:
        return Decision.TIER_FULL
    return Decision.ESCALATED if around.within_budget else Decision.OVER_BUDGET


class EscalationBudget:
    """Keeps escalations within their percent of the decisions, over the last thousand, and over all while there are
    fewer. It counts decisions and not time: the same requests are decided alike, whenever they come."""

    __slots__ = ("_escalated", "_last")

    def __init__(self) -> None:
        self._last: deque[bool] = deque()
        self._escalated = 0

    def allows(self, percent: int) -> bool:
        """Whether the next decision may be an escalation."""
        full = len(self._last) == BUDGET_REQUESTS
        leaving = self._last[0] if full else False
        decisions = len(self._last) + (not full)
        return 100 * (self._escalated - leaving + 1) <= percent * decisions

    def count(self, escalated: bool) -> None:
        """A decision was made."""
        if len(self._last) == BUDGET_REQUESTS:
            self._escalated -= self._last.popleft()
        self._last.append(escalated)
        self._escalated += escalated


@dataclass(frozen=True, slots=True)
class Plan:
    """A cascade for one request: which tier begins, which one answers where it looks unsure, and who is tried in turn
    when it was escalated."""

    rule: Cascade
    cheap: RouteTier
    dearer: RouteTier
    escalated: tuple[Candidate, ...]


def plan(route: Route, candidates: Sequence[Candidate]) -> Plan | None:
    """The cascade for a request whose tiers are tried in this order, or None where it is none for it: a rule, a name, a
    full tier or a long prompt has decided, or there is no dearer tier with use Always.

    Where the dearer tier fails after all, the cheap one answers as it would have without a cascade; then come the
    others."""
    if route.cascade is None or not candidates or candidates[0].reason != DEFAULT:
        return None
    cheap = candidates[0].tier
    dearer = next((one.tier for one in candidates[1:] if one.tier.use is Use.ALWAYS), None)
    if dearer is None:
        return None
    others = [one for one in candidates[1:] if one.tier is not dearer]
    return Plan(
        route.cascade,
        cheap,
        dearer,
        (Candidate(dearer, ESCALATED), Candidate(cheap, DEFAULT), *others),
    )


def begun(found: Plan, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The order of trying while the cascade acts: its first tier is looked at because of it. In the shadow nothing
    changes."""
    if found.rule.shadow:
        return tuple(candidates)
    return (Candidate(found.cheap, CASCADE), *candidates[1:])


def suits(body: Mapping[str, Any]) -> bool:
    """Whether one answer of a request can be judged by its first tokens and be given by either tier.

    Not inside a tool loop: its next step belongs to the model that began it. Not where several answers are wanted, or
    the prompt is part of the answer."""
    several = any(body.get(name) not in (None, 1) for name in ("n", "best_of"))
    prompt = body.get("prompt")
    prompts = isinstance(prompt, list) and len(prompt) > 1 and not isinstance(prompt[0], int)
    searched = body.get("use_beam_search") or body.get("echo")
    return not (several or prompts or searched or in_tool_loop(body.get("messages")))


def in_tool_loop(messages: object) -> bool:
    """Whether the last message of a conversation is what a tool has answered."""
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], Mapping):
        return False
    return messages[-1].get("role") in _RESULT_ROLES
