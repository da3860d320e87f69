"""Draws simulations of one trace by cost and attainment: which of them no other one beats in both.

Those are filled and joined by a line; the others are hollow, so that grey print tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tierwise.html_page.chart import Axis, Chart, round_ticks
from tierwise.html_page.document import table
from tierwise_sim.replay.result import SimulationResult
from tierwise_sim.simulate_words import latency, money, share


def unbeaten(results: Sequence[SimulationResult]) -> list[int]:
    """The places of those that no other one beats: as cheap and as good, and better in one of the two."""
    known = [(number, *found) for number, each in enumerate(results) if (found := _place(each))]
    return [
        number
        for number, dollars, met in known
        if not any(
            other <= dollars and better >= met and (other, better) != (dollars, met) for _, other, better in known
        )
    ]


def best(results: Sequence[SimulationResult]) -> int:
    """The place of the one with the highest attainment, the cheapest of those."""
    return min(
        range(len(results)),
        key=lambda number: (-(results[number].total.attainment or 0.0), results[number].total.dollars, number),
    )


def choice(result: SimulationResult) -> str:
    """What was tried in this one."""
    return ", ".join(result.setup.what_if) or "as it is"


def frontier(results: Sequence[SimulationResult]) -> str:
    """The plot, and a table of the same figures."""
    kept = unbeaten(results)
    rows = [
        (
            f"{number + 1}: {choice(each)}",
            share(each.total.attainment),
            f"{each.total.worst_tier} {share(each.total.worst_attainment)}",
            latency(each.total.ttft, "p95"),
            money(each.total.dollars),
            f"{each.total.gpu_seconds.total / 3600:.1f}",
            "no" if number in kept else "yes" if _place(each) else "not known",
        )
        for number, each in enumerate(results)
    ]
    head = ("what if", "met", "worst tier", "TTFT p95", "$", "GPU-hours", "beaten by another")
    return _chart(results, kept) + table(head, rows)


def _chart(results: Sequence[SimulationResult], kept: Sequence[int]) -> str:
    known = {number: found for number, each in enumerate(results) if (found := _place(each))}
    if not known:
        return ""
    dollars = [place[0] for place in known.values()]
    met = [place[1] for place in known.values()]
    across = round_ticks(0, max(dollars), 6)
    up = [tick for tick in round_ticks(max(0.0, min(met) - 2), 100, 6) if tick <= 100]
    chart = Chart(
        "Requests that met both targets, by cost; a line joins those that no other simulation beats in both",
        Axis("US dollars", across[0], across[-1], across),
        Axis("met both targets", up[0], up[-1], up, " %"),
    )
    chart.line(sorted(known[number] for number in kept))
    for kind, wanted in (("hollow", False), ("dot", True)):
        chart.dots(
            [
                (*place, f"{choice(results[number])}: {money(results[number].total.dollars)} $, {place[1]:.1f} %")
                for number, place in known.items()
                if (number in kept) is wanted
            ],
            kind,
            4,
        )
    for place, numbers in _together(known):
        chart.label(place, numbers)
    return chart.draw()


def _together(known: dict[int, tuple[float, float]]) -> Iterator[tuple[tuple[float, float], str]]:
    """Simulations at one place share a label."""
    for place in sorted(set(known.values())):
        yield place, ", ".join(f"{number + 1}" for number, each in known.items() if each == place)


def _place(result: SimulationResult) -> tuple[float, float] | None:
    """US dollars and percent; None where nothing was judged."""
    attainment = result.total.attainment
    return None if attainment is None else (float(result.total.dollars), 100 * attainment)
