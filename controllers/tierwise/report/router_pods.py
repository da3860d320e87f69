"""Finds why a new router does not start.

Routers that run serve on while a new one cannot start, so nothing else shows it: a Secret that was named and not made,
an image that is not there. Which Secret is missing only the kubelet knows, in an Event; the operator reads neither, and
names those that the pod mounts.
"""

from __future__ import annotations

from collections.abc import Iterable

from tierwise import reasons
from tierwise.api.modelroute import ModelRouteSpec
from tierwise.api.modelroute_status import LadderTier
from tierwise.kube.objects import TLS_CERTIFICATE, TLS_KEY
from tierwise.pod_diagnosis import IMAGE_WAITS
from tierwise.text_sanitize import last_words, pull_failure, sanitize
from tierwise.types import PodFacts, RoutePlan, RouteView

# A pod has its volumes and its network within seconds.
MOUNT_SECONDS = 30.0
_STARTS = frozenset({"", "ContainerCreating", "PodInitializing"})


def router_problem(view: RouteView, plan: RoutePlan, now: float) -> tuple[str, str] | None:
    """A reason and what happened, of the first pod that does not start; None when each does or may still. `now`:
    seconds since the epoch."""
    spec = view.route.spec
    if spec is None:
        return None
    for pod in view.pods:
        if not pod.ready and not pod.terminating:
            found = _problem(pod, _secrets(spec, plan.ladder), now)
            if found is not None:
                return found[0], f"pod {pod.name}: {found[1]}"
    return None


def _problem(pod: PodFacts, secrets: tuple[str, ...], now: float) -> tuple[str, str] | None:
    if not pod.scheduled:
        return (reasons.ROUTER_STUCK, sanitize(pod.unschedulable_message)) if pod.unschedulable_message else None
    if pod.waiting_reason in IMAGE_WAITS:
        return reasons.ROUTER_STUCK, pull_failure(pod.waiting_message) or "its image cannot be pulled"
    if pod.waiting_reason not in _STARTS:
        words = last_words(pod.last_exit_message)
        said = f"its last line: {words}" if words else sanitize(pod.waiting_message)
        return reasons.ROUTER_STUCK, f"{pod.waiting_reason}; {said}" if said else pod.waiting_reason
    since = pod.created_at if pod.scheduled_at is None else pod.scheduled_at
    if secrets and pod.mounting and now - since > MOUNT_SECONDS:
        which = ", ".join(secrets)
        return reasons.SECRET_MISSING, f"it gets no volumes. One of these, or a key in it, does not exist: {which}"
    return None


def _secrets(spec: ModelRouteSpec, ladder: Iterable[LadderTier]) -> tuple[str, ...]:
    """The Secrets that a router mounts, as a person would look for them."""
    providers = [tier.provider for tier in ladder if tier.provider is not None]
    named = [f"Secret {each.secret_name} (key {each.secret_key})" for each in providers if each.secret_name]
    if spec.clients.secret_name is not None:
        named.append(f"Secret {spec.clients.secret_name}")
    if spec.tls is not None:
        named.append(f"Secret {spec.tls.secret_name} (keys {TLS_CERTIFICATE}, {TLS_KEY})")
    return tuple(dict.fromkeys(named))
