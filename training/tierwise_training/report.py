"""Counts what labels say about themselves: how the tiers compare, and how far the judge is to be trusted. Pure.

"As good" is the cheap tier's answer not being worse than the reference tier's: a win or a tie. Compared with its own
second answer the reference tier is not always as good either: that share is the ceiling, and parity is measured by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tierwise_training import verdicts
from tierwise_training.intervals import Interval, clopper_pearson, corrected, wilson
from tierwise_training.labels import JudgeRecord, Label, Pair

ENOUGH = 300
"""Labels below which `tierwise train` refuses to promise anything."""
SHORTER, LONGER = 0.8, 1.25
LENGTHS = ("shorter", "about as long", "longer")
_AS_GOOD = ("win", "tie")


@dataclass(frozen=True, slots=True)
class LengthRow:
    """The verdicts where the cheap tier's answer is shorter than the reference tier's, about as long, or longer."""

    wins: int = 0
    ties: int = 0
    losses: int = 0

    @property
    def n(self) -> int:
        """How many there are."""
        return self.wins + self.ties + self.losses


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of a file of labels. Shares have 95 % intervals; one of nothing has n = 0.

    `small_right`, `reference_right`: of usable labels. `as_good`: of those with a verdict. `ceiling`: the reference
    tier against itself. `stable`: the cheap tier's second answer had the same verdict as its first. `flips`: the
    judge's verdict changed with the order. `first_shown`: of verdicts that preferred an answer, those for the one shown
    first. `level`: `as_good` corrected by the judge's sensitivity and specificity."""

    labels: int
    usable: int
    kinds: tuple[str, ...]
    both: int
    only_small: int
    only_reference: int
    neither: int
    small_right: Interval
    reference_right: Interval
    as_good: Interval
    ceiling: Interval
    stable: Interval
    unknown_small: int
    unknown_reference: int
    unreadable_verdicts: int
    cut: int
    flips: Interval
    first_shown: Interval
    audited: int
    sensitivity: Interval
    specificity: Interval
    level: Interval
    by_length: dict[str, LengthRow] = field(default_factory=dict)
    cost: Decimal | None = None

    @property
    def cost_per_label(self) -> Decimal | None:
        """US dollars of one usable label; None where no price is known."""
        return None if self.cost is None or not self.usable else self.cost / self.usable


def report(labels: Sequence[Label]) -> Report:
    """Count."""
    known = [label for label in labels if label.known]
    pairs = [(label, label.judge) for label in labels if label.judge is not None]
    records = [record for _, record in pairs]
    judged = [record for record in records if record.verdict is not None]
    good = sum(record.verdict in _AS_GOOD for record in judged)
    asked = [record for record in records if record.orders]
    sensitivity, specificity, audited = _against_people(records)
    first, preferred = (sum(each) for each in zip((0, 0), *(verdicts.first_shown(one) for one in asked), strict=True))
    costs = [Decimal(record.cost_usd) for record in records if record.cost_usd is not None]
    flips = [flip for record in asked if (flip := verdicts.flipped(record)) is not None]
    again = [one.again for one in records if one.again is not None]
    ceiling = [one.ceiling.verdict for one in records if one.ceiling is not None and one.ceiling.verdict is not None]
    stable = [
        one.again.verdict == one.verdict for one in judged if one.again is not None and one.again.verdict is not None
    ]
    return Report(
        labels=len(labels),
        usable=len(known),
        kinds=tuple(sorted({record.kind for record in records if record.kind})),
        both=sum(bool(one.small.right and one.reference.right) for one in known),
        only_small=sum(bool(one.small.right and not one.reference.right) for one in known),
        only_reference=sum(bool(one.reference.right and not one.small.right) for one in known),
        neither=sum(not one.small.right and not one.reference.right for one in known),
        small_right=wilson(sum(bool(one.small.right) for one in known), len(known)),
        reference_right=wilson(sum(bool(one.reference.right) for one in known), len(known)),
        as_good=wilson(good, len(judged)),
        ceiling=wilson(sum(verdict in _AS_GOOD for verdict in ceiling), len(ceiling)),
        stable=wilson(sum(stable), len(stable)),
        unknown_small=sum(one.small.right is None for one in labels),
        unknown_reference=sum(one.reference.right is None for one in labels),
        unreadable_verdicts=_unreadable([*asked, *again]),
        cut=sum("length" in (one.small.finish_reason, one.reference.finish_reason) for one in labels),
        flips=wilson(sum(flips), len(flips)),
        first_shown=wilson(first, preferred),
        audited=audited,
        sensitivity=sensitivity,
        specificity=specificity,
        level=corrected(good, len(judged), sensitivity, specificity),
        by_length=_by_length(pairs),
        cost=sum(costs, Decimal(0)) if costs else None,
    )


