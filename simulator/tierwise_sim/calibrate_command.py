"""Runs `tierwise calibrate`: measures a user's own engine, fits step times to it, judges them, writes a file.

A simulation of that engine then needs no data sheet: `tierwise simulate` and the simulated engine read the file.
"""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tierwise.errors import Invalid
from tierwise_sim.calibrate_measure import Client, Measured
from tierwise_sim.calibrated import Calibration, LoadPoint, read, to_json
from tierwise_sim.calibration import Plan, calibrate, plan
from tierwise_sim.settings import EngineSettings

# More than any load here holds: a queue for memory would be fitted to as if it were time.
_AMPLE_BLOCKS = 1 << 20
GOOD_PERCENT = 20


def run(given: argparse.Namespace) -> int:
    """Do what was asked; the exit code: 0, or 1 when the fit is more than 20 % off where it was not fitted.

    Raises TierwiseError.
    """
    if given.read is not None:
        return _show(read(given.read), Console())
    if not given.url or not given.out:
        raise Invalid("tierwise calibrate needs --url and --out (or --read)")
    try:
        planned = plan(given.users, given.prompt_tokens, given.output_tokens)
    except ValueError as error:
        raise Invalid(str(error)) from error
    if given.waves < 2 or min(*given.users, *given.prompt_tokens) < 1 or min(given.output_tokens) < 2:
        raise Invalid("--waves and --output-tokens are 2 at least, --users and --prompt-tokens 1")
    found = asyncio.run(_calibrate(given, planned))
    _write(given.out, to_json(found))
    return _show(found, Console())


async def _calibrate(given: argparse.Namespace, planned: Plan) -> Calibration:
    key = _key(given.key_file)
    console = Console(stderr=True)
    measured: dict[LoadPoint, Measured] = {}
    async with Client(given.url, given.model, key, given.timeout_seconds) as client:
        model = await client.model()
        await client.warm_up(min(given.prompt_tokens))
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("requests", total=planned.requests(given.waves))
            for load in planned.loads:
                bar.update(task, description=f"{load.users} users, {load.prompt_tokens} → {load.output_tokens} tokens")
                measured[load] = await client.measure(load, given.waves, lambda: bar.advance(task))
    return fitted(model, given.max_num_batched_tokens, measured, planned, given.waves)


def fitted(model: str, batched: int, measured: dict[LoadPoint, Measured], planned: Plan, waves: int) -> Calibration:
    """Fit to what was measured, with the prompt lengths as the engine counted them."""
    counted = {load: replace(load, prompt_tokens=each.prompt_tokens) for load, each in measured.items()}
    renamed = Plan(*(tuple(counted[load] for load in part) for part in (planned.fitted, planned.judging)))
    longest = max(load.prompt_tokens + load.output_tokens for load in counted.values())
    settings = EngineSettings(
        model=model,
        max_model_len=longest,
        max_num_seqs=max(load.users for load in counted.values()),
        max_num_batched_tokens=batched,
        kv_blocks_override=_AMPLE_BLOCKS,
        prefix_caching=False,
    )
    return calibrate(model, settings, {counted[load]: each.figures for load, each in measured.items()}, renamed, waves)


def _key(path: Path | None) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() if path is not None else None
    except OSError as error:
        raise Invalid(f"--key-file {path}: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Invalid(f"--out {path}: {error.strerror}") from error


def _show(found: Calibration, console: Console) -> int:
    table = Table("users", "prompt", "answer", "fitted to", "first token ms", "fit", "between tokens ms", "fit")
    for each in found.judged:
        load = each.load
        table.add_row(
            str(load.users),
            str(load.prompt_tokens),
            str(load.output_tokens),
            "yes" if each.fitted else "no",
            f"{each.ttft * 1000:.1f}",
            f"{each.said_ttft / each.ttft - 1:+.0%}",
            f"{each.inter_token * 1000:.2f}",
            f"{each.said_inter_token / each.inter_token - 1:+.0%}",
        )
    console.print(table)
    between, first = found.inter_token_error, found.ttft_error
    if between is None or first is None:
        console.print("nothing was measured that was not fitted to, so nothing is known of how well the fit holds")
        return 1
    console.print(
        f"{found.model}: where it was not fitted, time between tokens is {between:.0%} off, to the first {first:.0%}"
    )
    return 0 if max(between, first) * 100 <= GOOD_PERCENT else 1
