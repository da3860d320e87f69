"""Defines the status of a ModelRoute: what users read, and what the routers act on.

The operator resolves the tiers of a route here (where each is, what it is asked for, what it costs), so that a router
needs to watch nothing else of the operator's, and a person can read what it acts on. Everything is bounded.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tierwise.api.base import NAME_LENGTH, NAME_PATTERN, Model, Rule
from tierwise.api.conditions import Condition
from tierwise.api.external import ServiceTierPrices, TokenPrices
from tierwise.api.modelroute import ModelRouteSpec
from tierwise.api.savings_status import SavingsStatus

MOST_LEASES = 64
"""More routers than a route can have at once, those that end and those that replace them included."""


class LadderProvider(Model):
    """The external API that serves a tier, and where its key is."""

    base_url: str = Field(alias="baseURL", max_length=512, description="Base URL as a client of the API takes it.")
    secret_name: str | None = Field(
        default=None, max_length=253, description="Secret that holds the key; absent where none is sent."
    )
    secret_key: str | None = Field(default=None, max_length=253, description="Key in that Secret.")


class LadderTier(Model):
    """One tier as a router acts on it."""

    name: str = Field(max_length=NAME_LENGTH, description="Name of the ModelTier.")
    use: Literal["Always", "Overflow"] = Field(description="As in spec.tiers.")
    model: str = Field(max_length=128, description="What upstream is asked for.")
    adapters: list[Annotated[str, Field(max_length=128)]] = Field(
        default_factory=list, max_length=32, description="Names of its LoRA adapters, which clients may ask for."
    )
    service: str | None = Field(
        default=None, max_length=63, description="Service whose endpoints are its replicas; absent for an external API."
    )
    more_services: list[Annotated[str, StringConstraints(max_length=63)]] = Field(
        default_factory=list,
        max_length=15,
        description="The Services of its further GPU pools: their endpoints are its replicas, too.",
    )
    provider: LadderProvider | None = Field(default=None, description="The external API, if one serves the tier.")
    concurrency: int = Field(ge=1, description="Requests that one replica is given at a time.")
    routers: int | None = Field(
        default=None,
        ge=1,
        description="How many routers share those, where other routes name the tier, too; absent: this route's alone.",
    )
    context_length: int | None = Field(
        default=None, ge=1, description="Longest prompt plus answer in tokens, where it is known."
    )
    keep_alive_seconds: int = Field(ge=0, description="How long an idle connection to a replica is kept.")
    prices: TokenPrices | None = Field(default=None, description="US dollars per million tokens of an external API.")
    service_tier_prices: ServiceTierPrices | None = Field(
        default=None, description="Prices of answers that the external API bills otherwise."
    )
    replica_hour: str | None = Field(
        default=None, max_length=32, description="US dollars for one replica for one hour: price times GPUs."
    )
    startup_seconds: int | None = Field(
        default=None,
        ge=1,
        description="From a replica's creation to its readiness, as measured last: what a client is told to wait that "
        "finds no replica.",
    )
    capped: bool = Field(
        default=False, description="Whether it has as many replicas as it can get: routers may then move the share."
    )


class QualityDay(Model):
    """What judges said on one day (UTC)."""

    day: str = Field(max_length=10, description="The date.")
    good: int = Field(default=0, ge=0, description="Answers of cheaper tiers that were at least as good.")
    bad: int = Field(default=0, ge=0, description="Answers of cheaper tiers that were not.")
    margin_good: int = Field(default=0, ge=0, description="The same, of requests that one step less would send there.")
    margin_bad: int = Field(default=0, ge=0, description="... and that were not.")
    sampled: int = Field(default=0, ge=0, description="Requests that were chosen.")
    reference: int = Field(default=0, ge=0, description="... of which the reference tier had answered so many.")


class RouterVerdicts(Model):
    """What one router had counted when it was read last, so that nothing is counted twice."""

    router: str = Field(max_length=64, description="UID of the router's pod.")
    counts: list[Annotated[int, Field(ge=0)]] = Field(
        default_factory=list, max_length=16, description="Its counters, in the order of the operator's code."
    )


class QualityWatch(Model):
    """What the alarm remembers."""

    usual_good: int = Field(default=0, ge=0, description="Verdicts that say what is usual...")
    usual_bad: int = Field(default=0, ge=0, description="... and were bad.")
    run_good: int = Field(default=0, ge=0, description="Verdicts since something may have changed...")
    run_bad: int = Field(default=0, ge=0, description="... and were bad.")
    sum: str = Field(default="0", max_length=16, description="Sum of CUSUM.")
    alarm: bool = Field(default=False, description="Whether answers of cheaper tiers have become worse.")


class QualityMove(Model):
    """A change of the share that measured quality has made."""

    at: str = Field(max_length=32, description="When.")
    points: int = Field(ge=-100, le=100, description="Percentage points.")
    quality: str = Field(default="", max_length=32, description="The quality that said so, with its interval.")


class QualityStatus(Model):
    """The quality of the route as judges see it, in percent of the reference tier's."""

    parity_percent: str = Field(default="", max_length=8, description="Of all requests of the last 14 days.")
    lower_percent: str = Field(default="", max_length=8, description="It is at least so much, with 97.5 % confidence.")
    upper_percent: str = Field(default="", max_length=8, description="It is at most so much, with 97.5 % confidence.")
    samples: int = Field(default=0, ge=0, description="Answers of cheaper tiers that were judged for that.")
    share_percent: int | None = Field(
        default=None, ge=0, le=100, description="Percent of the sampled requests that the reference tier answered."
    )
    since: str = Field(default="", max_length=32, description="First day of these samples, or the last change.")
    added_share_percent: int = Field(
        default=0, ge=-100, le=100, description="Percentage points by which measured quality has changed the share."
    )
    classifier_hash: str = Field(
        default="", max_length=64, description="The classifier whose share was changed: another one begins anew."
    )
    again_good: int = Field(default=0, ge=0, description="Second answers of the reference tier that were as good.")
    again_bad: int = Field(default=0, ge=0, description="... and that were not.")
    watch: QualityWatch = Field(default_factory=QualityWatch, description="What the alarm remembers.")
    days: list[QualityDay] = Field(default_factory=list, max_length=15, description="The last days, oldest first.")
    moves: list[QualityMove] = Field(default_factory=list, max_length=8, description="The last changes of the share.")
    routers: list[RouterVerdicts] = Field(
        default_factory=list, max_length=MOST_LEASES, description="What each router had counted."
    )


