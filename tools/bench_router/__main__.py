"""Compares the router with others: `python -m tools.bench_router` (or `make bench-router`).

All contenders stand before the same two stub engines on the same machine, which should do nothing else. All are started
first and then measured in turn, round by round, so that a machine whose speed drifts is no worse for one than for
another. Three rounds, of which the medians count, since single runs on a shared machine prove little.
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
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import uvloop

from tools.bench_router import contenders, measure
from tools.bench_router.contenders import Contender, Running
from tools.bench_router.measure import Load
from tools.bench_router.show import show

OTHER_FILES = 150
"""What a router has open besides its streams: kept connections, mostly."""
COMMAND = "python -m tools.bench_router"
DIRECT = "direct"
CONTENDERS: dict[str, Callable[[], Contender]] = {
    "tierwise": contenders.ours,
    "vllm-router-cache-aware": lambda: contenders.vllm_router("cache_aware"),
    "vllm-router-round-robin": lambda: contenders.vllm_router("round_robin"),
    "envoy": contenders.envoy,
    "litellm": contenders.litellm,
    "floor": contenders.floor,
    "tierwise-two": contenders.two_of_ours,
}
LOADS = (Load(2_000, 2_000), Load(2_000, 20_000), Load(10_000, 5_000))
"""A token a second each, as an engine at its limit gives; ten a second; and the most streams of one router."""


@dataclass(slots=True)
class _Taken:
    """What was measured of one contender."""

    name: str
    version: str
    one: list[measure.Requests] = field(default_factory=list)
    many: list[measure.Requests] = field(default_factory=list)
    streams: list[measure.Streams] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "one": asdict(_median(self.one)) if self.one else None,
            "many": asdict(_median(self.many)) if self.many else None,
            "streams": [asdict(each) for each in self.streams],
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; with --out, write JSON as well. Exit code 1 when a contender did not start."""
    given = _parser().parse_args(arguments)
    most_streams = _most_streams(max((load.streams for load in given.loads), default=0))
    wanted = given.only or [DIRECT, *CONTENDERS]
    taken: dict[str, _Taken] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engines = stack.enter_context(contenders.engines(2, folder))
        made = {name: CONTENDERS[name]() for name in wanted if name != DIRECT}
        if given.beside:
            made["beside"] = contenders.other_checkout(given.beside)
        targets = {DIRECT: engines[0]} if DIRECT in wanted else {}
        missing = _start(stack, made, [one.url for one in engines], folder, targets)
        for name in targets:
            contender = made.get(name)
            taken[name] = _Taken(contender.name, contender.version) if contender else _Taken("direct, no router", "")
        try:
            _measure_requests(targets, taken, folder, given)
            for load in given.loads:
                _measure_streams(targets, taken, load, most_streams)
        finally:
            result = {
                "command": " ".join([COMMAND, *(sys.argv[1:] if arguments is None else arguments)]),
                "machine": _machine(),
                "rounds": given.rounds,
                "rows": [one.row() for one in taken.values()],
            }
            show(result)  # what was measured before a failure is not lost
    if given.out:
        given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for name, why in missing.items():
        _tell(f"{name} was not measured: {why}")
    return 1 if missing else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description="The router beside others.")
    parser.add_argument("--out", type=Path, help="write the results here, e.g. docs/results/router.json")
    parser.add_argument("--only", nargs="+", choices=[DIRECT, *CONTENDERS], help="some of them (default: all)")
    parser.add_argument(
        "--beside", type=Path, help="another checkout of this project, with its .venv: one more of them"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of which the medians count (default: 3)")
    parser.add_argument("--seconds", type=int, default=5, help="of load per figure and round (default: 5)")
    parser.add_argument(
        "--loads",
        type=_load,
        nargs="*",
        default=LOADS,
        metavar="STREAMS:EVENTS",
        help="streams at once, and events a second in all of them (default: "
        + " ".join(f"{load.streams}:{load.per_second}" for load in LOADS)
        + ")",
    )
    return parser


def _load(text: str) -> Load:
    streams, _, per_second = text.partition(":")
    return Load(int(streams), int(per_second))


def _start(
    stack: ExitStack, made: Mapping[str, Contender], urls: Sequence[str], folder: Path, targets: dict[str, Running]
) -> dict[str, str]:
    """Start each into `targets`; those that do not answer, and why."""
    missing = {}
    for name, contender in made.items():
        began = time.monotonic()
        try:
            targets[name] = stack.enter_context(contenders.running(contender, urls, folder / name))
        except RuntimeError as error:
            missing[name] = str(error)
            _tell(f"{name}: does not start")
        else:
            _tell(f"{name}: answers after {time.monotonic() - began:.0f} s")
    return missing


def _measure_requests(
    targets: Mapping[str, Running], taken: Mapping[str, _Taken], folder: Path, given: argparse.Namespace
) -> None:
    for target in targets.values():
        measure.requests(target, 8, 2, folder)  # warm
    for number in range(given.rounds):
        for name, target in targets.items():
            taken[name].one.append(measure.requests(target, 1, given.seconds, folder))
            taken[name].many.append(measure.requests(target, 32, given.seconds, folder))
        _tell(f"requests: round {number + 1} of {given.rounds} is measured")


def _measure_streams(
    targets: Mapping[str, Running], taken: Mapping[str, _Taken], load: Load, most_streams: int
) -> None:
    for name, target in targets.items():
        if target.others and load.streams <= most_streams:
            continue  # one process is enough
        count = min(load.streams, most_streams * (1 + len(target.others)))
        found = uvloop.run(measure.streams(target, replace(load, streams=count)))
        taken[name].streams.append(found)
        _tell(f"{count:,} streams, {load.per_second:,} events a second: {name}, {found.errors:,} errors")


def _median(measured: Sequence[measure.Requests]) -> measure.Requests:
    middle = {
        field.name: statistics.median(getattr(each, field.name) for each in measured) for field in fields(measured[0])
    }
    return replace(measured[0], **middle)


def _machine() -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    cpus = len([line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("processor")])
    return {"commit": commit, "cpus": cpus, "python": platform.python_version(), "system": platform.system()}


def _most_streams(wanted: int) -> int:
    """How many streams one process can have: a router has two sockets for each. The limit of open files is raised where
    that is allowed, which needs CAP_SYS_RESOURCE; what is started here inherits it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = max(most, 2 * wanted + OTHER_FILES)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, needed))
    except (OSError, ValueError):
        _tell(f"{wanted:,} streams need {needed:,} open files; the limit is {most:,} and may not be raised")
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        needed = most
    return (needed - OTHER_FILES) // 2


def _tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
