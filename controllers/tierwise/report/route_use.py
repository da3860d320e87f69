"""Says in words which requests of a route a tier answers.

It follows the spec alone, in the order in which the router looks (`routing.tier_choice`): the model's name, a rule, the
default, then what a cheaper tier could not answer.
"""

from __future__ import annotations

from collections.abc import Iterable

from tierwise.api.modelroute import ModelRouteSpec, RuleMatch

DEFAULT = "what no rule sends elsewhere"
CLASSIFIED = "what neither a rule nor the classifier sends elsewhere"


def takes(spec: ModelRouteSpec, name: str) -> tuple[str, ...]:
    """What this tier answers, most usual first; empty when it is none of the route's, or nothing reaches it."""
    names = [tier.name for tier in spec.tiers]
    if name not in names:
        return ()
    index = names.index(name)
    classifies = spec.policy.type == "Classifier" and spec.policy.mode == "Act"
    found = [CLASSIFIED if classifies else DEFAULT] if name == default_tier(spec) else []
    found += [f"rule {rule.name} ({_condition(rule.match)})" for rule in spec.policy.rules if rule.tier == name]
    if index > 0:
        found.append(f"what leaves {_listed(names[:index])}: full, too short or failing")
    always = spec.tiers[index].use == "Always"
    if always and spec.budget is not None and spec.budget.when_spent == "CheaperTier" and index + 1 < len(names):
        found.append(f"what the budget no longer allows for {_listed(names[index + 1 :])}")
    if spec.direct_access:
        found.append(f"model: {name}")
    return tuple(found)


def default_tier(spec: ModelRouteSpec) -> str:
    """The tier that answers what no rule sends elsewhere; empty when none may."""
    if spec.policy.default_tier is not None:
        return spec.policy.default_tier
    return next((tier.name for tier in spec.tiers if tier.use == "Always"), "")


def _condition(match: RuleMatch) -> str:
    said = []
    if match.min_prompt_tokens is not None:
        said.append(f"at least {match.min_prompt_tokens} prompt tokens")
    if match.max_prompt_tokens is not None:
        said.append(f"at most {match.max_prompt_tokens} prompt tokens")
    for given, what in ((match.tools, "tools"), (match.images, "images")):
        if given is not None:
            said.append(what if given else f"no {what}")
    if match.response_format is not None:
        said.append(match.response_format)
    if match.header is not None:
        said.append(f"{match.header.name}: {match.header.value}")
    if match.model is not None:
        said.append(f"model {match.model}")
    return ", ".join(said) or "every request"


def _listed(names: Iterable[str]) -> str:
    return " or ".join(names)