class PressureStatus(Model):
    """How far a full reference tier has moved the share, and what that costs."""

    wanted_percent: int = Field(ge=0, le=100, description="The share that quality asks for.")
    applied_percent: int = Field(ge=0, le=100, description="The share that the reference tier gets.")
    quality_cost_points: str = Field(
        default="", max_length=8, description="Points of predicted quality that the difference costs."
    )
    limited: str = Field(default="", max_length=64, description="What keeps the reference tier from growing.")


class RouterLease(Model):
    """What one router may spend of the budget."""

    router: str = Field(max_length=64, description="UID of the router's pod.")
    amount: str = Field(max_length=32, description="US dollars that it may spend in the period, all together.")
    spent: str = Field(default="0", max_length=32, description="US dollars that it has said to have spent of that.")
    expires: str = Field(max_length=32, description="It spends nothing after this time.")


class BudgetTerms(Model):
    """A budget as it was understood last."""

    amount: str = Field(max_length=32, description="US dollars.")
    period: str = Field(max_length=16, description="Day or Month.")
    time_zone: str = Field(max_length=64, description="IANA name of the time zone in which the period begins.")


class BudgetStatus(Model):
    """What is spent of the budget in the present period, and what each router may still spend."""

    period: str = Field(max_length=32, description="When the period began.")
    spent: str = Field(
        default="0",
        max_length=32,
        description="US dollars that all routers have spent, leases of vanished ones included.",
    )
    vanished: str = Field(
        default="0",
        max_length=32,
        description="US dollars of that which count for routers that are gone: the whole lease of each, since nobody "
        "knows what it spent last.",
    )
    left: str = Field(default="0", max_length=32, description="US dollars that no router has a lease for.")
    leases: list[RouterLease] = Field(default_factory=list, max_length=MOST_LEASES, description="One for each router.")
    terms: BudgetTerms | None = Field(
        default=None, description="What the leases are of; they go on with it while spec.budget cannot be used."
    )


class ClassifierStatus(Model):
    """The classifier of the policy, as the routers use it."""

    config_map_name: str = Field(max_length=253, description="ConfigMap that it is read from.")
    hash: str = Field(
        default="", max_length=64, description="First digits of the SHA-256 of its file; empty: none is in use."
    )
    mode: Literal["", "Act", "Shadow"] = Field(default="", description="Whether it acts, or is counted only.")
    labels: int | None = Field(default=None, ge=0, description="Labels that it has learned from.")
    needed_share_percent: int | None = Field(
        default=None, ge=0, le=100, description="Percent of requests for the reference tier that its labels ask for."
    )
    share_percent: int | None = Field(
        default=None, ge=0, le=100, description="Percent that go there now: measured quality and pressure move it."
    )
    quality_percent: str = Field(
        default="", max_length=16, description="Predicted quality at that share, in percent of the reference tier's."
    )
    quality_lower_percent: str = Field(
        default="", max_length=16, description="What that quality exceeds with 90 % confidence."
    )


