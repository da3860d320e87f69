"""Defines a route: one OpenAI endpoint over tiers, cheapest first, as the router acts on it.

It is the resolved form: a file or the operator has already found out where each tier is and what it costs. The value is
frozen and replaced as a whole, so that a request that began with one route ends with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum


class Use(Enum):
    """When a tier of a route takes requests."""

    ALWAYS = "Always"
    OVERFLOW = "Overflow"
    """Only for spilling and falling back: a rule that names it is passed over, and so is a default."""


class Priority(Enum):
    """The two classes of a queue: while somebody waits interactively, no batch request leaves it."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


@dataclass(frozen=True, slots=True)
class TokenRates:
    """US dollars per million tokens of each kind; reasoning tokens are output tokens."""

    input: Decimal
    cached_input: Decimal
    cache_write: Decimal
    output: Decimal


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a tier costs: metered tokens, or the time of its replicas, or nothing that is known.

    `by_service_tier` has rates for the service tiers that a provider bills otherwise (flex, batch, priority); what
    counts is the service tier that the answer names."""

    rates: TokenRates | None = None
    by_service_tier: Mapping[str, TokenRates] = field(default_factory=dict)
    replica_hour: Decimal | None = None

    def rates_for(self, service_tier: str) -> TokenRates | None:
        """The rates of an answer that was billed as `service_tier` ("" and unknown words: the ordinary ones)."""
        return self.by_service_tier.get(service_tier, self.rates)


@dataclass(frozen=True, slots=True)
class Provider:
    """An external OpenAI-compatible API: its base URL, as its clients take it, and the file that holds its key."""

    base_url: str
    api_key_file: str | None = None


@dataclass(frozen=True, slots=True)
class RouteTier:
    """One tier of a route. `model` is what upstream is asked for.

    Exactly one of `provider`, `urls` (fixed servers) and `service` (a Kubernetes Service whose endpoints are watched)
    says where it is; `more_services` are those of its further GPU pools. `concurrency` is how many requests one replica
    is given at a time, by all routers together; more wait in the routers."""

    name: str
    model: str
    use: Use = Use.ALWAYS
    provider: Provider | None = None
    urls: tuple[str, ...] = ()
    service: str | None = None
    concurrency: int = 256
    context_length: int | None = None
    tariff: Tariff = Tariff()
    keep_alive_seconds: float = 4.0
    """How long an idle connection is kept; must stay below what the server keeps it (5 s where nobody has said)."""
    startup_seconds: int | None = None
    """How long a replica takes to start, where that was measured."""
    routers: int = 1
    """How many routers share its requests without talking to each other."""
    routers_of_all: int | None = None
    """How many routers all routes that name it have together; None: no other does."""
    capped: bool = True
    """Whether it has as many replicas as it can get."""
    adapters: tuple[str, ...] = ()
    """Names of its LoRA adapters, each a model that clients may ask for."""
    more_services: tuple[str, ...] = ()

    @property
    def services(self) -> tuple[str, ...]:
        """The Services whose endpoints are its replicas."""
        return () if self.service is None else (self.service, *self.more_services)

    @property
    def sharing(self) -> int:
        """How many routers share what its replicas take at a time."""
        return max(self.routers, self.routers_of_all or 0)

    def upstream_model(self, asked: str) -> str:
        """What upstream is asked for when a client asks for `asked`: an adapter keeps its name."""
        return asked if asked in self.adapters else self.model

    @property
    def external(self) -> bool:
        """Whether somebody else serves it."""
        return self.provider is not None


@dataclass(frozen=True, slots=True)
class Rule:
    """Sends a request to `tier` when every condition that is set holds; the first rule that matches decides."""

    name: str
    tier: str
    min_prompt_tokens: int | None = None
    max_prompt_tokens: int | None = None
    tools: bool | None = None
    images: bool | None = None
    response_format: str | None = None
    header: tuple[str, str] | None = None
    """Name (lower case) and value."""
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Overflow:
    """A tier is left at `start_percent` of its saturation, and used again below `stop_percent`.

    `max_cost_per_hour`: what spilled requests of one router may cost in any hour, in US dollars; None is no limit.
    `max_cost_of_all`: those of all routers together, where somebody tells what the others have spent."""

    start_percent: int = 100
    stop_percent: int = 70
    max_cost_per_hour: Decimal | None = None
    max_cost_of_all: Decimal | None = None


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How many requests may wait for one tier (None: as `waiting_line.most_waiting` says), how long, and how long while
    no replica of it is ready."""

    max_requests: int | None = None
    timeout_seconds: float = 30.0
    startup_timeout_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Of one request, in seconds: all of it, until its first token, and the longest pause between two tokens."""

    request_seconds: float = 600.0
    first_token_seconds: float = 120.0
    token_gap_seconds: float = 60.0


class WhenSpent(Enum):
    """What happens to a request whose estimate no longer fits into the budget."""

    CHEAPER_TIER = "CheaperTier"
    REFUSE = "Refuse"


@dataclass(frozen=True, slots=True)
class Budget:
    """US dollars per calendar day or month in a time zone (an IANA name)."""

    amount: Decimal
    period: str = "Month"
    time_zone: str = "UTC"
    when_spent: WhenSpent = WhenSpent.REFUSE


@dataclass(frozen=True, slots=True)
class Cascade:
    """The default tier begins; it is released when its first `hold_tokens` have a mean log-probability of at least
    `min_mean_log_probability`, else the next dearer tier answers, for at most `max_escalated_percent` of the requests.

    `shadow`: it is decided and counted, and nothing else."""

    hold_tokens: int = 24
    min_mean_log_probability: float = -0.5
    max_escalated_percent: int = 30
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Clients:
    """Who may ask: SHA-256 hashes of client keys with the tenant of each; empty is open to everybody.

    `tenant_header` names the header that says the tenant where no key does."""

    tenant_by_key_hash: Mapping[str, str] = field(default_factory=dict)
    tenant_header: str | None = None
    priority_header: str = "x-tierwise-priority"

    @property
    def several_tenants(self) -> bool:
        """Whether clients may be of different tenants, so that one must not see what is another's."""
        if self.tenant_by_key_hash:
            return len(set(self.tenant_by_key_hash.values())) > 1
        return self.tenant_header is not None


