"""Describes the service level of a tier: how soon answers begin and how fluent they are, for how many of them.

Whether a target is met is read from the engine's own histograms, which count exactly at the bounds of their buckets and
only guess between them. So a target is one of those bounds.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from tierwise.api.base import Model, Rule

# Bounds of vLLM's histograms (v1/metrics/buckets.py), as far as somebody would promise them.
TTFT_MILLISECONDS = (100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000, 20000)
INTER_TOKEN_MILLISECONDS = (10, 25, 50, 75, 100, 150, 200, 300, 400, 500)


def _one_of(bounds: tuple[int, ...], name: str) -> Rule:
    said = ", ".join(str(bound) for bound in bounds)
    return Rule(
        expression=f"self.milliseconds in [{said}]",
        message=f"scaling.targets.{name}.milliseconds must be a bound of the engine's histogram: {said}",
        field_path=".milliseconds",
    )


class _Target(Model):
    """One latency, and for how many requests it holds."""

    percentile: int = Field(ge=50, le=99, description="Percent of the requests for which it is to hold.")

    @property
    def allowed(self) -> float:
        """The share of the requests that may be later (0..1)."""
        return (100 - self.percentile) / 100


class TTFTTarget(_Target):
    """The time to the first token, from when an engine has the request."""

    cel = (_one_of(TTFT_MILLISECONDS, "ttft"),)

    milliseconds: int = Field(ge=100, le=20000, description="Milliseconds; a bound of the engine's histogram.")

    @model_validator(mode="after")
    def _on_a_bound(self) -> Self:
        if self.milliseconds not in TTFT_MILLISECONDS:
            raise ValueError(self.cel[0].message)
        return self


class InterTokenTarget(_Target):
    """The mean time between the tokens of an answer."""

    cel = (_one_of(INTER_TOKEN_MILLISECONDS, "interToken"),)

    milliseconds: int = Field(ge=10, le=500, description="Milliseconds; a bound of the engine's histogram.")

    @model_validator(mode="after")
    def _on_a_bound(self) -> Self:
        if self.milliseconds not in INTER_TOKEN_MILLISECONDS:
            raise ValueError(self.cel[0].message)
        return self


class ServiceTargets(Model):
    """The service level of a tier. What is not named has no target."""

    cel = (
        Rule(
            expression="has(self.ttft) || has(self.interToken)",
            message="scaling.targets needs ttft or interToken; remove it to scale without a service level",
        ),
    )

    ttft: TTFTTarget | None = Field(
        default=None, description="Time to the first token. What a request waits in a router is not in it."
    )
    inter_token: InterTokenTarget | None = Field(
        default=None, description="Mean time between the tokens of an answer, of answers that have ended."
    )
