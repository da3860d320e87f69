"""Asks a router for small answers, a few at a time, and says how long each took: a process that does little else.

The clients that make an overload are themselves busy: what they measure is their own loop as well. Here a thread for
each request that is open waits in the kernel and for nothing else. And it asks the kernel how long it, and the router,
were ready to run and had to wait for a processor meanwhile: that is the machine's time and not the router's.

Called with one JSON argument, an `Order`. Goes on until the file `stop` appears; one line of `report` for each answer.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

SILENCE_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class Order:
    """What to ask. `at_once`: threads, each of which asks again `pause_seconds` after its answer. `router`: the PID."""

    url: str
    model: str
    router: int
    report: str
    stop: str
    tokens: int
    at_once: int = 3
    pause_seconds: float = 0.1


@dataclass(frozen=True, slots=True)
class Probed:
    """One answer. `seconds` from the request to the last byte; `machine_seconds` of that the thread here or the router
    was ready to run and got no processor. `opened` since the epoch."""

    opened: float
    status: int
    retry_after: str
    seconds: float
    machine_seconds: float

    @property
    def router_seconds(self) -> float:
        """What the router is answerable for."""
        return max(0.0, self.seconds - self.machine_seconds)


def waited(schedstat: str) -> float:
    """Seconds that a thread has waited for a processor since it began; the kernel counts them when it gets one."""
    return int(Path(schedstat).read_text(encoding="utf-8").split()[1]) / 1e9


class Prober:
    """One thread, with a connection of its own for as long as the router keeps it."""

    def __init__(self, order: Order, report: TextIO, lock: threading.Lock) -> None:
        self._order, self._report, self._lock = order, report, lock
        self._socket: socket.socket | None = None

    def run(self) -> None:
        """Ask until `stop` is there."""
        stop = Path(self._order.stop)
        mine = f"/proc/self/task/{threading.get_native_id()}/schedstat"
        clocks = (mine, f"/proc/{self._order.router}/schedstat")
        while not stop.exists():
            before = [waited(each) for each in clocks]
            opened, began = time.time(), time.perf_counter()
            status, retry_after = self._ask()
            seconds = time.perf_counter() - began
            machine = sum(waited(each) - known for each, known in zip(clocks, before, strict=True))
            line = json.dumps(asdict(Probed(opened, status, retry_after, seconds, machine)))
            with self._lock:
                self._report.write(line + "\n")
                self._report.flush()
            time.sleep(self._order.pause_seconds)

    def _ask(self) -> tuple[int, str]:
        """The status and the Retry-After of one answer."""
        order, where = self._order, urlsplit(self._order.url)
        body = json.dumps(
            {"model": order.model, "messages": [{"role": "user", "content": "probe"}], "max_tokens": order.tokens}
        ).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {where.netloc}\r\ncontent-length: {len(body)}\r\n\r\n"
        if self._socket is None:
            self._socket = socket.create_connection((where.hostname or "", where.port or 80), SILENCE_SECONDS)
        self._socket.sendall(head.encode() + body)
        return self._answer(self._socket)

    def _answer(self, connection: socket.socket) -> tuple[int, str]:
        said = b""
        while b"\r\n\r\n" not in said:
            said += _more(connection)
        top, _, body = said.partition(b"\r\n\r\n")
        first, *lines = top.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        while len(body) < int(headers["content-length"]):
            body += _more(connection)
        if headers.get("connection") == "close":
            connection.close()
            self._socket = None
        return int(first.split()[1]), headers.get("retry-after", "")


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise ConnectionError("the router ended the connection within an answer")
    return data


def main() -> None:
    """Do what the argument says."""
    order = Order(**json.loads(sys.argv[1]))
    lock = threading.Lock()
    with Path(order.report).open("w", encoding="utf-8") as report:
        with ThreadPoolExecutor(order.at_once) as threads:
            running = [threads.submit(Prober(order, report, lock).run) for _ in range(order.at_once)]
        for each in running:
            each.result()


if __name__ == "__main__":
    main()
