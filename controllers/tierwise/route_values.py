"""Turns what people write about a route into the values that routing works with.

A file and a ModelRoute say most of it in the same words; what they say differently is where the tiers are. A router and
a simulation build their routes here, so that a simulated route is the one that is served.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tierwise.api.content_routing import CascadePolicy, RoutePressure, RouteQuality
from tierwise.api.external import TokenPrices
from tierwise.api.modelroute import CommonPolicy, Queue, RouteBudget, RouteDeadlines, RouteOverflow, RouteRule
from tierwise.api.modelroute_status import LadderTier
from tierwise.errors import Invalid
from tierwise.routing import route as values


class RouteText(Protocol):
    """The words that a file and a ModelRoute have in common."""

    @property
    def model_names(self) -> list[str]:
        """What clients send."""
        ...

    @property
    def direct_access(self) -> bool:
        """Whether a tier's name reaches it."""
        ...

    @property
    def policy(self) -> CommonPolicy:
        """Which tier answers."""
        ...

    @property
    def conversation(self) -> str:
        """Whether a conversation keeps its tier: Stay or Free."""
        ...

    @property
    def reference_tier(self) -> str | None:
        """What quality and savings are measured against."""
        ...

    @property
    def quality(self) -> RouteQuality | None:
        """What is compared in the background."""
        ...

    @property
    def pressure(self) -> RoutePressure | None:
        """How far the share may be moved while the reference tier is full."""
        ...

    @property
    def overflow(self) -> RouteOverflow:
        """When a full tier is left."""
        ...

    @property
    def queue(self) -> Queue:
        """How many wait, and how long."""
        ...

    @property
    def deadlines(self) -> RouteDeadlines:
        """Time limits."""
        ...

    @property
    def budget(self) -> RouteBudget | None:
        """What may be spent."""
        ...


def to_route(
    name: str,
    said: RouteText,
    tiers: Sequence[values.RouteTier],
    clients: values.Clients,
    *,
    routers: int = 1,
    classifier: values.ClassifierFile | None = None,
) -> values.Route:
    """The route over these tiers. Raises Invalid where its parts do not fit together.

    `routers`: how many of them serve it without talking to each other. Each gets an equal share of what spilling may
    cost. `classifier`: the one that the policy names, wherever its file is here."""
    tiers = [replace(tier, routers=routers) for tier in tiers]
    names = [tier.name for tier in tiers]
    if len(set(names)) != len(names):
        raise Invalid("two tiers have the same name; give each its own")
    always = next((tier.name for tier in tiers if tier.use is values.Use.ALWAYS), None)
    default = said.policy.default_tier or always
    if default is None:
        raise Invalid("every tier has use Overflow; one must have use Always")
    reference = said.reference_tier
    for wanted in [default, *(rule.tier for rule in said.policy.rules), *([reference] if reference else [])]:
        if wanted not in names:
            raise Invalid(f"there is no tier {wanted!r}; the tiers are {', '.join(names)}")
    if said.overflow.stop_percent > said.overflow.start_percent:
        raise Invalid("overflow.stopPercent must not be above overflow.startPercent")
    cap = said.overflow.max_cost_per_hour
    return values.Route(
        name=name,
        model_names=tuple(said.model_names) or (name,),
        tiers=tuple(tiers),
        default_tier=default,
        rules=tuple(map(_rule, said.policy.rules)),
        direct_access=said.direct_access,
        overflow=values.Overflow(
            said.overflow.start_percent,
            said.overflow.stop_percent,
            None if cap is None else Decimal(cap) / routers,
            None if cap is None else Decimal(cap),
        ),
        queue=values.QueueLimits(
            said.queue.max_requests, said.queue.timeout_seconds, said.queue.startup_timeout_seconds
        ),
        deadlines=values.Deadlines(
            said.deadlines.request_seconds, said.deadlines.first_token_seconds, said.deadlines.token_gap_seconds
        ),
        budget=_budget(said.budget),
        clients=clients,
        content=_content(said, classifier),
        cascade=_cascade(said.policy),
        sampling=_sampling(said, names, routers),
        pressure=None if said.pressure is None else _pressure(said.pressure),
    )


def clients(tenant_by_key_hash: Mapping[str, str], tenant_header: str | None) -> values.Clients:
    """Who may ask."""
    return values.Clients(tenant_by_key_hash, None if tenant_header is None else tenant_header.lower())


