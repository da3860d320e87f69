"""Starts the clients of `asking`, here or inside the playground, and reads what they tell."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.cluster.kubectl import eventually
from tests.faults import verdict
from tests.faults.asking import Order, Told

OPEN_SECONDS, END_SECONDS = 120.0, 240.0
REPO = Path(__file__).resolve().parents[2]

Start = Callable[..., "subprocess.Popen[bytes]"]


def start_here(*command: str) -> subprocess.Popen[bytes]:
    """A process of this machine."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, cwd=REPO)


class Clients:
    """Clients that are asking."""

    def __init__(self, process: subprocess.Popen[bytes], order: Order) -> None:
        self.process = process
        self._report, self._stop = Path(order.report), Path(order.stop)

    def told(self) -> list[Told]:
        """What became of each request that has ended, in the order of the ends."""
        return [told for told in self._lines() if told.kind != "all open"]

    def _lines(self) -> list[Told]:
        text = self._report.read_text(encoding="utf-8") if self._report.exists() else ""
        whole, _, _ = text.rpartition("\n")  # the last line may be half written
        return [Told(**json.loads(line)) for line in whole.splitlines()]

    def all_open(self) -> None:
        """Wait until every stream has its first content."""
        eventually(
            self._lines, lambda lines: any(told.kind == "all open" for told in lines), OPEN_SECONDS, "all are open"
        )
        assert not [told for told in self.told() if told.kind == "stream"], "the streams are too short for this test"

    def end(self, seconds: float = END_SECONDS) -> list[Told]:
        """Let them stop and wait until their last request has ended; all that they told."""
        self._stop.touch()
        assert self.process.wait(seconds) == 0, "the clients have failed"
        return self.told()


@contextmanager
def asking(folder: Path, start: Start = start_here, name: str = "clients", **fields: Any) -> Iterator[Clients]:
    """Clients of this order, while the block runs. Whoever wants their last words ends them in it."""
    order = Order(report=str(folder / f"{name}.report"), stop=str(folder / f"{name}.stop"), **fields)
    process = start(sys.executable, "-m", "tests.faults.asking", json.dumps(asdict(order)))
    try:
        yield Clients(process, order)
    finally:
        process.kill()
        process.wait()


def wrong(told: Iterable[Told], allowed: Sequence[str] = ()) -> list[str]:
    """The requests of which something became that may not become of any, each as a sentence."""
    return [
        f"{each.name} to {each.tier or 'no tier'}: {each.verdict}"
        for each in told
        if not each.right and each.verdict not in allowed
    ]


def count(told: Iterable[Told]) -> str:
    """How many requests, and what became of them, as a note of the table."""
    found = Counter(each.verdict for each in told)
    parts = [f"{found[kind]} {kind}" for kind in sorted(found, key=lambda kind: (-found[kind], kind))]
    return f"{sum(found.values())} requests: {', '.join(parts)}"


def whole(told: Iterable[Told]) -> list[Told]:
    """Those that were answered."""
    return [each for each in told if each.verdict == verdict.WHOLE]


def quantile(values: Iterable[float], share: float) -> float:
    """The value below which this share of them lies; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def median(values: Iterable[float]) -> float:
    """The middle one; 0 for none."""
    found = list(values)
    return statistics.median(found) if found else 0.0


def recovered(told: Iterable[Told], since: float) -> float:
    """Seconds from `since` (of the epoch) until the last request that was not answered had ended; 0 when all were."""
    return max([0.0, *(each.ended - since for each in told if each.verdict != verdict.WHOLE and each.ended > since)])


def sleep_until(moment: float) -> None:
    """Wait until this time of the epoch."""
    time.sleep(max(0.0, moment - time.time()))
