"""Records every change of a number in the cluster with its time, not only the last value."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

from tests.cluster.kubectl import Kubectl

START_SECONDS = 60


class Record:
    """The values a field had, each with the monotonic time at which it was first seen."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int]] = []

    def add(self, value: int) -> None:
        """Note a value, unless it is the one before."""
        if not self.seen or self.seen[-1][1] != value:
            self.seen.append((time.monotonic(), value))

    @property
    def values(self) -> list[int]:
        """The values in order, without times."""
        return [value for _, value in self.seen]

    @property
    def last(self) -> int | None:
        """The present value."""
        return self.seen[-1][1] if self.seen else None

    @property
    def turns(self) -> int:
        """How often the direction changed."""
        signs = [1 if later > earlier else -1 for earlier, later in pairwise(self.values)]
        return sum(one != other for one, other in pairwise(signs))

    def reached(self, value: int) -> float | None:
        """When the value was first seen."""
        return next((at for at, seen in self.seen if seen == value), None)


@contextmanager
def recorded(kubectl: Kubectl, kind: str, name: str, path: str) -> Iterator[Record]:
    """Watch `path` (a jsonpath to a number) of one object for as long as the block runs. The block begins when the
    present value is known: on a busy machine kubectl takes seconds to start, and would miss the first change."""
    record = Record()
    known = threading.Event()
    command = [str(kubectl.binary), "--kubeconfig", str(kubectl.kubeconfig), "--namespace", kubectl.namespace]
    watch = subprocess.Popen(
        [*command, "get", kind, name, "--watch", "-o", "jsonpath={" + path + '}{"\\n"}'],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def read() -> None:
        assert watch.stdout is not None
        for line in watch.stdout:
            if line.strip():
                record.add(int(line))
                known.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        assert known.wait(START_SECONDS), f"kubectl has not shown {path} of {kind} {name} within {START_SECONDS} s"
        yield record
    finally:
        watch.terminate()
        watch.wait()
        reader.join(5)
        if watch.stdout is not None:
            watch.stdout.close()
