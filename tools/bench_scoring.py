"""Measures what a classifier costs: the processor time of one score, and the latency that a router adds with one.

Two routers stand before the same engine, one with a classifier and one without. They get the same prompts on one
connection each, in turns, so that whatever else the machine does hits both alike. No prompt comes twice: weights that
the last request has looked at are in the processor's cache, and would be cheaper than in service.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from tests.unit.router.router_process import RouterProcess, router
from tests.unit.routing.classifiers import classifier
from tierwise.routing.text_features import TextFacts
from tools.bench_router.contenders import engines
from tools.bench_router.measure import cpu_seconds

BYTES = 2_048
SIZES = (200, BYTES, 40_960)
WARM_UP = 50
START_SECONDS = 240.0
WITHOUT, WITH = "without", "with"
_WORDS = 3_000


def prompts(count: int, size: int, seed: int = 1) -> list[str]:
    """Different texts of so many bytes, each of words that are drawn from 3,000."""
    drawn = random.Random(seed)  # noqa: S311 - repeatable texts, no secret
    words = [f"{'abcdefghijklmno'[number % 15]}word{number}" for number in range(_WORDS)]
    return [" ".join(drawn.choices(words, k=size // 6))[:size] for _ in range(count)]


def scores(count: int, rounds: int) -> dict[int, float]:
    """Milliseconds of processor time of one score, by the bytes of the text: the median of rounds."""
    one, facts = classifier(seed=1), TextFacts()
    found = {}
    for size in SIZES:
        texts = [text.encode() for text in prompts(count, size)]
        took = []
        for _ in range(rounds):
            began = time.process_time()
            for text in texts:
                one.score(text, facts)
            took.append((time.process_time() - began) / count * 1000)
        found[size] = round(median(took), 4)
    return found


class Connection:
    """One connection to a router, which asks and waits."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, prompt: str) -> tuple[float, str]:
        """Milliseconds until the whole answer was there, and why its tier was chosen."""
        body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": prompt}]}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        began = time.perf_counter()
        self._socket.sendall(head + body)
        got = b""
        while (end := got.find(b"\r\n\r\n")) < 0:
            got += self._more()
        headers = _headers(got[:end])
        while len(got) < end + 4 + int(headers["content-length"]):
            got += self._more()
        took = (time.perf_counter() - began) * 1000
        if not got.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the router has answered {got[:200]!r}")
        return took, headers["x-tierwise-reason"]

    def _more(self) -> bytes:
        got = self._socket.recv(1 << 16)
        if not got:
            raise RuntimeError("the router has closed the connection")
        return got

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def _headers(head: bytes) -> dict[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def through_routers(rounds: int, count: int) -> dict[str, Any]:
    """p50 of both in milliseconds, processor time per request in microseconds, and the differences."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (engine,) = stack.enter_context(engines(1, folder))
        routers = {}
        for name in (WITHOUT, WITH):
            place = folder / name
            place.mkdir()
            routers[name] = stack.enter_context(
                router(_route(engine.url, place, name), place, wait_seconds=START_SECONDS)
            )
        _until_served(routers[WITH])
        times, used = _rounds(routers, rounds, count)
    p50 = {name: median(found) for name, found in times.items()}
    differences = [
        median(times[WITH][place : place + count]) - median(times[WITHOUT][place : place + count])
        for place in range(0, rounds * count, count)
    ]
    cpu = {name: 1e6 * each / (rounds * count) for name, each in used.items()}
    return {
        "requests": rounds * count,
        "p50_ms": {name: round(each, 3) for name, each in p50.items()},
        "added_p50_ms": round(p50[WITH] - p50[WITHOUT], 3),
        "added_p50_ms_median_of_rounds": round(median(differences), 3),
        "router_cpu_us": {name: round(each, 1) for name, each in cpu.items()},
        "added_cpu_us": round(cpu[WITH] - cpu[WITHOUT], 1),
    }


def _rounds(
    routers: dict[str, RouterProcess], rounds: int, count: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    asked = {name: Connection(each.url) for name, each in routers.items()}
    times: dict[str, list[float]] = {name: [] for name in routers}
    used = dict.fromkeys(routers, 0.0)
    for number in range(rounds + 1):
        texts = prompts(count if number else WARM_UP, BYTES, seed=number)
        for name in sorted(routers, reverse=number % 2 == 0):
            before = cpu_seconds([routers[name].process.pid])
            found = [asked[name].ask(text) for text in texts]
            reasons = {reason for _, reason in found}
            if reasons != {"Classified" if name == WITH else "Default"}:
                raise RuntimeError(f"the router {name} a classifier has decided by {sorted(reasons)}")
            if number:
                used[name] += cpu_seconds([routers[name].process.pid]) - before
                times[name] += [took for took, _ in found]
    for each in asked.values():
        each.close()
    return times, used


def _route(engine: str, place: Path, name: str) -> dict[str, Any]:
    """Two tiers on the same engine; the one with a classifier has its file beside the route's."""
    tiers = [{"name": each, "model": each, "servers": [engine]} for each in ("small", "large")]
    route: dict[str, Any] = {"name": "chat", "tiers": tiers}
    if name == WITH:
        (place / "classifier.bin").write_bytes(classifier(seed=1).write())
        route["policy"] = {"type": "Classifier", "classifier": {"file": "classifier.bin"}}
    return route


def _until_served(one: RouterProcess) -> None:
    until = time.monotonic() + START_SECONDS
    while not any('state="Serves"' in name for name in one.metrics()):
        if time.monotonic() > until:
            raise RuntimeError("the router does not serve its classifier")
        time.sleep(0.1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench_scoring", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--requests", type=int, default=50, help="of each router in each round")
    parser.add_argument("--only", choices=["scores", "router"], nargs="+", default=["scores", "router"])
    given = parser.parse_args(arguments)
    found: dict[str, Any] = {}
    if "scores" in given.only:
        found["score_ms"] = scores(100, 15)
    if "router" in given.only:
        found["router"] = through_routers(given.rounds, given.requests)
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
