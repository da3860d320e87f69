"""Describes a condition, the same for every kind: one statement about an object, with its reason and its remedy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tierwise.api.base import Model


class Condition(Model):
    """metav1.Condition."""

    type: str = Field(max_length=64, description="Name of the condition.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(max_length=64, description="One word for programs; docs/conditions.md lists them all.")
    message: str = Field(default="", max_length=1024, description="What happened and what to do about it.")
    last_transition_time: str = Field(max_length=32, description="When `status` last changed.")
    observed_generation: int = Field(default=0, ge=0, description="Generation of the spec this was said about.")