class ModelRouteStatus(Model):
    """The observed state: shown by `kubectl get modelroutes`, read by the routers."""

    observed_generation: int = Field(default=0, ge=0, description="Generation of the spec this status is about.")
    url: str = Field(default="", max_length=512, description="Address of the OpenAI endpoint in the cluster.")
    model_names: str = Field(
        default="", max_length=2112, description="Model names that the policy routes, separated by commas."
    )
    tiers: str = Field(default="", max_length=16, description="Ready of all tiers, e.g. 2/3.")
    ready: str = Field(default="", max_length=16, description="Ready of desired routers, e.g. 2/2.")
    state: str = Field(
        default="",
        max_length=32,
        description="One word for the whole route: Ready, Degraded, Starting, Failed, Rejected or Deleting.",
    )
    reason: str = Field(default="", max_length=64, description="Reason of the condition that `state` stands for.")
    requests_per_second: str = Field(default="", max_length=16, description="Requests per second in the last minute.")
    share: str = Field(
        default="",
        max_length=40,
        description="Percent of the requests of the last 5 minutes by tier, in the order of spec.tiers, e.g. 82/15/3.",
    )
    cost_per_hour: str = Field(
        default="", max_length=32, description="US dollars per hour that the requests of the last 5 minutes cost."
    )
    saved: str = Field(
        default="", max_length=16, description="Saved in the last hour against the reference tier, e.g. 63%."
    )
    savings: SavingsStatus | None = Field(
        default=None, description="What was saved in the last hour, by tactic, and what that is compared with."
    )
    spent: str = Field(default="", max_length=48, description="Spent of the budget in the period, e.g. 12.34/100.")
    spill_cost: str = Field(
        default="",
        max_length=32,
        description="US dollars that requests cost in the last hour which spilled or fell back to an external tier, of "
        "all routers, those included that are gone. Routers keep within overflow.maxCostPerHour by it. Empty without "
        "that, and while it is not known.",
    )
    waiting: int | None = Field(default=None, ge=0, description="Requests that wait in the routers.")
    spilled: int | None = Field(
        default=None, ge=0, description="Requests of the last 5 minutes that left a full tier for another."
    )
    fallbacks: int | None = Field(
        default=None, ge=0, description="Requests of the last 5 minutes that left a failing tier for another."
    )
    ttft_p95_seconds: str = Field(
        default="", max_length=16, description="95 of 100 first tokens of the last 5 minutes came within so long."
    )
    quality_percent: str = Field(
        default="",
        max_length=32,
        description="Quality in percent of the reference tier's, with its interval, e.g. 96.1 (93.8-97.9).",
    )
    pressed: str = Field(
        default="",
        max_length=48,
        description="While the reference tier is full: its share, what quality asks for, and the points of quality "
        "that the difference costs, e.g. 21/40 -2.1.",
    )
    quality: QualityStatus | None = Field(default=None, description="Quality as judges see it; absent without samples.")
    pressure: PressureStatus | None = Field(
        default=None, description="How far the share is moved; absent while the reference tier has room."
    )
    budget: BudgetStatus | None = Field(
        default=None, description="What is spent of the budget, and the leases that routers spend from."
    )
    classifier: ClassifierStatus | None = Field(default=None, description="With policy.type Classifier.")
    ladder: list[LadderTier] = Field(
        default_factory=list, max_length=8, description="The tiers as the routers act on them, cheapest first."
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=8,
        description="Conditions as in metav1, one of each type.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


class ModelRoute(Model):
    """One OpenAI endpoint over tiers: which tier and which replica answers, and what happens when one cannot."""

    cel = (
        Rule(
            expression=f"self.metadata.name.size() <= {NAME_LENGTH}",
            message=f"the name of a route has at most {NAME_LENGTH} characters",
        ),
        Rule(
            expression=f"self.metadata.name.matches('{NAME_PATTERN}')",
            message="the name of a route is lower-case letters, digits and dashes, and starts with a letter",
        ),
        Rule(
            expression="!self.metadata.name.endsWith('-predictor')",
            message="the name of a route must not end with -predictor: KServe names the Services of tiers so",
        ),
    )

    spec: ModelRouteSpec = Field(description="The desired state.")
    status: ModelRouteStatus = Field(default_factory=ModelRouteStatus, description="The observed state.")
