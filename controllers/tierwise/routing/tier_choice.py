"""Chooses the tiers that may answer a request, in the order in which they are tried.

The first is what the model's name, a rule or the default says. Then come the dearer tiers of the ladder, since whoever
can answer a hard request can answer an easy one; a cheaper tier never stands in for a dearer one unless a spent budget
says so. Who asks for a tier by its own name gets that tier or an error: a name is a promise. A tier with use Overflow
comes first only when the others are full or too short.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tierwise.routing.request import RequestFacts
from tierwise.routing.route import Route, RouteTier, Rule, Use

DIRECT = "Direct"
DEFAULT = "Default"
RULE = "Rule"
CONTEXT_LENGTH = "ContextLength"
SPILL = "Spill"
FALLBACK = "Fallback"
BUDGET = "Budget"
PREVIOUS_RESPONSE = "PreviousResponse"
CASCADE = "Cascade"
ESCALATED = "Escalated"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tier that may answer, and why it is looked at."""

    tier: RouteTier
    reason: str


@dataclass(frozen=True, slots=True)
class TierChoice:
    """The tiers to try, best first; empty when the model's name is nobody's. `rule` is the rule that decided."""

    candidates: tuple[Candidate, ...]
    rule: str = ""


def choose_tiers(route: Route, facts: RequestFacts, saturated: Mapping[str, bool] | None = None) -> TierChoice:
    """The order in which tiers are tried. `saturated` says, by name, which tiers are full (`Spill`). Where the first is
    full, the next one that is not comes before it; the others stay, since a queue is better than an error."""
    full = saturated or {}
    if facts.model not in route.model_names:
        direct = route.tier(facts.model) if route.direct_access else None
        return TierChoice(() if direct is None else (Candidate(direct, DIRECT),))
    start, reason, rule = _first(route, facts)
    wanted = [Candidate(start, reason)]
    index = route.tiers.index(start)
    wanted += [Candidate(tier, FALLBACK) for tier in route.tiers[index + 1 :]]
    fitting = _fitting(wanted, facts)
    free = [candidate for candidate in fitting if not full.get(candidate.tier.name, False)]
    if not free or free[0] is fitting[0]:
        return TierChoice(tuple(fitting), rule)
    spilled = Candidate(free[0].tier, SPILL)
    rest = [candidate for candidate in fitting if candidate.tier is not spilled.tier]
    return TierChoice((spilled, *rest), rule)


def _first(route: Route, facts: RequestFacts) -> tuple[RouteTier, str, str]:
    for rule in route.rules:
        if not matches(rule, facts):
            continue
        tier = route.tier(rule.tier)
        if tier is not None and tier.use is Use.ALWAYS:
            return tier, RULE, rule.name
    always = [one for one in route.tiers if one.use is Use.ALWAYS]
    if not always:  # nothing to fall back from, but the route still answers
        return route.tiers[0], FALLBACK, ""
    return next((one for one in always if one.name == route.default_tier), always[0]), DEFAULT, ""


def _fitting(candidates: list[Candidate], facts: RequestFacts) -> list[Candidate]:
    """Without the tiers whose context is too short for prompt and answer; all of them when none is long enough, for the
    engine knows the exact number of tokens and says so."""
    need = facts.prompt_tokens + (facts.max_tokens or 1)
    fitting = [one for one in candidates if one.tier.context_length is None or need <= one.tier.context_length]
    if not fitting or fitting[0] is candidates[0]:
        return fitting or candidates
    longer = next((one for one in fitting if one.tier.use is Use.ALWAYS), None)
    if longer is None:
        return fitting
    return [Candidate(longer.tier, CONTEXT_LENGTH), *(one for one in fitting if one is not longer)]


def matches(rule: Rule, facts: RequestFacts) -> bool:
    """Whether every condition of the rule that is set holds."""
    tokens = facts.prompt_tokens
    return (
        (rule.min_prompt_tokens is None or tokens >= rule.min_prompt_tokens)
        and (rule.max_prompt_tokens is None or tokens <= rule.max_prompt_tokens)
        and (rule.tools is None or rule.tools == facts.tools)
        and (rule.images is None or rule.images == facts.images)
        and (rule.response_format is None or rule.response_format == facts.response_format)
        and (rule.header is None or facts.headers.get(rule.header[0]) == rule.header[1])
        and (rule.model is None or rule.model == facts.model)
    )
