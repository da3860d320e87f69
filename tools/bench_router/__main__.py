"""Compares the router with others: `python -m tools.bench_router` (or `make bench-router`).

All contenders stand before the same two stub engines, one after the other, on the same machine, which should do nothing
else. Three rounds, of which the medians count, since single runs on a shared machine prove little.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from rich.console import Console
from rich.table import Table

from tools.bench_router import contenders, measure
from tools.bench_router.contenders import Contender, Running

OTHER_FILES = 1_000
COMMAND = "python -m tools.bench_router"
CONTENDERS: dict[str, Callable[[], Contender]] = {
    "tierwise": contenders.ours,
    "vllm-router-cache-aware": lambda: contenders.vllm_router("cache_aware"),
    "vllm-router-round-robin": lambda: contenders.vllm_router("round_robin"),
    "envoy": contenders.envoy,
    "litellm": contenders.litellm,
}
Measured = TypeVar("Measured", measure.Requests, measure.Streams)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; with --out, write JSON as well."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="The router beside others.")
    parser.add_argument("--out", type=Path, help="write the results here, e.g. docs/results/router.json")
    parser.add_argument("--only", nargs="+", choices=["direct", *CONTENDERS], help="some of them (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the medians count (default: 3)")
    parser.add_argument("--seconds", type=int, default=5, help="of load per figure and round (default: 5)")
    parser.add_argument("--streams", type=int, nargs="*", default=[2_000, 9_400], help="at once (default: 2000 9400)")
    given = parser.parse_args(arguments)
    _many_files(max(given.streams, default=0))
    wanted = given.only or ["direct", *CONTENDERS]
    rows = []
    with tempfile.TemporaryDirectory() as made, contenders.engines(2, Path(made)) as engines:
        for name in wanted:
            try:
                rows.append(_contender(name, engines, Path(made), given))
            except Exception:
                _show(rows)  # what was measured before is not lost
                raise
            _tell(f"{name}: measured")
    result = {"command": COMMAND, "machine": _machine(), "rounds": given.rounds, "rows": rows}
    _show(rows)
    if given.out:
        given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def _contender(name: str, engines: Sequence[Running], folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    if name == "direct":
        return {"name": "direct, no router", "version": "", **_figures(engines[0], folder, given)}
    contender = CONTENDERS[name]()
    urls = [one.url for one in engines]
    with contenders.running(contender, urls, folder / name) as target:
        measure.requests(target, 8, 2, folder)  # warm
        return {"name": contender.name, "version": contender.version, **_figures(target, folder, given)}


def _figures(target: Running, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    rounds = range(given.rounds)
    one = _median([measure.requests(target, 1, given.seconds, folder) for _ in rounds])
    many = _median([measure.requests(target, 32, given.seconds, folder) for _ in rounds])
    streams = []
    for count in given.streams:
        gap_ms = count // 2  # about 2,000 events a second in all, whatever their number
        streams.append(asdict(uvloop.run(measure.streams(target, count, 20, gap_ms))))
    return {"one": asdict(one), "many": asdict(many), "streams": streams}


def _median(measured: Sequence[Measured]) -> Measured:
    middle = {
        field.name: statistics.median(getattr(each, field.name) for each in measured) for field in fields(measured[0])
    }
    return replace(measured[0], **middle)


def _show(rows: Sequence[dict[str, Any]]) -> None:
    table = Table(
        "", "p50 ms, 1", "p99 ms, 1", "req/s, 32", "p99 ms, 32", "CPU us/req", title="whole answers, 2 KB prompt"
    )
    streams = Table(
        "", "streams", "errors", "CPU us/event", "of it user", "gap p50 ms", "gap p99 ms", "KiB/stream", title="streams"
    )
    for row in rows:
        one, many = row["one"], row["many"]
        table.add_row(
            *(row["name"], f"{one['p50_ms']:.3f}", f"{one['p99_ms']:.2f}", f"{many['per_second']:,.0f}"),
            *(f"{many['p99_ms']:.2f}", f"{many['cpu_us']:.0f}"),
        )
        for each in row["streams"]:
            streams.add_row(
                *(
                    row["name"],
                    f"{each['streams']:,}",
                    str(each["errors"]),
                    f"{each['cpu_us']:.1f}",
                    f"{each['user_us']:.1f}",
                ),
                *(f"{each['gap_p50_ms']:.0f}", f"{each['gap_p99_ms']:.0f}", f"{each['memory_kib']:.1f}"),
            )
    console = Console()
    console.print(table)
    console.print(streams)


def _machine() -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    cpus = len([line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("processor")])
    return {"commit": commit, "cpus": cpus, "python": platform.python_version(), "system": platform.system()}


def _many_files(streams: int) -> None:
    """A router has two sockets for each stream."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * streams + OTHER_FILES
    wanted = max(most, needed)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    except (OSError, ValueError):
        sys.exit(f"{streams:,} streams need {needed:,} open files; the limit is {most:,} (ulimit -Hn)")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
