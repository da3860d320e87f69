"""Holds what is observed of a GPUPool: the object, what its nodes have, what others hold of it, what a GPU costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from tierwise.api.gpupool import GPUPoolSpec, GPUPoolStatus
from tierwise.types.capabilities import GPU


@dataclass(frozen=True, slots=True)
class PoolObject:
    """One GPUPool as the API server has it. `spec` is None when it does not parse; `invalid` then says why."""

    name: str
    uid: str
    generation: int
    resource_version: str
    created_at: float
    spec: GPUPoolSpec | None
    status: GPUPoolStatus
    invalid: str = ""
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class PoolPrice:
    """US dollars of one GPU for an hour. `source`: whose list price it is, where nobody has set one; empty: it is
    declared."""

    usd: Decimal
    source: str = ""

    @property
    def assumed(self) -> bool:
        """Whether it is a list price, which is nobody's price."""
        return bool(self.source)


@dataclass(frozen=True, slots=True)
class PoolView:
    """One pool with all that is known of it.

    `capacity`: GPUs of its Ready nodes; `others`: those that pods hold there which are of no tier of the pool. None:
    not known, and `unknown` (a reason and a sentence) says why. `gpu`: what one GPU is, as far as all nodes agree.
    `overlaps`: older pools that have nodes which this one selects, too; such nodes count there."""

    pool: PoolObject
    capacity: int | None = None
    others: int | None = None
    nodes: int = 0
    ready_nodes: int = 0
    gpu: GPU = field(default_factory=GPU)
    price: PoolPrice | None = None
    unknown: tuple[str, str] | None = None
    overlaps: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """That of the GPUPool."""
        return self.pool.name


@dataclass(frozen=True, slots=True)
class Pools:
    """All pools, sorted by name. `known`: whether the cluster has said which there are; `problem` says why not, where
    waiting does not help."""

    views: tuple[PoolView, ...] = ()
    known: bool = True
    problem: str = ""

    def find(self, name: str) -> PoolView | None:
        """The pool of this name, if there is one."""
        return next((view for view in self.views if view.pool.name == name), None)


@dataclass(frozen=True, slots=True)
class PoolUse:
    """The GPUs of one pool as they were before the allocation: `used` by claims, `pending` and `terminating` among
    them, `free` for more (None: not known); and what those cost that are not pending (None: no price)."""

    name: str
    used: int
    pending: int
    terminating: int
    free: int | None
    usd_per_hour: Decimal | None


NO_POOLS = Pools()
