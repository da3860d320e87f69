"""Holds the rows of the bill as values, and computes what each has saved against the rows that it is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tools.bill.run import Counted

BELOW_STATIC, BELOW_AUTOSCALED, OF_ATTAINMENT = 75.0, 60.0, 99.0
"""The bars: percent below the static reference, below the autoscaled one, and of its attainment."""
CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `dollars` and `gpu_hours` of the part of the trace that is judged; percents from 0 to 100, None where
    nobody knows. `fleet`: what was applied, for a person. `replicas`: the mean by tier; `share`: percent of the answers
    that the large tier and the API gave; `steps`: where step times come from."""

    key: str
    title: str
    fleet: str
    scaler: str
    dollars: float
    dollars_per_hour: float
    gpu_hours: float
    attainment: float
    met_ttft: float
    met_inter_token: float
    quality: float | None
    share: float
    spilled: float
    replicas: Mapping[str, float]
    steps: str

    @classmethod
    def of(cls, key: str, title: str, fleet: str, scaler: str, found: Counted) -> Row:
        """The line of what a run has found."""
        answered = sum(tier.answered for tier in found.tiers.values())
        small = found.tiers["small"].answered if "small" in found.tiers else 0
        spilled = sum(tier.answered for tier in found.tiers.values() if not tier.gpu_seconds)
        quality = found.quality
        return cls(
            key=key,
            title=title,
            fleet=fleet,
            scaler=scaler,
            dollars=float(found.dollars.quantize(CENT)),
            dollars_per_hour=float((found.dollars * 3600 / Decimal(str(found.seconds))).quantize(CENT)),
            gpu_hours=round(found.gpu_hours, 2),
            attainment=_percent(found.met, found.judged),
            met_ttft=_percent(found.met_ttft, found.judged),
            met_inter_token=_percent(found.met_inter_token, found.judged),
            quality=None if quality is None else round(100 * quality, 2),
            share=_percent(answered - small, answered),
            spilled=_percent(spilled, answered),
            replicas={name: round(tier.replicas, 2) for name, tier in found.tiers.items() if tier.gpu_seconds},
            steps=", ".join(sorted(set(found.steps.values()))),
        )


def saved(row: Row, other: Row) -> float:
    """Percent of the other row's dollars that this one does without; negative where it costs more."""
    return round(100 * (1 - row.dollars / other.dollars), 2) if other.dollars else 0.0


def kept(row: Row, other: Row) -> float:
    """The row's attainment in percent of the other's."""
    return round(100 * row.attainment / other.attainment, 2) if other.attainment else 100.0


def missed(rows: Sequence[Row], key: str, static: str, autoscaled: str) -> list[str]:
    """The bars that the row of this key misses, as sentences."""
    by_key = {row.key: row for row in rows}
    row, fixed, following = by_key[key], by_key[static], by_key[autoscaled]
    found = []
    if saved(row, fixed) <= BELOW_STATIC:
        found.append(f"{saved(row, fixed):.1f} % below the static reference, wanted: more than {BELOW_STATIC:.0f} %")
    if saved(row, following) <= BELOW_AUTOSCALED:
        found.append(
            f"{saved(row, following):.1f} % below the autoscaled reference, wanted: more than {BELOW_AUTOSCALED:.0f} %"
        )
    for other, name in ((fixed, "static"), (following, "autoscaled")):
        if kept(row, other) < OF_ATTAINMENT:
            found.append(
                f"{kept(row, other):.1f} % of the {name} reference's attainment, wanted: at least {OF_ATTAINMENT:.0f} %"
            )
    return found


def row_of(kept_before: Mapping[str, Any]) -> Row:
    """A line as it was written to JSON."""
    return Row(**kept_before)


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 2) if whole else 100.0
