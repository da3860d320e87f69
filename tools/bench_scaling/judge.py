"""Holds the figures against what was promised, and says of each promise whether it was kept.

Nothing is rounded before it is compared, and a cell in which nothing can be compared is no kept promise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tierwise_sim.replay.autoscalers import OURS
from tools.bench_scaling.cases import (
    CONTENTION,
    KEDA,
    NO_FAULT,
    OUTAGES,
    PARTS,
    SCALING,
    WVA_FIXED,
    Case,
    family,
)
from tools.bench_scaling.run import Figures

REFERENCES = ("static", "oracle")
"""They know the load beforehand: shown, and no autoscaler that anybody could run."""
Found = Mapping[Case, Figures]
DOMINATED = "no baseline is better and cheaper"
BEST_KEDA = "as good as the best KEDA+EPP, at most at WVA's cost"
WORST_TIER = "the worst tier is served at least as well"
NO_REMOVAL = "nothing is removed while something is wrong"
BARS = (DOMINATED, BEST_KEDA, WORST_TIER, NO_REMOVAL)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise in one cell. `kept`: None where nothing that it is judged on has run; `said`: by what, or why not."""

    bar: str
    cell: Case
    kept: bool | None
    said: str


@dataclass(frozen=True, slots=True)
class Cell:
    """What is compared with each other: ours, and the others in the order of their names. `case`: that of ours."""

    case: Case
    ours: Figures
    others: Mapping[Case, Figures]

    def of(self, name: str) -> dict[Case, Figures]:
        """The points of one policy."""
        return {case: each for case, each in self.others.items() if family(case.scaler) == name}

    @property
    def rivals(self) -> dict[Case, Figures]:
        """Autoscalers that could be run: not those that know the load beforehand."""
        return {case: each for case, each in self.others.items() if family(case.scaler) not in REFERENCES}


def cells(found: Found, part: str) -> list[Cell]:
    """The cells of a part in which ours has run."""
    made = []
    for case, ours in found.items():
        if case.part != part or case.scaler != OURS:
            continue
        others = {
            other: figures for other, figures in found.items() if other.cell == case.cell and other.scaler != OURS
        }
        made.append(Cell(case, ours, dict(sorted(others.items(), key=lambda each: each[0].decides))))
    return made


def best(points: Mapping[Case, Figures]) -> Case | None:
    """The point with the highest attainment, the cheapest of those; None of nothing."""
    return min(points, key=lambda case: (-points[case].attainment, points[case].dollars), default=None)


def better_and_cheaper(cell: Cell) -> list[Case]:
    """The rivals that have both a higher attainment and a lower cost than ours."""
    ours = cell.ours
    return [
        case for case, each in cell.rivals.items() if each.attainment > ours.attainment and each.dollars < ours.dollars
    ]


def verdicts(found: Found) -> list[Verdict]:
    """All promises in all cells."""
    judges = {SCALING: _scaling, CONTENTION: _contention, OUTAGES: _outage}
    return [verdict for part in PARTS for cell in cells(found, part) for verdict in judges[part](cell)]


def missed(found: Found) -> list[str]:
    """One line per promise that was not kept."""
    return [f"{each.bar}: {place(each.cell)}: {each.said}" for each in verdicts(found) if each.kept is False]


def place(case: Case) -> str:
    """Where a cell is, for a reader."""
    said = [case.load, case.shape, f"start-up {case.startup:g} s"]
    if case.factor:
        said.append(f"{case.factor:g} times the budget")
    if case.floors:
        said.append(f"floors: {case.floors} of an equal share")
    if case.fault:
        said.append(case.fault)
    return ", ".join(said)


def percent(share: float) -> str:
    """Of a share: with as many digits as tell figures apart."""
    return f"{100 * share:.1f} %"


def point(case: Case, each: Figures) -> str:
    """A point in a few words."""
    return f"{case.decides} {percent(each.attainment)} at ${each.dollars:.2f}"


def _scaling(cell: Cell) -> Iterator[Verdict]:
    ours = cell.ours
    beaten = better_and_cheaper(cell)
    if not cell.rivals:
        yield Verdict(DOMINATED, cell.case, None, "no baseline has run")
    elif not beaten:
        yield Verdict(DOMINATED, cell.case, True, f"{len(cell.rivals)} points compared")
    else:
        cheapest = min(beaten, key=lambda case: cell.others[case].dollars)
        yield Verdict(
            DOMINATED,
            cell.case,
            False,
            f"{percent(ours.attainment)} at ${ours.dollars:.2f}, {len(beaten)} of {len(cell.rivals)} points are better "
            f"and cheaper, such as {point(cheapest, cell.others[cheapest])}",
        )
    keda = best(cell.of(KEDA))
    wva = next((case for case in cell.others if case.scaler == WVA_FIXED), None)
    if keda is None or wva is None:
        yield Verdict(BEST_KEDA, cell.case, None, "not both have run")
        return
    good = ours.attainment >= cell.others[keda].attainment
    cheap = ours.dollars <= cell.others[wva].dollars
    yield Verdict(
        BEST_KEDA,
        cell.case,
        good and cheap,
        f"{percent(ours.attainment)} at ${ours.dollars:.2f}; {point(keda, cell.others[keda])}; "
        f"WVA ${cell.others[wva].dollars:.2f}",
    )


def _contention(cell: Cell) -> Iterator[Verdict]:
    if not cell.rivals:
        yield Verdict(WORST_TIER, cell.case, None, "no baseline has run")
        return
    worst = cell.ours.worst[1]
    above = {case: each.worst[1] for case, each in cell.rivals.items() if each.worst[1] > worst}
    said = "; ".join(f"{case.decides} {percent(share)}" for case, share in above.items())
    yield Verdict(WORST_TIER, cell.case, not above, f"{percent(worst)}" + (f"; {said}" if said else ", the highest"))


def _outage(cell: Cell) -> Iterator[Verdict]:
    if cell.case.fault == NO_FAULT:
        return
    removed = cell.ours.removed
    yield Verdict(NO_REMOVAL, cell.case, removed == 0, f"{removed} replicas removed")


def counted(found: Found) -> Sequence[tuple[str, int, int, int]]:
    """Per promise: cells in which it was kept, in which it was missed, and in which nothing could be compared."""
    said = verdicts(found)
    return [
        (
            bar,
            sum(each.kept is True for each in said if each.bar == bar),
            sum(each.kept is False for each in said if each.bar == bar),
            sum(each.kept is None for each in said if each.bar == bar),
        )
        for bar in BARS
    ]
