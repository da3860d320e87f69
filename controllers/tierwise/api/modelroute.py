"""Defines what a route says: which tier answers what, and what happens when a tier is full, slow, broken or paid up.

The same words stand in a route's file (`tierwise router --file`), so that what was tried on one machine is what is
applied to a cluster.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tierwise.api.base import NAME_LENGTH, NAME_PATTERN, DNSName, Model, Money, Rule
from tierwise.api.content_routing import CascadePolicy, ClassifierPolicy, RoutePressure, RouteQuality

TierName = Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=NAME_LENGTH)]
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$", max_length=128)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+$", max_length=64)]


class HeaderMatch(Model):
    """A header with a value."""

    name: HeaderName = Field(description="Name of the header; case does not matter.")
    value: Annotated[str, StringConstraints(min_length=1, max_length=256)] = Field(description="Its exact value.")


class RuleMatch(Model):
    """Conditions of a rule; all that are set must hold."""

    min_prompt_tokens: int | None = Field(
        default=None, ge=1, le=100_000_000, description="At least so many tokens in the prompt (estimated: bytes / 4)."
    )
    max_prompt_tokens: int | None = Field(
        default=None, ge=1, le=100_000_000, description="At most so many tokens in the prompt (estimated: bytes / 4)."
    )
    tools: bool | None = Field(default=None, description="Whether the request offers tools.")
    images: bool | None = Field(default=None, description="Whether the request has images.")
    response_format: Literal["json_object", "json_schema"] | None = Field(
        default=None, description="The response format that is asked for."
    )
    header: HeaderMatch | None = Field(default=None, description="A header of the request.")
    model: ModelName | None = Field(default=None, description="The model's name in the request.")


class RouteRule(Model):
    """Sends matching requests to a tier; the first rule that matches decides."""

    name: TierName = Field(description="Name of the rule, for logs and metrics.")
    match: RuleMatch = Field(description="When it applies.")
    tier: TierName = Field(description="The tier that answers; one with use Always.")


class CommonPolicy(Model):
    """Which tier answers a request that names the route and no tier: what a file and a ModelRoute say alike."""

    type: Literal["Rules", "Classifier", "Cascade"] = Field(
        default="Rules",
        description="What decides where no rule does: Rules (the default tier), Classifier (the prompt), Cascade (the "
        "first tokens of the cheap tier's answer; experimental).",
    )
    mode: Literal["Act", "Shadow"] = Field(
        default="Act",
        description="Shadow: classifier and cascade decide and are counted, and the default tier answers.",
    )
    cascade: CascadePolicy | None = Field(default=None, description="For type Cascade; experimental.")
    default_tier: TierName | None = Field(
        default=None,
        description="Answers what no rule sends elsewhere; a tier with use Always. Default: the first of these.",
    )
    rules: list[RouteRule] = Field(default_factory=list, max_length=32, description="Tried in order.")


class Policy(CommonPolicy):
    """Which tier answers a request that names the route and no tier."""

    cel = (
        Rule(
            expression="self.type != 'Classifier' || has(self.classifier)",
            message="policy.type Classifier needs policy.classifier: the ConfigMap that `tierwise train` writes",
            field_path=".type",
        ),
        Rule(
            expression="self.type != 'Cascade' || has(self.cascade)",
            message="policy.type Cascade needs policy.cascade; its fields have defaults, so `cascade: {}` will do",
            field_path=".type",
        ),
    )

    classifier: ClassifierPolicy | None = Field(default=None, description="For type Classifier.")


class RouteOverflow(Model):
    """When requests leave a full tier for a dearer one."""

    cel = (
        Rule(
            expression="self.stopPercent <= self.startPercent",
            message="overflow.stopPercent must not be above overflow.startPercent",
            field_path=".stopPercent",
        ),
    )

    start_percent: int = Field(
        default=100,
        ge=10,
        le=1000,
        description="A tier is left at this saturation. 50: all places are used, nobody waits. 100: for each "
        "replica, in it or in routers, as many wait as a quarter of those that it works on, but five at least, or as "
        "many as it works on, if that is fewer.",
    )
    stop_percent: int = Field(default=70, ge=1, le=1000, description="It is used again below this saturation.")
    max_cost_per_hour: Money | None = Field(
        default=None,
        description="US dollars per hour that requests may cost which spill or fall back to an external tier. "
        "Unset: no limit.",
    )


class Queue(Model):
    """Requests that wait for a replica."""

    max_requests: int | None = Field(
        default=None,
        ge=0,
        le=100_000,
        description="At most so many per tier; more get 429. Unset: as many as its replicas work on at a time, but "
        "at least 100.",
    )
    timeout_seconds: int = Field(default=30, ge=1, le=3600, description="A request waits for at most so long.")
    startup_timeout_seconds: int = Field(
        default=300, ge=1, le=7200, description="... and so long while no replica of the tier is ready."
    )


class RouteDeadlines(Model):
    """Time limits of one request."""

    request_seconds: int = Field(default=600, ge=1, le=86400, description="All of it, waiting and retries included.")
    first_token_seconds: int = Field(default=120, ge=1, le=3600, description="Until the first token of a stream.")
    token_gap_seconds: int = Field(default=60, ge=1, le=3600, description="Longest pause between two tokens.")


class RouteBudget(Model):
    """What a route may spend on metered tiers in a calendar period."""

    amount: Money = Field(description="US dollars.")
    period: Literal["Day", "Month"] = Field(default="Month", description="Calendar day or calendar month.")
    time_zone: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+/-]+$", max_length=64)] = Field(
        default="UTC", description="IANA name of the time zone in which the period begins, e.g. Europe/Berlin."
    )
    when_spent: Literal["CheaperTier", "Refuse"] = Field(
        default="Refuse",
        description="What happens to a request that no longer fits. CheaperTier: a cheaper tier with use Always whose "
        "context is long enough answers it.",
    )


class RouteTierRef(Model):
    """One tier of a route."""

    name: TierName = Field(description="Name of a ModelTier in the namespace of the route.")
    use: Literal["Always", "Overflow"] = Field(
        default="Always", description="Overflow: only for requests that spill or fall back from another tier."
    )


class RouteClients(Model):
    """Who may ask."""

    secret_name: DNSName | None = Field(
        default=None,
        description="Secret with the SHA-256 hashes of the client keys, one entry per tenant. Unset: open to everybody "
        "who reaches the Service.",
    )
    tenant_header: HeaderName | None = Field(
        default=None, description="Header that names the tenant of a request where no client key does."
    )


class RouteTLS(Model):
    """How the endpoint speaks TLS."""

    secret_name: DNSName = Field(
        description="Secret of type kubernetes.io/tls (tls.crt with its chain, tls.key). When it is renewed, new "
        "connections use the new certificate."
    )


class ModelRouteSpec(Model):
    """One OpenAI endpoint over tiers of its namespace, cheapest first."""

    cel = (
        Rule(
            expression="self.tiers.all(t, self.tiers.exists_one(u, u.name == t.name))",
            message="each tier may stand once in spec.tiers",
            field_path=".tiers",
        ),
        Rule(
            expression="self.tiers.exists(t, t.use == 'Always')",
            message="at least one of spec.tiers must have use Always",
            field_path=".tiers",
        ),
        Rule(
            expression="!has(self.policy.defaultTier) || self.tiers.exists(t, t.name == self.policy.defaultTier)",
            message="policy.defaultTier must name one of spec.tiers",
            field_path=".policy.defaultTier",
        ),
        Rule(
            expression="!has(self.policy.rules) || self.policy.rules.all(r, self.tiers.exists(t, t.name == r.tier))",
            message="each of policy.rules must name one of spec.tiers",
            field_path=".policy.rules",
        ),
        Rule(
            expression="self.policy.type != 'Cascade' || self.tiers.filter(t, t.use == 'Always').size() > 1",
            message="policy.type Cascade needs a dearer tier: at least two of spec.tiers must have use Always",
            field_path=".policy.type",
        ),
        Rule(
            expression="!has(self.referenceTier) || self.tiers.exists(t, t.name == self.referenceTier)",
            message="referenceTier must name one of spec.tiers",
            field_path=".referenceTier",
        ),
        Rule(
            expression="!has(self.quality) || self.tiers.exists(t, t.name == self.quality.judgeTier)",
            message="quality.judgeTier must name one of spec.tiers",
            field_path=".quality.judgeTier",
        ),
        Rule(
            expression="!has(self.policy.defaultTier) || "
            "!self.tiers.exists(t, t.name == self.policy.defaultTier && t.use == 'Overflow')",
            message="policy.defaultTier names a tier with use Overflow, which answers only what spills or falls back: "
            "give that tier use Always, or name another",
            field_path=".policy.defaultTier",
        ),
        Rule(
            expression="!has(self.policy.rules) || !self.policy.rules.exists(r, "
            "self.tiers.exists(t, t.name == r.tier && t.use == 'Overflow'))",
            message="one of policy.rules names a tier with use Overflow, which answers only what spills or falls back: "
            "give that tier use Always, or name another",
            field_path=".policy.rules",
        ),
    )

    model_names: list[ModelName] = Field(
        default_factory=list,
        max_length=16,
        description="Model names that clients send to be routed by the policy. Default: the name of the route.",
    )
    direct_access: bool = Field(
        default=True, description="Whether the name of a tier, sent as the model, reaches that tier directly."
    )
    tiers: list[RouteTierRef] = Field(min_length=1, max_length=8, description="The tiers, cheapest first.")
    policy: Policy = Field(default_factory=Policy, description="Which tier answers a request.")
    conversation: Literal["Stay", "Free"] = Field(
        default="Stay",
        description="Stay: a conversation never changes its tier inside a tool loop. Between turns it goes to a dearer "
        "tier where the policy asks for it, and to a cheaper one only where that saves more than the cached prompt "
        "that it gives up. Free: every request is decided alone.",
    )
    reference_tier: TierName | None = Field(
        default=None,
        description="The tier that quality and savings are measured against; a classifier must have been trained "
        "against it. Default: the last with use Always.",
    )
    quality: RouteQuality | None = Field(
        default=None, description="Quality measured while the route runs. Unset: it is not measured."
    )
    pressure: RoutePressure | None = Field(
        default=None,
        description="Moves requests to the cheap tier while the reference tier is full. Unset: they wait or spill.",
    )
    overflow: RouteOverflow = Field(
        default_factory=RouteOverflow, description="When requests leave a full tier. Each router counts for itself."
    )
    queue: Queue = Field(default_factory=Queue, description="Requests that wait in one router.")
    deadlines: RouteDeadlines = Field(default_factory=RouteDeadlines, description="Time limits of one request.")
    budget: RouteBudget | None = Field(
        default=None,
        description="What may be spent on external tiers, by all routers together: status.budget says what each "
        "of them may spend until the operator renews it.",
    )
    clients: RouteClients = Field(default_factory=RouteClients, description="Who may ask.")
    tls: RouteTLS | None = Field(
        default=None, description="TLS on the endpoint, port 443 of its Service. Unset: plain HTTP on port 80."
    )
    replicas: int = Field(default=2, ge=1, le=20, description="Routers that run side by side.")
    drain_seconds: int = Field(
        default=300, ge=0, le=3600, description="How long a router that ends may finish open answers, in seconds."
    )

    @property
    def reference(self) -> str:
        """The tier that quality and savings are measured against: `referenceTier`, or its default."""
        always = [tier.name for tier in self.tiers if tier.use == "Always"]
        return self.reference_tier or (always or [self.tiers[-1].name])[-1]
