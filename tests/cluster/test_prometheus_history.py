"""Checks with a real Prometheus that the history of a vLLM becomes the requests that it served.

Its blocks are made by promtool from samples of two replicas: one restarts in between, one starts late, and a third, of
another namespace, is not asked for. The samples come from requests that are known, so the trace can be compared.
"""

from __future__ import annotations

import asyncio
import math
import subprocess
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import pytest

from playground.binaries import ensure
from tests.cluster.scraped import OwnPrometheus
from tierwise.errors import Transient
from tierwise_sim.traces.errors import TraceError
from tierwise_sim.traces.prometheus_history import Asked
from tierwise_sim.traces.prometheus_source import access, from_prometheus
from tierwise_sim.traces.spread import Spreading

pytestmark = pytest.mark.cluster

SCRAPE, HOURS = 15, 2
BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
NAMESPACE = 'chat"} or vector(1) #'
MATCHERS = {"namespace": NAMESPACE}


@dataclass(frozen=True)
class Served:
    """One request: when it ended (seconds from the start), by which replica, with how many tokens."""

    at: float
    pod: str
    prompt: int
    output: int


def served(rng: Random) -> list[Served]:
    """Two hours: a quiet one, then one with three times the requests; half of the prompts short, half long."""
    found, at = [], 30.0
    while at < HOURS * 3600 - 60:
        pod = "a" if at < 1800 or rng.random() < 0.5 else "b"
        prompt = rng.randint(60, 100) if rng.random() < 0.5 else rng.randint(1100, 1900)
        found.append(Served(at, pod, prompt, rng.randint(20, 200)))
        at += rng.expovariate(0.3 if at < 3600 else 0.9)
    return found


@dataclass
class Page:
    """The counters of one replica, and the lines that it shows of them."""

    labels: str

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.done: Counter[str] = Counter()
        self.lengths: dict[str, Counter[float]] = {"prompt": Counter(), "generation": Counter()}

    def add(self, request: Served) -> None:
        self.done["stop" if self.done["requests"] % 4 else "length"] += 1
        self.done.update(requests=1, prompt=request.prompt, generation=request.output)
        for name, tokens in (("prompt", request.prompt), ("generation", request.output)):
            self.lengths[name].update(bound for bound in (*BOUNDS, math.inf) if tokens <= bound)

    def lines(self, at: float) -> Iterator[tuple[str, str]]:
        """(metric, line) each."""
        for reason in ("stop", "length"):
            yield "request_success", f'_total{{{self.labels},finished_reason="{reason}"}} {self.done[reason]} {at}'
        for name, value in (
            ("prompt_tokens", self.done["prompt"]),
            ("generation_tokens", self.done["generation"]),
            ("prefix_cache_queries", self.done["prompt"]),
            ("prefix_cache_hits", self.done["prompt"] // 4),
        ):
            yield name, f"_total{{{self.labels}}} {value} {at}"
        for name, counts in self.lengths.items():
            for bound in (*BOUNDS, math.inf):
                le = "+Inf" if bound == math.inf else f"{bound:.1f}"
                yield f"request_{name}_tokens", f'_bucket{{{self.labels},le="{le}"}} {counts[bound]} {at}'


def samples(requests: list[Served], start: float) -> str:
    """OpenMetrics text of what both replicas, and a stranger that serves as much, show at every scrape. Replica a
    restarts after an hour."""
    escaped = NAMESPACE.replace('"', '\\"')
    found: dict[str, list[str]] = {}
    for pod, namespace, begins in (("a", escaped, 0), ("b", escaped, 1800), ("x", "other", 0)):
        page = Page(f'namespace="{namespace}",pod="{pod}",model_name="m"')
        mine = deque(each for each in requests if pod in (each.pod, "x"))
        for at in range(begins, HOURS * 3600 + 1, SCRAPE):
            if pod == "a" and at == 3600:
                page.restart()
            while mine and mine[0].at <= at:
                page.add(mine.popleft())
            for metric, line in page.lines(start + at):
                found.setdefault(metric, []).append(f"vllm:{metric}{line}")
    kinds = {
        name: "histogram" if name.endswith("tokens") and name.startswith("request") else "counter" for name in found
    }
    blocks = [f"# TYPE vllm:{name} {kinds[name]}\n" + "\n".join(lines) for name, lines in found.items()]
    return "\n".join([*blocks, "# EOF", ""])


REQUESTS = served(Random(7))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, float]]:
    """The address of a Prometheus with this history, and when it begins."""
    folder = tmp_path_factory.mktemp("history")
    start = float((int(time.time()) // 60 - 60 * (HOURS + 3)) * 60)
    text = folder / "samples"
    text.write_text(samples(REQUESTS, start), encoding="utf-8")
    command = [ensure() / "promtool", "tsdb", "create-blocks-from", "openmetrics", text, folder / "prometheus" / "data"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr + done.stdout
    server = OwnPrometheus(ensure() / "prometheus", folder / "prometheus")
    server.start()
    yield server.url, start
    server.stop()


def test_the_history_becomes_the_requests_that_were_served(history: tuple[str, float]) -> None:
    url, start = history
    trace = asyncio.run(
        from_prometheus(access(url), Asked(start, start + HOURS * 3600, 60, MATCHERS), Spreading(seed=1))
    )
    assert trace.duration == HOURS * 3600
    for low, high in ((60, 3600), (3660, HOURS * 3600 - 60)):
        meant = [each for each in REQUESTS if low <= each.at < high]
        found = [each for each in trace.arrivals if low <= each.at < high]
        assert len(found) == pytest.approx(len(meant), rel=0.02)
        assert sum(each.prompt_tokens for each in found) == pytest.approx(sum(each.prompt for each in meant), rel=0.03)
        assert sum(each.output_tokens for each in found) == pytest.approx(sum(each.output for each in meant), rel=0.03)
    short = sum(each.prompt_tokens < 300 for each in trace.arrivals) / len(trace.arrivals)
    assert short == pytest.approx(sum(each.prompt < 300 for each in REQUESTS) / len(REQUESTS), abs=0.03)
    cached = sum(len(each.prefix) * each.block_tokens for each in trace.arrivals)
    assert cached == pytest.approx(sum(each.prompt_tokens for each in trace.arrivals) / 4, rel=0.1)


def test_a_step_is_where_its_requests_were(history: tuple[str, float]) -> None:
    url, start = history
    trace = asyncio.run(from_prometheus(access(url), Asked(start, start + HOURS * 3600, 300, MATCHERS), Spreading()))
    for low in range(300, HOURS * 3600 - 300, 300):
        meant = sum(low <= each.at < low + 300 for each in REQUESTS)
        found = sum(low <= each.at < low + 300 for each in trace.arrivals)
        assert abs(found - meant) <= 0.1 * meant + 3, low


def test_all_namespaces_are_asked_for_without_a_label(history: tuple[str, float]) -> None:
    url, start = history
    trace = asyncio.run(from_prometheus(access(url), Asked(start, start + HOURS * 3600), Spreading()))
    assert len(trace.arrivals) == pytest.approx(2 * len(REQUESTS), rel=0.03)


def test_where_nothing_is_remembered(history: tuple[str, float]) -> None:
    url, start = history
    with pytest.raises(TraceError, match="remembers no request of vLLM"):
        asyncio.run(from_prometheus(access(url), Asked(start - 7200, start - 3600), Spreading()))


def test_nobody_answers() -> None:
    with pytest.raises(Transient, match="cannot be reached: Connection refused; check --from-prometheus"):
        asyncio.run(from_prometheus(access("http://127.0.0.1:9"), Asked(0.0, 60.0), Spreading()))