class Decider(Enum):
    """What decides about a request that no rule matches."""

    RULES = "Rules"
    """Nothing more: the default tier."""
    CLASSIFIER = "Classifier"
    CASCADE = "Cascade"


@dataclass(frozen=True, slots=True)
class ClassifierFile:
    """Where the weights of a classifier are, and which quality is wanted, in percent of the reference tier's."""

    file: str
    quality_percent: int = 95


@dataclass(frozen=True, slots=True)
class Content:
    """How the content of a request chooses its tier. `shadow`: what it would choose is counted, and not done.

    `reference_tier` is the tier that quality is measured against; empty where the route does not say it. `stay`: a
    conversation changes its tier only where `tierwise.routing.conversation` allows it."""

    decider: Decider = Decider.RULES
    shadow: bool = False
    classifier: ClassifierFile | None = None
    reference_tier: str = ""
    stay: bool = True


@dataclass(frozen=True, slots=True)
class Sampling:
    """How much of the traffic is compared with the reference tier in the background: `percent` of the requests, judged
    by the tier `judge`, for at most `dollars_per_day` of this router."""

    percent: int
    judge: str
    dollars_per_day: Decimal


@dataclass(frozen=True, slots=True)
class PressureLimits:
    """Between which percents the share of the reference tier may be moved."""

    least: int = 0
    most: int = 100


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint over `tiers`, cheapest first. `default_tier` answers what no rule sends elsewhere."""

    name: str
    model_names: tuple[str, ...]
    tiers: tuple[RouteTier, ...]
    default_tier: str
    rules: tuple[Rule, ...] = ()
    direct_access: bool = True
    overflow: Overflow = Overflow()
    queue: QueueLimits = QueueLimits()
    deadlines: Deadlines = Deadlines()
    budget: Budget | None = None
    clients: Clients = Clients()
    content: Content = Content()
    cascade: Cascade | None = None
    sampling: Sampling | None = None
    pressure: PressureLimits | None = None
    added_share: int = 0
    """Percentage points by which measured quality has changed the share of the reference tier."""

    @property
    def reference(self) -> RouteTier:
        """The tier that quality is measured against: the one that the route names, else the last with use Always."""
        named = self.tier(self.content.reference_tier)
        always = [tier for tier in self.tiers if tier.use is Use.ALWAYS]
        return named or (always or list(self.tiers))[-1]

    def tier(self, name: str) -> RouteTier | None:
        """The tier of that name."""
        return next((tier for tier in self.tiers if tier.name == name), None)
