"""Decides whether a status must be written now.

A status write wakes every watcher, this operator included. So what people and tools wait for is written at once; what
only varies with the load (waiting requests, percentages, figures of a decision) at most every 15 seconds; and an equal
status is never written.
"""

from __future__ import annotations

from tierwise import reasons
from tierwise.api.conditions import Condition
from tierwise.api.modeltier_status import ModelTierStatus

QUIET_SECONDS = 15.0
# All of these follow the load; none of them is what a client waits for.
_VOLATILE = (
    "waiting",
    "kv_cache_percent",
    "prefix_hit_percent",
    "accepted_percent",
    "ttft_met_percent",
    "inter_token_met_percent",
    "speculation",
    "cost_per_million_tokens",
    "limited_by",
    "pools",
)


def should_write(old: ModelTierStatus, new: ModelTierStatus, last_write_age: float | None) -> bool:
    """Whether `new` must replace `old` now. `last_write_age`: seconds since this process last wrote the status of
    this tier, None when it never did."""
    if old == new:
        return False
    if important(old) != important(new):
        return True
    return last_write_age is None or last_write_age >= QUIET_SECONDS


def important(status: ModelTierStatus) -> ModelTierStatus:
    """`status` without what follows the load: equal results mean that a write may wait."""
    blank = ModelTierStatus()
    return status.model_copy(
        update={
            **{name: getattr(blank, name) for name in _VOLATILE},
            "conditions": [_important(condition) for condition in status.conditions],
            "scaling": blank.scaling.model_copy(update={"decisions": status.scaling.decisions}),
        }
    )


def _important(condition: Condition) -> Condition:
    """Without the wording; and what limits a target changes with the load, unlike that a tier is not served."""
    if condition.type == reasons.SCALING_LIMITED:
        return condition.model_copy(
            update={"status": "Unknown", "reason": "", "message": "", "last_transition_time": ""}
        )
    return condition.model_copy(update={"message": "", "last_transition_time": ""})
