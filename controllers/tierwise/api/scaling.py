"""Describes how the replicas of a tier follow its load."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tierwise.api.base import Model, Rule


class Scaling(Model):
    """How replicas follow the load."""

    cel = (
        Rule(
            expression="self.minReplicas <= self.maxReplicas",
            message="scaling.minReplicas must not exceed scaling.maxReplicas",
            field_path=".minReplicas",
        ),
    )

    mode: Literal["Auto", "Advisory"] = Field(
        default="Auto",
        description="Advisory computes and shows the replicas, and never changes them but for the first start from 0.",
    )
    min_replicas: int = Field(
        default=1, ge=1, le=1000, description="Fewest replicas in Auto. For zero set spec.replicas to 0."
    )
    max_replicas: int = Field(default=1, ge=1, le=1000, description="Most replicas in Auto.")
    waiting_per_replica: int = Field(
        default=5,
        ge=0,
        le=1000,
        description="Waiting requests that one full replica may have before another starts.",
    )
    kv_cache_percent: int = Field(default=80, ge=10, le=100, description="KV-cache use aimed at, in percent.")
    tolerance_percent: int = Field(
        default=10,
        ge=0,
        le=50,
        description="Overload up to which nothing changes, in percent of a replica's share.",
    )
    scale_down_window_seconds: int = Field(
        default=300,
        ge=0,
        le=3600,
        description="Replicas fall to the highest number recommended in this window.",
    )
