"""Builds observations of a tier for tests of policies, and ticks a policy through them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from tierwise_sim.policies.observation import Autoscaler, PodObservation, TierObservation


def pod(name: str = "a", *, ready: bool = True, **figures: Any) -> PodObservation:
    """A ready pod that does nothing, unless said otherwise."""
    known: dict[str, Any] = {"running": 0.0, "waiting": 0.0, "kv_usage": 0.0, "kv_capacity_tokens": 10_000.0}
    return replace(PodObservation(name, ready), **{**(known if ready else {}), **figures})


def pods(count: int, **figures: Any) -> tuple[PodObservation, ...]:
    """That many ready pods that are alike."""
    return tuple(pod(f"pod-{index}", **figures) for index in range(count))


def starting(count: int) -> tuple[PodObservation, ...]:
    """That many pods without figures."""
    return tuple(pod(f"starting-{index}", ready=False) for index in range(count))


def tier(members: Iterable[PodObservation] = (), *, at: float = 0.0, **figures: Any) -> TierObservation:
    """A tier of one to ten replicas with these pods, as many as it asks for unless said otherwise."""
    members = tuple(members)
    seen = TierObservation(at=at, desired=len(members), minimum=1, maximum=10, pods=members)
    return replace(seen, **figures)


def ticks(policy: Autoscaler, observations: Iterable[TierObservation], *, start: float = 0.0) -> list[int]:
    """The replicas that the policy wishes at each, one period apart."""
    return [
        policy(replace(seen, at=start + index * policy.period_seconds)).replicas
        for index, seen in enumerate(observations)
    ]
