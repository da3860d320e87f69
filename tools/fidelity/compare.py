"""Holds the engine model against measured engines; `python -m tools.fidelity` runs this where the kernels are.

Every measured point is played by the scheduler (`tierwise_sim.engine`) once, since in a closed loop the order of steps
does not depend on how long they last; then its times follow under every contender's step times, and are compared. Some
points are also run by the engine in full, to show that this is the same. Everything happens in virtual time and from
one seed, so the same code gives the same figures on every machine. With `--ship` the roofline and the overheads that
the package ships are fitted anew, to everything.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from random import Random

from rich.console import Console
from rich.progress import track

import tierwise_sim
from tierwise_sim import closed_loop
from tierwise_sim.engine import Engine
from tierwise_sim.fitted import FILE, Efficiencies, Fit, shipped
from tierwise_sim.step_time import Overheads, StepTime
from tools.fidelity import efficiencies, other_engines, overheads, plausible
from tools.fidelity.contenders import CONTENDERS, Bench, Contender
from tools.fidelity.overheads import Played
from tools.fidelity.points import read
from tools.fidelity.results import Results, Row, missed, save, tables

COMMAND = "make fidelity"
PACKAGE = "aiconfigurator-core"
RUN_IN_FULL = 40
"""Every so many-th point is also run by the engine itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare and print; with --out, write JSON as well. Exit code 1 when a bar is missed."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="The engine model beside measured engines.")
    parser.add_argument("--out", type=Path, help="write the results here, e.g. docs/results/fidelity.json")
    parser.add_argument("--every", type=int, default=1, help="only every so many-th point (default: all)")
    parser.add_argument("--ship", action="store_true", help="write the fit that the package ships, and stop")
    given = parser.parse_args(arguments)
    points = read()[:: given.every]
    console = Console(stderr=True)
    known: dict[tuple[object, ...], Played] = {}
    played = [overheads.play(point, known) for point in track(points, "schedules", console=console)]
    if given.ship:
        reached = list(track(list(efficiencies.engines()), "efficiencies of measured kernels", console=console))
        _ship(Bench(played, Fit([row for each in reached if (row := efficiencies.reached(*each))], Overheads(), "")))
        return 0
    bench = Bench(played, shipped())
    rows: list[Row] = []
    differences: list[float] = []
    for contender in track(CONTENDERS, "step times", console=console):
        step_time = bench.prepare(contender)
        rows += [_row(contender, each, step_time(each.point), bench.possible[each.point.id]) for each in played]
        differences += [_difference(each, step_time(each.point)) for each in played[::RUN_IN_FULL]]
    kept = Results(
        COMMAND,
        {PACKAGE: version(PACKAGE), "vllm kernels": "0.24.0"},
        rows,
        other_engines.ratios(read(None)),
        plausible.told(points, bench.kernels),
    )
    print("\n".join(tables(kept)))
    print(f"{len(differences)} of them run by the engine in full: {max(differences):.2%} from what its schedule says")
    if given.out:
        save(kept, given.out)
    return 1 if missed(rows) else 0


def _difference(played: Played, step_time: StepTime) -> float:
    """Between the time between tokens that the engine's schedule gives, and that of a run of the engine."""
    point = played.point
    engine = Engine(point.settings, Random(0), step_time=step_time)  # noqa: S311 - a repeatable run
    run = point.figures(closed_loop.play(engine, point.requests(), point.users))
    return abs(point.figures(closed_loop.timed(played.schedule, step_time)).inter_token / run.inter_token - 1)


def _row(contender: Contender, played: Played, step_time: StepTime, possible: bool) -> Row:
    point = played.point
    figures = point.figures(closed_loop.timed(played.schedule, step_time))
    measured = point.ttft_ms / 1000, point.inter_token_ms / 1000
    return Row(
        contender=contender.name,
        left_out=contender.left_out,
        model=point.model,
        gpu=point.gpu,
        precision=point.precision,
        tensor_parallel=point.tensor_parallel,
        prompt_tokens=point.prompt_tokens,
        output_tokens=point.output_tokens,
        users=point.users,
        protocol=point.protocol.name,
        possible=possible,
        source=type(getattr(step_time, "inner", step_time)).__name__.lower(),
        inter_token=round(figures.inter_token / measured[1] - 1, 4),
        tokens=round(
            point.tokens_per_second(figures.ttft, figures.inter_token) / point.tokens_per_second(*measured) - 1, 4
        ),
        ttft=round(figures.ttft / measured[0] - 1, 4),
    )


def _ship(bench: Bench) -> None:
    """Fit to everything, and write the package's data file."""
    more = overheads.fitted([each for each in bench.bare if bench.possible[each.played.point.id]])
    kept = {
        "source": f"efficiencies: kernels in {PACKAGE} {version(PACKAGE)} (vLLM 0.24.0; A100: 0.14.0); overheads: "
        f"{sum(bench.possible.values())} of its measured end-to-end points of dense models under vLLM",
        "command": f"{COMMAND} SHIP=1",
        "overheads": _rounded(more),
    }
    rows = [
        {"gpu": each.gpu, "arithmetic": each.arithmetic, "model": each.model, "error": round(each.error, 3)}
        | _rounded(each.efficiencies)
        for each in bench.fit.reached
    ]
    head = json.dumps(kept, indent=1).removesuffix("\n}")
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    text = f'{head},\n "reached": [\n{lines}\n ]\n}}\n'
    path = Path(tierwise_sim.__file__).parent / FILE
    path.write_text(text, encoding="utf-8")
    print(f"wrote {path.name}")


def _rounded(values: Overheads | Efficiencies) -> dict[str, float]:
    return {key: float(f"{value:.3g}") for key, value in asdict(values).items()}


if __name__ == "__main__":
    sys.exit(main())
