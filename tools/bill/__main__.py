"""Makes the bill: `python -m tools.bill` (or `make bill`). Minutes on one core, in virtual time, without a GPU.

TIERWISE_DATA names the folder with the published trace and the questions; without it a synthetic trace stands in.
Measured kernels come from an environment of their own, made from its lock once; where it cannot be made, step times
come from the roofline that was fitted to them, and every row says so.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.isolated import REQUIREMENTS, environment
from tierwise_sim.traces import mooncake
from tierwise_sim.workloads import MOONCAKE_CONVERSATION
from tools.bill import about, labels, parts, results, rows, shares
from tools.bill.journal import Journal, code_hash
from tools.bill.page import KEDA, STATIC, TOGETHER
from tools.bill.procedure import Procedure, as_dict, simulated
from tools.generated import write

JOURNAL = Path(".cache/bill")
MOONCAKE_CONTEXT = 131072
COMMAND = "python -m tools.bill"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the bill, write it and everything that is made of it. The exit code is 1 when a bar is missed."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="What a trace costs, one tactic after another.")
    parser.add_argument("--out", type=Path, default=results.REPO / results.RESULTS, help="where the JSON goes")
    given = parser.parse_args(arguments)
    bill = _bill(Console(stderr=True), _kernels())
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(bill, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for path in write(results.files(), results.REPO):
        print(f"{path} is written")
    for line in bill["missed"]:
        print(f"missed: {line}")
    return 1 if bill["missed"] else 0


def _kernels() -> bool:
    """Let the package of measured kernels be found, behind everything that is here already; whether there is one."""
    if sys.version_info >= (3, 14):
        return False
    try:
        python = environment("kernels", "kernels", REQUIREMENTS / "kernels.txt")
    except RuntimeError as error:
        print(f"without measured kernels: {error}", file=sys.stderr)
        return False
    sys.path += sorted(map(str, python.parents[1].glob("lib/python3*/site-packages")))
    return True


def _bill(console: Console, kernels: bool) -> dict[str, Any]:
    trace, folder = parts.read(os.environ)
    routing = json.loads((results.REPO / "docs/results/routing.json").read_text(encoding="utf-8"))
    questions = folder / "routing" if folder is not None and (folder / "routing").is_dir() else None
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        whole = bar.add_task("scoring questions" if questions else "choosing", total=None)
        pools = (
            {} if questions is None else {name: labels.pool(questions, name) for name in (labels.MMLU, labels.GSM8K)}
        )

        def shown(what: str, at: float, of: float) -> None:
            bar.update(whole, description=what, completed=at, total=of)

        kept = Journal(results.REPO / JOURNAL, simulated(shown), code_hash(results.REPO), kernels)
        procedure = Procedure(trace, shares.shares(routing), kept, pools)
        return made(procedure, folder)


def made(procedure: Procedure, folder: Path | None) -> dict[str, Any]:
    """The whole bill, as it is written. `folder`: that of the published traces, None without them."""
    trace = procedure.trace
    chosen, table = procedure.main()
    recorded = procedure.recorded(chosen)
    prefixes: list[rows.Row] = []
    if folder is not None and (folder / MOONCAKE_CONVERSATION).is_file():
        prefixes = procedure.with_prefixes(mooncake.read(folder / MOONCAKE_CONVERSATION), MOONCAKE_CONTEXT, chosen)
    _, _, large, small = procedure.tiers()
    return {
        "format": results.FORMAT,
        "about": about.about(trace, folder is not None, bool(procedure.pools), chosen, table),
        "chosen": as_dict(chosen),
        "rows": [asdict(row) for row in table],
        "recorded": [asdict(row) for row in recorded],
        "prefixes": [asdict(row) for row in prefixes],
        "break_even": about.where_not(trace, (large, small), procedure.shares, chosen, table),
        "notes": list(about.NOTES),
        "missed": rows.missed(table, TOGETHER, STATIC, KEDA),
    }


if __name__ == "__main__":
    sys.exit(main())
