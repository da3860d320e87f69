"""Chooses the tiers that may answer a request, in the order in which they are tried.

The first is what the model's name, a rule, the content or the default says. Then come the dearer tiers of the ladder,
since whoever can answer a hard request can answer an easy one; a cheaper tier never stands in for a dearer one unless a
spent budget says so. Who asks for a tier by its own name gets that tier or an error: a name is a promise. A tier with
use Overflow comes first only when the others are full or too short. A tool loop stays where it is, before all of that
but a name.
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
CLASSIFIED = "Classified"
CONVERSATION = "Conversation"


@dataclass(frozen=True, slots=True)
class ContentChoice:
    """The tier that the content of a request asks for, and why: `CLASSIFIED` or `CONVERSATION`.

    `bound`: the request is one step of a tool loop, and no rule and no queue moves it to another model."""

    tier: str
    reason: str
    bound: bool = False


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


def choose_tiers(
    route: Route,
    facts: RequestFacts,
    saturated: Mapping[str, bool] | None = None,
    content: ContentChoice | None = None,
) -> TierChoice:
    """The order in which tiers are tried. `saturated` says, by name, which tiers are full (`Spill`). Where the first is
    full, the next one that is not comes before it; the others stay, since a queue is better than an error.

    `content` counts where no rule matches, and one that is bound before any rule. The tiers behind a bound one are
    those that would have been tried without it: where its tier cannot answer, another answer is better than none."""
    full = saturated or {}
    if facts.model not in route.model_names:
        having = [tier for tier in route.tiers if facts.model in tier.adapters]
        if having:  # whoever asks for an adapter has chosen; among tiers that have it, one that is not full
            having.sort(key=lambda tier: full.get(tier.name, False))
            return TierChoice(tuple(_fitting([Candidate(tier, DIRECT) for tier in having], facts)))
        direct = route.tier(facts.model) if route.direct_access else None
        return TierChoice(() if direct is None else (Candidate(direct, DIRECT),))
    if content is not None and content.bound:
        return _bound(route, facts, content, choose_tiers(route, facts, full))
    start, reason, rule = _first(route, facts, content)
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


def cheaper_tiers(route: Route, dearer: str, tokens: int) -> list[Candidate]:
    """Who answers what the budget does not allow for the tier `dearer`: the tiers before it on the ladder, the dearest
    of them first. `tokens`: of prompt and answer; a tier whose context is shorter would only answer with an error, and
    one with use Overflow is for what spills or falls back. Empty where the route has no such tier any more."""
    names = [tier.name for tier in route.tiers]
    before = route.tiers[: names.index(dearer)] if dearer in names else ()
    return [
        Candidate(tier, BUDGET)
        for tier in reversed(before)
        if tier.use is Use.ALWAYS and (tier.context_length is None or tokens <= tier.context_length)
    ]


def _bound(route: Route, facts: RequestFacts, content: ContentChoice, otherwise: TierChoice) -> TierChoice:
    """One step of a tool loop: the tier that made the calls goes on, unless it is gone or its context too short."""
    kept = route.tier(content.tier)
    if kept is None or not _fits(kept, facts):
        return otherwise
    first = Candidate(kept, content.reason if kept.use is Use.ALWAYS else SPILL)  # what spills has a cap
    rest = (Candidate(one.tier, FALLBACK) for one in otherwise.candidates if one.tier is not kept)
    return TierChoice((first, *rest))


def rule_of(route: Route, facts: RequestFacts) -> tuple[Rule, RouteTier] | None:
    """The first rule that matches and whose tier takes requests, and that tier."""
    for rule in route.rules:
        if not matches(rule, facts):
            continue
        tier = route.tier(rule.tier)
        if tier is not None and tier.use is Use.ALWAYS:
            return rule, tier
    return None


def default_tier(route: Route) -> RouteTier | None:
    """The tier that answers what nothing else sends elsewhere; None where all tiers have use Overflow."""
    always = [one for one in route.tiers if one.use is Use.ALWAYS]
    return next((one for one in always if one.name == route.default_tier), always[0] if always else None)


def _first(route: Route, facts: RequestFacts, content: ContentChoice | None) -> tuple[RouteTier, str, str]:
    ruled = rule_of(route, facts)
    if ruled is not None:
        return ruled[1], RULE, ruled[0].name
    if content is not None and (tier := route.tier(content.tier)) is not None and tier.use is Use.ALWAYS:
        return tier, content.reason, ""
    default = default_tier(route)
    if default is None:  # nothing to fall back from, but the route still answers
        return route.tiers[0], FALLBACK, ""
    return default, DEFAULT, ""


def _fits(tier: RouteTier, facts: RequestFacts) -> bool:
    """Whether its context is long enough for prompt and answer."""
    return tier.context_length is None or tokens_needed(facts.prompt_tokens, facts.max_tokens) <= tier.context_length


def tokens_needed(prompt_tokens: int, max_tokens: int | None) -> int:
    """The context that a request needs at least; an answer without a bound needs one token."""
    return prompt_tokens + (max_tokens or 1)


def _fitting(candidates: list[Candidate], facts: RequestFacts) -> list[Candidate]:
    """Without the tiers whose context is too short for prompt and answer; all of them when none is long enough, for the
    engine knows the exact number of tokens and says so."""
    fitting = [one for one in candidates if _fits(one.tier, facts)]
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
