"""Defines what a route says: which tier answers what, and what happens when a tier is full, slow, broken or paid up.

The same words stand in a route's file (`tierwise router --file`), so that what was tried on one machine is what is
applied to a cluster.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from tierwise.api.base import NAME_LENGTH, NAME_PATTERN, Model, Money

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
    tier: TierName = Field(description="The tier that answers.")


class Policy(Model):
    """Which tier answers a request that names the route and no tier."""

    default_tier: TierName | None = Field(
        default=None, description="Answers what no rule sends elsewhere. Default: the first tier with use Always."
    )
    rules: list[RouteRule] = Field(default_factory=list, max_length=32, description="Tried in order.")


class RouteOverflow(Model):
    """When requests leave a full tier for a dearer one."""

    start_percent: int = Field(default=100, ge=10, le=1000, description="A tier is left at this saturation.")
    stop_percent: int = Field(default=70, ge=1, le=1000, description="It is used again below this saturation.")
    max_cost_per_hour: Money | None = Field(
        default=None,
        description="US dollars per hour that requests may cost which spill or fall back to an external tier. "
        "Unset: no limit.",
    )


class Queue(Model):
    """Requests that wait for a replica."""

    max_requests: int = Field(default=100, ge=0, le=100_000, description="At most so many per tier; more get 429.")
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
        default="Refuse", description="What happens to a request that no longer fits."
    )
