"""Knows the flags, metric names and methods of each engine version, and renders the arguments of a spec.

Everything that differs between engine releases is data (`profiles`), so that a new release is a table entry and a
golden file, and no other room ever compares version numbers. The renderer (`arguments`) turns typed fields into an
argument list in exec form: one `--flag=value` element per option, in a fixed order, never through a shell.
"""

from __future__ import annotations

from tierwise.engines.arguments import (
    ALIAS,
    CHAT_TEMPLATE,
    KEEP_ALIVE_SECONDS,
    MODEL_PATH,
    arguments,
    environment,
    model_argument,
)
from tierwise.engines.check import check
from tierwise.engines.finding import Finding
from tierwise.engines.profiles import MetricNames, Profile, profile, profiles
from tierwise.engines.resolved_facts import effective_facts
from tierwise.engines.shape import model_shape
from tierwise.types.capabilities import GPU, UNKNOWN, Facts, ModelShape

__all__ = [
    "ALIAS",
    "CHAT_TEMPLATE",
    "GPU",
    "KEEP_ALIVE_SECONDS",
    "MODEL_PATH",
    "UNKNOWN",
    "Facts",
    "Finding",
    "MetricNames",
    "ModelShape",
    "Profile",
    "arguments",
    "check",
    "effective_facts",
    "environment",
    "model_argument",
    "model_shape",
    "profile",
    "profiles",
]