def _unreadable(pairs: Sequence[Pair]) -> int:
    return sum(verdict is None for pair in pairs for verdict in pair.orders)


def _against_people(records: Sequence[JudgeRecord]) -> tuple[Interval, Interval, int]:
    """The judge's sensitivity (people say as good: the judge too) and specificity (worse: the judge too), exact."""
    both = [(one.audit in _AS_GOOD, one.verdict in _AS_GOOD) for one in records if one.audit and one.verdict]
    good = [judge for person, judge in both if person]
    bad = [not judge for person, judge in both if not person]
    return clopper_pearson(sum(good), len(good)), clopper_pearson(sum(bad), len(bad)), len(both)


def _by_length(pairs: Sequence[tuple[Label, JudgeRecord]]) -> dict[str, LengthRow]:
    counts = {name: [0, 0, 0] for name in LENGTHS}
    for label, record in pairs:
        small, reference = (0 if one.tokens is None else one.tokens.output for one in (label.small, label.reference))
        if record.verdict is None or not small or not reference:
            continue
        ratio = small / reference
        name = LENGTHS[0] if ratio < SHORTER else LENGTHS[2] if ratio > LONGER else LENGTHS[1]
        counts[name][("win", "tie", "loss").index(record.verdict)] += 1
    return {name: LengthRow(*row) for name, row in counts.items()}


def warnings(found: Report) -> list[str]:
    """What a person should know before training on these labels, each with what to do about it."""
    said = []
    if found.usable < ENOUGH:
        said.append(
            f"{found.usable} labels can be used; below {ENOUGH} tierwise train promises nothing: label more prompts"
        )
    unknown = max(found.unknown_small, found.unknown_reference)
    if found.labels and unknown > 0.05 * found.labels:
        said.append(
            f"of {unknown} of {found.labels} prompts an answer cannot be read or judged: ask for a fixed form "
            "(#### before the final number), or let a tier judge"
        )
    if found.labels and found.cut > 0.02 * found.labels:
        said.append(f"{found.cut} prompts have an answer that was cut at its token limit: allow more tokens")
    if found.flips.n >= 30 and found.flips.low > 0.2:
        said.append(
            f"the judge changes its verdict with the order in {_percent(found.flips.value)} of pairs, and those "
            "count as ties: take a better judge, or --ties unknown"
        )
    if found.first_shown.n >= 30 and not found.first_shown.low <= 0.5 <= found.first_shown.high:
        side = "first" if found.first_shown.value > 0.5 else "second"
        said.append(f"the judge prefers what is shown {side} ({_percent(found.first_shown.value)} first)")
    if found.ceiling.n >= 10 and found.ceiling.high < 0.9:
        said.append(
            f"the reference tier is as good as itself in only {_percent(found.ceiling.value)} of pairs: "
            "no tier can do better"
        )
    if any(kind.startswith("tier:") for kind in found.kinds) and found.audited < 60:
        said.append(
            f"people have judged {found.audited} pairs: --audit 60 would say how far the judge is to be trusted"
        )
    return said


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"
