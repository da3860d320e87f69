"""Defines what the status of a ModelRoute says about savings.

Amounts are text, as all money. Their digits are few enough that a route whose traffic only flickers is not written
again and again, and the parts still add up to the difference of the two amounts that stand beside them.
"""

from __future__ import annotations

from pydantic import Field

from tierwise.api.base import NAME_LENGTH, Model

MOST_PARTS = 16
MOST_NOTES = 8
LEAST_PERCENT = -1_000_000
"""Where a reference tier would have cost next to nothing; the amounts stand beside it."""


class SavedPart(Model):
    """What one tactic has saved."""

    tactic: str = Field(max_length=32, description="The tactic.")
    amount: str = Field(max_length=32, description="US dollars in the window; negative where it has cost.")


class SavingsStatus(Model):
    """What the work of the last hour would have cost on the reference tier, and which tactic saved how much of it."""

    reference_tier: str = Field(max_length=NAME_LENGTH, description="The tier that is compared with.")
    window_seconds: int = Field(default=0, ge=0, description="The amounts are of so many seconds.")
    baseline: str = Field(
        default="", max_length=32, description="US dollars of the same work on the reference tier, nothing cached."
    )
    cached_baseline: str = Field(
        default="", max_length=32, description="US dollars of it with every prompt read from the cache."
    )
    lower_baseline: str = Field(
        default="",
        max_length=32,
        description="US dollars of that, with replicas of the reference tier always full, and with answers as short as "
        "the pairs allow with 95 % confidence.",
    )
    actual: str = Field(
        default="",
        max_length=32,
        description="US dollars that were paid: answers, attempts without one, judges and shadows.",
    )
    saved_percent: int | None = Field(
        default=None,
        ge=LEAST_PERCENT,
        description="Percent of the baseline; negative: it cost more. -999 stands for all below.",
    )
    lower_bound_percent: int | None = Field(
        default=None,
        ge=LEAST_PERCENT,
        description="Percent of the lower baseline that was saved; -999 stands for all below.",
    )
    pairs: int = Field(default=0, ge=0, description="Requests of the last day that both tiers answered.")
    length_ratio: str = Field(
        default="",
        max_length=16,
        description="Output tokens of the reference tier for one of a cheaper tier: from the pairs, or 1 without them.",
    )
    length_ratio_lower: str = Field(default="", max_length=16, description="It is above this with 95 % confidence.")
    parts: list[SavedPart] = Field(
        default_factory=list,
        max_length=MOST_PARTS,
        description="What each tactic saved, one after another; they add up to baseline less actual.",
    )
    notes: list[str] = Field(
        default_factory=list, max_length=MOST_NOTES, description="What was assumed, or why nothing can be said."
    )
