"""Holds the engine model against measured engines; `python -m tools.fidelity` runs this where the kernels are installed.

Every measured point is played through the scheduler (`tierwise_sim.engine`) with step times from each contender, and its
time to the first token, time between tokens and throughput are compared. Everything happens in virtual time and from one
seed, so the same code gives the same figures on every machine. With `--ship` the roofline and the overheads that the
package ships are fitted anew, to everything.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from random import Random

from rich.console import Console
from rich.progress import track
from rich.table import Table

import tierwise_sim
from tierwise_sim import closed_loop
from tierwise_sim.engine import Engine
from tierwise_sim.fitted import FILE
from tierwise_sim.step_time import StepTime
from tools.fidelity import efficiencies, other_engines, overheads, plausible
from tools.fidelity.contenders import CONTENDERS, Bench, Contender
from tools.fidelity.points import Point, read
from tools.fidelity.results import BARS, Error, Results, Row, contenders, missed, of, save

COMMAND = "make fidelity"
PACKAGE = "aiconfigurator-core"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare and print; with --out, write JSON as well. Exit code 1 when a bar is missed."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="The engine model beside measured engines.")
    parser.add_argument("--out", type=Path, help="write the results here, e.g. docs/results/fidelity.json")
    parser.add_argument("--every", type=int, default=1, help="only every so many-th point (default: all)")
    parser.add_argument("--ship", action="store_true", help="write the fit that the package ships, and stop")
    given = parser.parse_args(arguments)
    points = read()[:: given.every]
    console = Console(stderr=True)
    rows = list(track(efficiencies.rows(), "efficiencies of measured kernels", total=None, console=console))
    played = [overheads.play(point) for point in track(points, "schedules", console=console)]
    bench = Bench(played, rows)
    if given.ship:
        _ship(bench)
        return 0
    found = [row for contender in CONTENDERS for row in _judge(bench, contender, points, console)]
    engines, told = other_engines.ratios(read(None)), plausible.told(points, bench.kernels)
    results = Results(COMMAND, {PACKAGE: version(PACKAGE), "vllm kernels": "0.24.0"}, found, engines, told)
    _show(found)
    lines = missed(found)
    print("\n".join(lines) or "every bar is met")
    if given.out:
        save(results, given.out)
    return 1 if lines else 0


def _judge(bench: Bench, contender: Contender, points: Sequence[Point], console: Console) -> Iterator[Row]:
    step_time = bench.prepare(contender)
    for point in track(points, str(contender), console=console):
        yield _row(contender, point, step_time(point))


def _row(contender: Contender, point: Point, step_time: StepTime) -> Row:
    engine = Engine(point.settings, Random(0), step_time=step_time)  # noqa: S311 - a repeatable run
    figures = point.figures(closed_loop.play(engine, point.requests(), point.users))
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
        source=type(getattr(step_time, "inner", step_time)).__name__.lower(),
        inter_token=round(figures.inter_token / measured[1] - 1, 4),
        tokens=round(
            point.tokens_per_second(figures.ttft, figures.inter_token) / point.tokens_per_second(*measured) - 1, 4
        ),
        ttft=round(figures.ttft / measured[0] - 1, 4),
    )


def _ship(bench: Bench) -> None:
    """Fit to everything, and write the package's data file."""
    merged = efficiencies.merged(bench.rows)
    more = overheads.fitted(bench.played, bench.kernels)
    kept = {
        "source": f"efficiencies: kernels in {PACKAGE} {version(PACKAGE)} (vLLM 0.24.0; A100: 0.14.0); overheads: its "
        f"{len(bench.played)} measured end-to-end points of dense models under vLLM",
        "command": "make fidelity SHIP=1",
        "overheads": {key: float(f"{value:.3g}") for key, value in asdict(more).items()},
        "efficiencies": [
            {"gpu": gpu, "arithmetic": arithmetic}
            | {key: float(f"{value:.3g}") for key, value in asdict(found).items()}
            for (gpu, arithmetic), found in merged.items()
        ],
    }
    path = Path(tierwise_sim.__file__).parent / FILE
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path.name}")


def _show(rows: Sequence[Row]) -> None:
    table = Table("step times from", "left out", *(f"{what} % (bias), bar {bar}" for what, bar in BARS.items()))
    for name, out in contenders(rows):
        mine = of(rows, (name, out))
        table.add_row(name, out, *(str(Error.of([getattr(row, what) for row in mine])) for what in BARS))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