def rates(prices: TokenPrices) -> values.TokenRates:
    """The four rates; a cached or written token costs what any input token costs where nothing else is said."""
    ordinary = Decimal(prices.input)
    return values.TokenRates(
        input=ordinary,
        cached_input=ordinary if prices.cached_input is None else Decimal(prices.cached_input),
        cache_write=ordinary if prices.cache_write is None else Decimal(prices.cache_write),
        output=Decimal(prices.output),
    )


def ladder_tier(tier: LadderTier, use: values.Use, api_key_file: str | None = None) -> values.RouteTier:
    """One tier of a route, as the operator has resolved it. `api_key_file`: where the key of a provider is here."""
    provider = None if tier.provider is None else values.Provider(tier.provider.base_url, api_key_file)
    return values.RouteTier(
        name=tier.name,
        model=tier.model,
        use=use,
        provider=provider,
        service=tier.service,
        more_services=tuple(tier.more_services),
        concurrency=tier.concurrency,
        context_length=tier.context_length,
        tariff=values.Tariff(
            rates=None if tier.prices is None else rates(tier.prices),
            by_service_tier=_service_tier_rates(tier),
            replica_hour=None if tier.replica_hour is None else Decimal(tier.replica_hour),
        ),
        keep_alive_seconds=float(tier.keep_alive_seconds),
        startup_seconds=tier.startup_seconds,
        capped=tier.capped,
        adapters=tuple(tier.adapters),
        routers_of_all=tier.routers,
    )


def _service_tier_rates(tier: LadderTier) -> dict[str, values.TokenRates]:
    given = tier.service_tier_prices
    if given is None:
        return {}
    found = {"flex": given.flex, "batch": given.batch, "priority": given.priority}
    return {name: rates(prices) for name, prices in found.items() if prices is not None}


def _content(said: RouteText, classifier: values.ClassifierFile | None) -> values.Content:
    if said.policy.type == "Classifier" and classifier is None:
        raise Invalid("policy.type Classifier needs policy.classifier: the file that `tierwise train` writes")
    return values.Content(
        decider=values.Decider(said.policy.type),
        shadow=said.policy.mode == "Shadow",
        classifier=classifier,
        reference_tier=said.reference_tier or "",
        stay=said.conversation == "Stay",
    )


def _sampling(said: RouteText, names: Sequence[str], routers: int) -> values.Sampling | None:
    given = said.quality
    if given is None:
        return None
    if given.judge_tier not in names:
        raise Invalid(f"quality.judgeTier: there is no tier {given.judge_tier!r}; the tiers are {', '.join(names)}")
    return values.Sampling(given.sample_percent, given.judge_tier, Decimal(given.budget_usd_per_day) / routers)


def _pressure(given: RoutePressure) -> values.PressureLimits:
    if given.min_share_percent > given.max_share_percent:
        raise Invalid("pressure.minSharePercent must not be above pressure.maxSharePercent")
    return values.PressureLimits(given.min_share_percent, given.max_share_percent)


def _rule(rule: RouteRule) -> values.Rule:
    match = rule.match
    return values.Rule(
        name=rule.name,
        tier=rule.tier,
        min_prompt_tokens=match.min_prompt_tokens,
        max_prompt_tokens=match.max_prompt_tokens,
        tools=match.tools,
        images=match.images,
        response_format=match.response_format,
        header=None if match.header is None else (match.header.name.lower(), match.header.value),
        model=match.model,
    )


def _cascade(policy: CommonPolicy) -> values.Cascade | None:
    if policy.type != "Cascade":
        return None
    said = policy.cascade or CascadePolicy()
    return values.Cascade(
        hold_tokens=said.hold_tokens,
        min_mean_log_probability=float(said.min_mean_log_probability),
        max_escalated_percent=said.max_escalated_percent,
        shadow=policy.mode == "Shadow",
    )


def _budget(budget: RouteBudget | None) -> values.Budget | None:
    if budget is None:
        return None
    try:
        ZoneInfo(budget.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid(f"budget.timeZone {budget.time_zone!r} is no IANA time zone, such as Europe/Berlin") from error
    return values.Budget(Decimal(budget.amount), budget.period, budget.time_zone, values.WhenSpent(budget.when_spent))
