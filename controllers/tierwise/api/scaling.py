"""Describes how the replicas of a tier follow its load."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tierwise.api.base import Model, Rule
from tierwise.api.service_targets import ServiceTargets


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
        description="Advisory computes and shows replicas. It never changes them, except for the first start from 0.",
    )
    min_replicas: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="Fewest replicas of automatic scaling. 0: a tier that a ModelRoute names has no replica while "
        "nobody wants it (idleSeconds); the next request in a router starts one.",
    )
    max_replicas: int = Field(default=1, ge=1, le=1000, description="Most replicas of automatic scaling.")
    waiting_per_replica: int = Field(
        default=5,
        ge=0,
        le=1000,
        description="Waiting requests that one full replica may have before another one starts.",
    )
    kv_cache_percent: int = Field(default=80, ge=10, le=100, description="Target use of the KV cache, in percent.")
    tolerance_percent: int = Field(
        default=10,
        ge=0,
        le=50,
        description="Overload that causes no change, in percent of the present replicas' capacity.",
    )
    scale_down_window_seconds: int = Field(
        default=300,
        ge=0,
        le=3600,
        description="Replicas fall only to the highest number recommended in this window.",
    )
    idle_seconds: int = Field(
        default=300,
        ge=1,
        le=86400,
        description="With minReplicas 0: the last replica ends when no router had a request that wanted the tier for "
        "so long. All ready routers must be measured meanwhile.",
    )
    targets: ServiceTargets | None = Field(
        default=None,
        description="The service level that replicas are to keep. Replicas are added while it is missed, and the load "
        "per replica at which it is kept is learned.",
    )
