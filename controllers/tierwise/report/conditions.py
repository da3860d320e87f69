"""Turns an evaluation into a condition that follows the Kubernetes conventions.

The conventions are those of metav1.Condition (KEP-1623): one condition of each type; `lastTransitionTime` moves only
when `status` does; `observedGeneration` says which spec was evaluated. Conditions of other writers are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tierwise.api.conditions import Condition
from tierwise.report.messages import message_for
from tierwise.times import rfc3339

Truth = Literal["True", "False", "Unknown"]
LIMIT = 8  # the CRD's maxItems


@dataclass(frozen=True, slots=True)
class ConditionUpdate:
    """What is to be said about one condition. `message` is complete, remedy included."""

    type: str
    status: Truth
    reason: str
    message: str


def condition_update(kind: str, status: Truth, reason: str, detail: str = "") -> ConditionUpdate:
    """A verdict whose message is `detail` (or what the reason means) and what to do about it."""
    return ConditionUpdate(kind, status, reason, message_for(reason, detail))


def find(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of this type, if there is one."""
    return next((condition for condition in conditions if condition.type == kind), None)


def merge(old: Sequence[Condition], verdicts: Sequence[ConditionUpdate], generation: int, at: float) -> list[Condition]:
    """The conditions after `verdicts`, ours first in the order given, then those of other writers."""
    merged = [_one(find(old, new.type), new, generation, at) for new in verdicts]
    ours = {new.type for new in verdicts}
    return (merged + [condition for condition in old if condition.type not in ours])[:LIMIT]


def _one(before: Condition | None, new: ConditionUpdate, generation: int, at: float) -> Condition:
    unchanged = before is not None and before.status == new.status
    return Condition(
        type=new.type,
        status=new.status,
        reason=new.reason,
        message=new.message,
        last_transition_time=before.last_transition_time if before is not None and unchanged else rfc3339(at),
        observed_generation=generation,
    )
