"""Holds what the routers of a route say of choosing by content."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class ClassifierStanding:
    """How a classifier stands in some routers: `state` (Serves, Shadows, Refused), the reason, the first digits of the
    SHA-256 of its file (empty: there is none in use), and how many routers say so."""

    state: str
    reason: str
    digest: str
    routers: int


@dataclass(frozen=True, slots=True)
class ClassifierReport:
    """What all routers of a route say of its classifier. `standings`: most routers first; the numbers are those of the
    routers that use one, in percent but for `labels`, and None where no router says them."""

    standings: tuple[ClassifierStanding, ...]
    labels: float | None = None
    needed_share: float | None = None
    applied_share: float | None = None
    expected_quality: float | None = None
    lower_quality: float | None = None
    wanted_share: float | None = None
    unpressed_quality: float | None = None
    """What would be expected at the share that quality asks for."""
