"""Compares the simulation with the playground: `python -m tools.agreement` (or `make agreement`), in a quarter of an
hour."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from playground.errors import PlaygroundError
from tierwise_sim.traces.errors import TraceError
from tools.agreement import results, scene
from tools.agreement.play import play
from tools.agreement.simulated import simulate
from tools.generated import write

COMMAND = "python -m tools.agreement"


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, simulate, compare and write. The exit code is 1 where both are too far apart, 2 where nothing ran."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="The simulation beside a running control plane.")
    parser.add_argument("--out", type=Path, default=results.REPO / results.RESULTS, help="where the JSON goes")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", file=sys.stderr, flush=True)

    try:
        name, requests = scene.arrivals(os.environ)
        say(f"{len(requests):,} requests of {name} in {scene.SECONDS:.0f} s")
        played = play(requests, say)
    except (PlaygroundError, TraceError) as error:
        print(f"{error}", file=sys.stderr)
        return 2
    before = json.loads(given.out.read_text(encoding="utf-8")) if given.out.is_file() else None
    made = results.made(name, len(requests), played, simulate(name, requests, played.startup), before)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for path in write(results.files(), results.REPO):
        print(f"{path} is written")
    for kind, share in made["near"].items():
        print(f"replicas {kind}: within one of each other for {100 * share:.1f} % of the time")
    return 0 if results.kept_promise(made) else 1


if __name__ == "__main__":
    sys.exit(main())
