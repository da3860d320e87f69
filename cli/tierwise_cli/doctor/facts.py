"""Defines what a look at a cluster has seen, and what is found.

`Unread` stands for whatever could not be read, and says why: a user who may not list nodes has no broken cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["ok", "warning", "problem", "unknown"]


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that could not be read."""

    why: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found: how bad, what, and what to do about it."""

    check: str
    level: Level
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Definition:
    """One CRD as the cluster has it: whether it is served, in which versions, and the digest of its schema."""

    established: bool
    served: tuple[str, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Installation:
    """One Deployment of the operator. `watched`: its namespaces, empty for all. `renewed`: seconds since its Lease was
    renewed, None where that is not known."""

    namespace: str
    name: str
    version: str
    ready: int
    watched: frozenset[str] = frozenset()
    prometheus: str = ""
    renewed: float | None = None

    def watches(self, namespace: str) -> bool:
        """Whether it looks at this namespace."""
        return not self.watched or namespace in self.watched

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Manager:
    """KServe's controller, where it runs as a Deployment."""

    namespace: str
    version: str
    ready: int


@dataclass(frozen=True, slots=True)
class Call:
    """One request that was tried: seconds, and the answer where it was refused."""

    seconds: float
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether something answered: None where it could not be tried from here."""

    url: str
    answered: bool | None
    said: str = ""


@dataclass(frozen=True, slots=True)
class Selector:
    """What a Prometheus object selects PodMonitors by: their labels; empty for all. `more`: by expressions, too."""

    labels: Mapping[str, str] = field(default_factory=dict)
    more: bool = False

    def fits(self, labels: Mapping[str, str]) -> bool | None:
        """Whether it selects what has these labels; None where that cannot be told."""
        if any(labels.get(key) != value for key, value in self.labels.items()):
            return False
        return None if self.more else True


@dataclass(frozen=True, slots=True)
class Monitors:
    """PodMonitors of Tierwise, by their labels, and what each Prometheus object of the cluster selects PodMonitors by
    (None: it has no selector, and selects nothing)."""

    labels: tuple[Mapping[str, str], ...]
    selectors: tuple[Selector | None, ...] = ()


@dataclass(frozen=True, slots=True)
class GPUNode:
    """A node with GPUs: how many it offers, whether pods can go there."""

    name: str
    gpus: int
    usable: bool


@dataclass(frozen=True, slots=True)
class TierState:
    """The state of a tier in one word, and the reason."""

    name: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that was seen. `expected`: the digests of the CRDs that this release brings."""

    namespace: str
    kubernetes: str | Unread = field(default_factory=lambda: Unread("not looked at"))
    skew_seconds: float | Unread = field(default_factory=lambda: Unread("not looked at"))
    crds: Mapping[str, Definition | None] | Unread = field(default_factory=lambda: Unread("not looked at"))
    expected: Mapping[str, str] = field(default_factory=dict)
    kserve: Definition | Unread | None = field(default_factory=lambda: Unread("not looked at"))
    managers: tuple[Manager, ...] | Unread = field(default_factory=lambda: Unread("not looked at"))
    webhook: Call | Unread = field(default_factory=lambda: Unread("not looked at"))
    installations: tuple[Installation, ...] | Unread = field(default_factory=lambda: Unread("not looked at"))
    prometheus: Probe | Unread = field(default_factory=lambda: Unread("not looked at"))
    monitors: Monitors | Unread | None = field(default_factory=lambda: Unread("not looked at"))
    missing_rights: tuple[str, ...] | Unread = field(default_factory=lambda: Unread("not looked at"))
    gpus: tuple[GPUNode, ...] | Unread = field(default_factory=lambda: Unread("not looked at"))
    tiers: tuple[TierState, ...] | Unread = field(default_factory=lambda: Unread("not looked at"))
