"""Remembers what earlier writes showed, so that later writes cost less and are reported correctly.

To save writes: what the cluster changes back, which tiers were tried while nobody answered, and what is refused. A
refusal stands until a person changes the tier, a policy or a right, so it is tried again later each time.

To report correctly: which spec waits to be written (a later try does not heal a change by hand), and which changes of
replicas were requested without an answer. They are kept until the cluster shows whether they were made.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tierwise.types import ActionError, PendingScale, TierKey

# Between two tries of what was refused: doubled each time. What a person repairs is noticed within the longest.
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 10.0, 300.0


class WriteKey(NamedTuple):
    """Which write: UID and generation of the tier, digest of what was rendered."""

    uid: str
    generation: int
    digest: str


@dataclass(frozen=True, slots=True)
class RefusedWrite:
    """A write that was refused: which (`mark`), when (seconds since the epoch), how long it is not tried again, why."""

    mark: WriteKey
    at: float
    wait: float
    error: ActionError

    def stands(self, mark: WriteKey, now: float) -> bool:
        """Whether the same write need not be tried yet. A clock that was set back ends the wait."""
        return self.mark == mark and self.at <= now < self.at + self.wait


@dataclass(slots=True)
class WriteState:
    """What earlier writes taught this process. Losing it costs one write per tier, never a wrong one; and perhaps that
    a change of replicas is not told."""

    # What the cluster changed back: digest of what was applied, and of what became of it.
    contested: dict[TierKey, tuple[str, str]] = field(default_factory=dict)
    # When a tier was last tried while nobody answered: the others go first the next time.
    failed_at: dict[TierKey, float] = field(default_factory=dict)
    # What was refused, and is tried again later each time.
    refused: dict[TierKey, RefusedWrite] = field(default_factory=dict)
    # Which generation of a spec is not written yet, as far as this process has seen it come.
    changed: dict[TierKey, int] = field(default_factory=dict)
    # Changes of replicas of which it is not known, or not told yet, that they were made: oldest first.
    attempts: dict[TierKey, tuple[PendingScale, ...]] = field(default_factory=dict)

    def keep(self, keys: Iterable[TierKey]) -> None:
        """Forget the tiers that are gone."""
        alive = set(keys)
        self.contested = {key: value for key, value in self.contested.items() if key in alive}
        self.failed_at = {key: value for key, value in self.failed_at.items() if key in alive}
        self.refused = {key: value for key, value in self.refused.items() if key in alive}
        self.changed = {key: value for key, value in self.changed.items() if key in alive}
        self.attempts = {key: value for key, value in self.attempts.items() if key in alive}

    def will_scale(self, key: TierKey, attempt: PendingScale) -> None:
        """Note a change of replicas, before it is asked for. Of equal ones the first is kept: it may be the one that
        was made, and each later one is then refused."""
        before = self.attempts.get(key, ())
        same = [each for each in before if (each.uid, each.generation) == (attempt.uid, attempt.generation)]
        if all(each.to != attempt.to for each in same):
            same.append(attempt)
        self.attempts[key] = tuple(same)

    def did_not_scale(self, key: TierKey, attempt: PendingScale) -> None:
        """That change was refused. An equal one before it may have been made all the same."""
        self.scaled(key, tuple(each for each in self.attempts.get(key, ()) if each is not attempt))

    def scaled(self, key: TierKey, doubtful: tuple[PendingScale, ...] = ()) -> None:
        """Keep only these changes as not known to be made."""
        if doubtful:
            self.attempts[key] = doubtful
        else:
            self.attempts.pop(key, None)

    def went_well(self, key: TierKey) -> None:
        """Nothing stands against the next write of this tier, and nothing is left from the last."""
        self.changed.pop(key, None)
        self.failed_at.pop(key, None)
        self.refused.pop(key, None)

    def went_wrong(self, key: TierKey, mark: WriteKey, error: ActionError, now: float) -> None:
        """Remember what the next write of this tier must know."""
        if error.transient:
            self.failed_at[key] = now
            return
        before = self.refused.get(key)
        same = before is not None and before.mark == mark
        wait = min(LONGEST_WAIT_SECONDS, 2 * before.wait) if before is not None and same else FIRST_WAIT_SECONDS
        self.refused[key] = RefusedWrite(mark, now, wait, error)
