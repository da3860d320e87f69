"""Names the workloads of a tier: one for each GPU pool that it runs in.

    <tier>           in the first pool, or of a tier that names no pool
    <tier>-<pool>    in every other one

A name is decided once and recorded in the status with its pool, since another name would be other pods. What is
recorded for a pool that the tier no longer names is retired: it ends once the others carry its load. A tier that begins
to name pools, or names none any more, keeps the workload that it has for its first place: no second one has to start
beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

from tierwise.types import TierObject

NO_POOL = ""


class WorkloadName(NamedTuple):
    """A workload: its InferenceService's name, the GPUPool that it runs in (empty: none), and whether the tier does not
    name that pool any more."""

    name: str
    pool: str = NO_POOL
    retired: bool = False


def workload_names(tier: TierObject) -> tuple[WorkloadName, ...]:
    """The workloads of a tier, in the order of its pools, and then those that are retired. Never empty."""
    recorded = [WorkloadName(each.name, each.pool) for each in tier.status.inference_services]
    if tier.spec is None:  # as it was
        return tuple(recorded) or (WorkloadName(tier.key.name),)
    pools = [each.name for each in tier.spec.pools] or [NO_POOL]
    names = {each.pool: each.name for each in recorded} | _taken_over(recorded, pools)
    used = {each.name for each in recorded}
    for pool in pools:
        if pool not in names:
            names[pool] = _new_name(tier.key.name, pool, used, first=pool == pools[0])
            used.add(names[pool])
    staying = tuple(WorkloadName(names[pool], pool) for pool in pools)
    kept = {each.name for each in staying}
    return *staying, *(each._replace(retired=True) for each in recorded if each.name not in kept)


def _taken_over(recorded: Sequence[WorkloadName], pools: Sequence[str]) -> dict[str, str]:
    """The workload that goes on in the first place, though it was recorded without a pool, or with one."""
    if any(each.pool == pools[0] for each in recorded):
        return {}
    free = [each for each in recorded if each.pool not in pools and NO_POOL in (each.pool, pools[0])]
    return {pools[0]: free[0].name} if free else {}


def _new_name(tier: str, pool: str, used: set[str], *, first: bool) -> str:
    wanted = tier if first and tier not in used else f"{tier}-{pool}"
    numbered = (f"{wanted}-{number}" for number in count(2))
    return wanted if wanted not in used else next(name for name in numbered if name not in used)
