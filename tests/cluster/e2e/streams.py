"""Runs clients that read streams from a route, in a process inside the playground, and says what they saw."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from playground.handle import Playground
from tests.cluster.kubectl import Kubectl, eventually
from tests.faults.streams import Order, Seen


class Streams:
    """The clients of one Service of a route; `order` as `tests.faults.streams.Order`."""

    def __init__(
        self, playground: Playground, kubectl: Kubectl, folder: Path, order: dict[str, object], service: str = "chat"
    ) -> None:
        self._report, self._stop = folder / "report", folder / "stop"
        address = kubectl("get", "service", service, "-o", "jsonpath={.spec.clusterIP}")
        full = Order(
            url=f"http://{address}",
            report=str(self._report),
            stop=str(self._stop),
            **order,  # type: ignore[arg-type]
        )
        self.process = playground.start(sys.executable, "-m", "tests.faults.streams", json.dumps(asdict(full)))

    def seen(self) -> list[Seen]:
        """What has ended so far."""
        lines = self._report.read_text().splitlines() if self._report.exists() else []
        return [Seen(**json.loads(line)) for line in lines]

    def all_open(self) -> None:
        """Wait until every stream has its first byte."""
        eventually(self.seen, lambda seen: any(each.kind == "all open" for each in seen), 60, "all streams are open")

    def end(self, seconds: float) -> list[Seen]:
        """What the clients saw, once all have ended."""
        self._stop.touch()
        try:
            assert self.process.wait(timeout=seconds) == 0
        finally:
            self.process.kill()
        return [each for each in self.seen() if each.kind != "all open"]


def faults(seen: list[Seen]) -> Counter[str]:
    """What was wrong, and how often."""
    return Counter(each.fault or "tokens are missing" for each in seen if not each.whole)
