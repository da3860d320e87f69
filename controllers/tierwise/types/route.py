"""Holds what is observed of a route, what shall be done for it, and what became of that.

A route has no state of its own between decisions: its ladder follows from the tiers as they are now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tierwise.api.modelroute import ModelRouteSpec
from tierwise.api.modelroute_status import (
    BudgetStatus,
    LadderTier,
    ModelRouteStatus,
    PressureStatus,
    QualityStatus,
)
from tierwise.types.outcome import ActionError
from tierwise.types.route_signals import RouteSignals
from tierwise.types.snapshot import PodFacts, TierKey


class RouteKey(TierKey):
    """Namespace and name of a ModelRoute."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class RouteObject:
    """One ModelRoute as the API server has it. `spec` is None when it cannot be used; `invalid` then says why."""

    key: RouteKey
    uid: str
    generation: int
    resource_version: str
    created_at: float
    spec: ModelRouteSpec | None
    status: ModelRouteStatus
    invalid: str = ""
    deleting: bool = False

    @property
    def model_names(self) -> tuple[str, ...]:
        """The names that its policy routes."""
        given = tuple(self.spec.model_names) if self.spec is not None else ()
        return given or (self.key.name,)


@dataclass(frozen=True, slots=True)
class RouteChild:
    """One object that was made for a route: of which kind (its plural), its manifest as read, and of a Deployment how
    many replicas it asks for, how many are ready and why it could not make one (empty: it could)."""

    plural: str
    name: str
    manifest: Mapping[str, Any]
    deleting: bool = False
    replicas: int = 0
    ready_replicas: int = 0
    failed_create: str = ""


@dataclass(frozen=True, slots=True)
class RouteView:
    """One route with all that is known of it: the objects that it controls, the pods of its routers by name, and what
    was measured of it."""

    route: RouteObject
    children: tuple[RouteChild, ...] = ()
    pods: tuple[PodFacts, ...] = ()
    signals: RouteSignals = field(default_factory=RouteSignals)
    scalers: tuple[str, ...] = ()  # who scales the Deployment of its routers, e.g. ("HorizontalPodAutoscaler/chat",)

    def child(self, plural: str, name: str = "") -> RouteChild | None:
        """The child of this kind, and of this name where one is given. Only of RoleBindings a route may have several:
        one for each ClusterRole that its routers have had."""
        return next((each for each in self.children if each.plural == plural and name in ("", each.name)), None)


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """What shall be done for one route.

    `serve`: its children shall exist as rendered; otherwise they are left as they are. `invalid` (a reason and a
    message) says why the spec is not accepted. `ready` are the names of the tiers that answer, `asleep` of those that
    are at zero until somebody wants them, `starting` of those whose first replica is on its way. `failure`: the
    traceback of a defect that this route met; it then keeps what it has, and nothing is told of it. `budget` is what is
    spent and leased; None without a budget. `quality` is what judges say, None where it is not measured; `pressure` how
    far the share is moved, None where it is not."""

    key: RouteKey
    ladder: tuple[LadderTier, ...]
    serve: bool = False
    invalid: tuple[str, str] | None = None
    ready: tuple[str, ...] = ()
    asleep: tuple[str, ...] = ()
    starting: tuple[str, ...] = ()
    failure: str = ""
    budget: BudgetStatus | None = None
    quality: QualityStatus | None = None
    pressure: PressureStatus | None = None


@dataclass(frozen=True, slots=True)
class RouterPod:
    """How routers run in this installation: settings of the operator, not of a route."""

    image: str
    cluster_role: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    resources: Mapping[str, Any] = field(default_factory=dict)
    body_memory_mib: int = 128
    """What the bodies of all requests may take together in one router."""
    env: tuple[Mapping[str, Any], ...] = ()
    """Further variables of the container, as in a pod."""
    namespace_user: bool = False
    """Whether the cluster gives its pods their user, from the range of their namespace."""
    ipv6: bool = False
    """Whether it listens on IPv6."""


@dataclass(frozen=True, slots=True)
class ChildEvent:
    """A child that was written: what a person should hear of it (a reason), which it is, and why."""

    reason: str
    child: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RouteOutcome:
    """What was done for one route."""

    key: RouteKey
    written: tuple[ChildEvent, ...] = ()
    error: ActionError | None = None
