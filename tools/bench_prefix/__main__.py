"""Compares ways to choose a replica by cached prefixes: `python -m tools.bench_prefix` (or `make bench-prefix`).

Everything happens in virtual time and from one seed, so the same code gives the same figures on every machine. The
trace is read from the folder that TIERWISE_DATA names; without it only the generated conversations are replayed. Those
are always replayed as well: a rule that is good for the trace alone would be no rule.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import tierwise
from tierwise_sim.hardware import find_gpu
from tierwise_sim.models import precision_of, shape_of
from tierwise_sim.settings import EngineSettings
from tierwise_sim.workloads import MOONCAKE_CONVERSATION, PREFIX_BLOCK_TOKENS, data_folder, read_mooncake
from tools.bench_prefix import workload
from tools.bench_prefix.contenders import CONTENDERS
from tools.bench_prefix.replay import capacity, replay
from tools.bench_prefix.results import FOUR, MOST_HITS, ONE, Row, Scenario, short
from tools.bench_prefix.workload import Asked

COMMAND = "python -m tools.bench_prefix"
MODEL, GPU = "meta-llama/Llama-3.1-8B-Instruct-FP8", "NVIDIA-H200"
TRACE, GENERATED = "Mooncake conversation", "generated conversations"
CONVERSATIONS = 700
TIGHT = 4
"""A tight cache is so many times smaller than what the GPU's memory holds: an H200 whose memory is mostly taken."""


def engine(tight: bool) -> EngineSettings:
    """vLLM with this model as the operator starts it by default, with an fp8 KV cache; blocks of the trace's size."""
    ample = EngineSettings(
        model=MODEL,
        shape=shape_of(MODEL),
        precision=precision_of(MODEL, None),
        gpu=find_gpu(GPU),
        max_model_len=131_072,
        max_num_seqs=128,
        max_num_batched_tokens=8192,
        block_size=PREFIX_BLOCK_TOKENS,
        kv_element_bytes=1.0,
    )
    if not tight:
        return ample
    values = {name: getattr(ample, name) for name in ample.__dataclass_fields__}
    return EngineSettings(**values | {"kv_blocks_override": ample.num_gpu_blocks // TIGHT})


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; with --out, write JSON as well. Exit code 1 when ours falls short of a bar."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Ways to choose a replica by cached prefixes.")
    parser.add_argument("--out", type=Path, help="write the results here, e.g. docs/results/prefix.json")
    parser.add_argument("--replicas", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--loads", type=int, nargs="+", default=[50, 80], help="percent of the capacity")
    parser.add_argument("--caches", nargs="+", choices=["ample", "tight"], default=["ample", "tight"])
    parser.add_argument("--requests", type=int, help="only so many of each workload (default: all)")
    given = parser.parse_args(arguments)
    rows = list(_measure(given))
    _show(rows)
    missed = [line for scenario in Scenario.all_of(rows) for line in short(rows, scenario)]
    print("\n".join(missed) or "every bar is met")
    if given.out:
        given.out.write_text(json.dumps(_result(rows, given), indent=1) + "\n", encoding="utf-8")
    return 1 if missed else 0


def _measure(given: argparse.Namespace) -> Iterator[Row]:
    for name, at_rate in _workloads(given.requests):
        for tight in [each == "tight" for each in given.caches]:
            settings = engine(tight)
            for replicas in given.replicas:
                most = capacity(at_rate(1.0), settings, replicas)
                for load in given.loads:
                    scenario = Scenario(name, replicas, load, "tight" if tight else "ample", settings.kv_tokens)
                    offered = at_rate(most * load / 100)
                    _tell(f"{scenario}: {most * load / 100:.1f} requests/s")
                    for contender, making in CONTENDERS.items():
                        found = replay(offered, settings, replicas, making)
                        p50, p95, p99 = (round(found.percentile(share), 3) for share in (0.5, 0.95, 0.99))
                        yield Row(scenario, contender, round(found.hit_rate, 4), p50, p95, p99, list(found.given))
                        _tell(f"  {contender}: {found.hit_rate:.4f}, {p50} / {p95} / {p99} s")


def _workloads(most: int | None) -> Iterator[tuple[str, Callable[[float], list[Asked]]]]:
    """Their names, and what makes them for so many requests a second."""
    folder = data_folder(os.environ)
    if folder is not None:
        asked = workload.prepare(workload.spread(read_mooncake(folder / MOONCAKE_CONVERSATION))[:most])
        yield TRACE, lambda rate: workload.at_rate(asked, rate)
    else:
        _tell("TIERWISE_DATA is not set: only generated conversations")
    yield GENERATED, lambda rate: workload.prepare(workload.conversations(CONVERSATIONS, rate)[:most])


def _result(rows: Sequence[Row], given: argparse.Namespace) -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "command": f"{COMMAND} --out {given.out}",
        "versions": {"tierwise": tierwise.__version__, "commit": commit, "python": platform.python_version()},
        "engine": {"model": MODEL, "gpu": GPU, "kv_cache": "fp8"},
        "rows": [asdict(row) for row in rows],
    }


def _show(rows: Sequence[Row]) -> None:
    console = Console()
    for scenario in Scenario.all_of(rows):
        table = Table("", "hit rate", "of the oracle", "TTFT p50 s", "p95 s", "p99 s", title=str(scenario))
        most = next(row.hit_rate for row in rows if row.scenario == scenario and row.contender == MOST_HITS)
        for row in rows:
            if row.scenario == scenario:
                figures = (f"{row.hit_rate:.3f}", f"{row.hit_rate / most:.2f}", f"{row.p50:.2f}", f"{row.p95:.2f}")
                table.add_row(
                    row.contender, *figures, f"{row.p99:.2f}", style="bold" if row.contender in (ONE, FOUR) else ""
                )
        console.print(table)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
