"""Defines what a route says about choosing by content: a classifier, a cascade, and the quality that both must keep.

Each of them decides between a cheap tier and a dearer one. What they may cost in quality is said in percent of the
reference tier, since an absolute quality means nothing outside of one's own traffic.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from tierwise.api.base import NAME_LENGTH, NAME_PATTERN, DNSName, Model, Money, Rule

LogProbability = Annotated[str, StringConstraints(pattern=r"^-[0-9]{1,2}(\.[0-9]{1,4})?$|^0$", max_length=8)]


class ClassifierPolicy(Model):
    """A classifier that was trained with `tierwise train` on labels of this route."""

    config_map_name: DNSName = Field(
        description="ConfigMap with the key classifier.bin, as `tierwise train` writes it. Routers read it again when "
        "it changes."
    )
    quality_percent: int = Field(
        default=95,
        ge=50,
        le=100,
        description="Quality that the route keeps, in percent of the reference tier's, with 90 % confidence on the "
        "labelled traffic.",
    )


class CascadePolicy(Model):
    """Experimental. The cheap tier begins; when its first tokens look unsure, a dearer tier answers instead."""

    hold_tokens: int = Field(
        default=24, ge=1, le=128, description="So many tokens of the cheap answer are held back until it is decided."
    )
    min_mean_log_probability: LogProbability = Field(
        default="-0.5", description="The held tokens are released at this mean log-probability or above, e.g. -0.5."
    )
    max_escalated_percent: int = Field(
        default=30, ge=0, le=100, description="At most so many percent of requests are asked again one tier up."
    )


class JudgeAudit(Model):
    """What people found of the judge, in answers that they looked at themselves (`tierwise label --audit`)."""

    cel = (
        Rule(
            expression="self.goodJudgedGood <= self.goodAnswers && self.badJudgedBad <= self.badAnswers",
            message="the judge cannot have been right on more answers than people looked at",
        ),
    )

    good_answers: int = Field(ge=1, le=1_000_000, description="Answers that people called good.")
    good_judged_good: int = Field(ge=0, le=1_000_000, description="... and the judge too.")
    bad_answers: int = Field(ge=1, le=1_000_000, description="Answers that people called bad.")
    bad_judged_bad: int = Field(ge=0, le=1_000_000, description="... and the judge too.")


class RouteQuality(Model):
    """Quality that is measured while the route runs: sampled answers are asked again in the background and judged."""

    sample_percent: int = Field(
        default=5, ge=1, le=100, description="Percent of the requests whose answer is compared, in the background."
    )
    judge_tier: Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=NAME_LENGTH)] = Field(
        description="Tier that judges; one of spec.tiers."
    )
    budget_usd_per_day: Money = Field(
        alias="budgetUSDPerDay",
        description="US dollars a day that samples and verdicts may cost in all.",
    )
    audit: JudgeAudit | None = Field(
        default=None, description="Corrects the level that is shown for the judge's errors. Unset: not corrected."
    )
    salt_secret_name: DNSName | None = Field(
        default=None,
        description="Secret with the key salt (16 to 64 bytes of chance). With it the routers keep what the judge said "
        "with hashed features, for `tierwise train`, and can read a classifier that was trained with it.",
    )


class RoutePressure(Model):
    """How far the share of the reference tier may be moved while that tier is full and cannot grow."""

    cel = (
        Rule(
            expression="self.minSharePercent <= self.maxSharePercent",
            message="pressure.minSharePercent must not be above pressure.maxSharePercent",
            field_path=".minSharePercent",
        ),
    )

    min_share_percent: int = Field(
        default=0,
        ge=0,
        le=100,
        description="At least so many percent of the requests go to the reference tier.",
    )
    max_share_percent: int = Field(
        default=100, ge=0, le=100, description="At most so many percent go there, free as it may be."
    )
