"""The stage for `tierwise label` and `train`: engines, a real router before them, real commands; by default the
engines are simulated ones that know arithmetic."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

import requests
import yaml

from tests.unit.router.router_process import RouterProcess, router
from tests.unit.simulator.processes import vllm
from tierwise_cli import main as cli

PRICES = {
    "small": {"input": "0.10", "output": "0.40"},
    "large": {"input": "2.00", "output": "8.00"},
    "judge": {"input": "1.00", "output": "4.00"},
}
WORDS = ["Please", "work", "this", "out", "for", "me", "and", "tell", "me", "only", "what", "comes", "out", "of", "it"]


def question(rng: Random, operators: int) -> str:
    """A prompt whose difficulty is its number of operators; how many words stand around it says nothing about that."""
    numbers = [rng.randint(2, 99) for _ in range(operators + 1)]
    expression = str(numbers[0]) + "".join(f" {rng.choice('+-*')} {number}" for number in numbers[1:])
    return f"{' '.join(rng.choices(WORDS, k=rng.randint(3, 12)))}: {expression}"


def questions(count: int, seed: int, most: int = 4) -> list[dict[str, Any]]:
    """Prompts of 1 to `most` operators, as their file says them."""
    rng = Random(seed)
    return [{"id": f"q{number}", "prompt": question(rng, rng.randint(1, most))} for number in range(count)]


def write(path: Path, lines: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@dataclass(frozen=True)
class Done:
    """What a command has said."""

    stdout: str
    stderr: str


@contextmanager
def _reading(text: str) -> Iterator[None]:
    """Standard input, which is no terminal."""
    before, sys.stdin = sys.stdin, StringIO(text)
    try:
        yield
    finally:
        sys.stdin = before


@dataclass(frozen=True)
class Said:
    """One answer: the tier that gave it and why, and its text."""

    tier: str
    reason: str
    text: str


@dataclass
class Stage:
    """A running route `chat` over the tiers small and large."""

    router: RouterProcess
    folder: Path

    def command(self, *options: str) -> list[str]:
        """The command line of `tierwise label` for this stage."""
        given = [
            "--route-url",
            self.router.url,
            "--route",
            "chat",
            "--from",
            "small",
            "--reference",
            "large",
            "--rate",
            "2000",
        ]
        given += ["--prices", str(self.folder / "route.yaml"), "--out", str(self.folder / "labels.jsonl")]
        return [sys.executable, "-m", "tierwise_cli", "label", *given, *options]

    def label(self, *options: str, code: int = 0, answers: str | None = None) -> Done:
        """Run it to its end, in this process: starting Python is most of the time of a small run."""
        out, errors = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(errors), _reading(answers or ""):
            found = cli.main(self.command(*options)[3:])
        done = Done(out.getvalue(), errors.getvalue())
        assert found == code, done.stderr + done.stdout
        return done

    def labels(self, name: str = "labels.jsonl") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]

    def asked(self) -> Counter[str]:
        """The requests that the router has seen, by tier, when none is under way. A line of its log comes after its
        answer: the metrics say how many there will be."""
        until = time.monotonic() + 60
        while True:
            metrics = self.router.metrics()
            ended = sum(value for name, value in metrics.items() if name.startswith("tierwise_router_requests_total"))
            lines = self.router.log()
            if metrics["tierwise_router_streams"] == 0 and len(lines) == ended:
                break
            assert time.monotonic() < until, f"{len(lines)} lines of {ended:.0f} requests that ended"
            time.sleep(0.05)
        return Counter(line["tier"] for line in lines if line["path"] == "/v1/chat/completions")

    def train(self) -> Path:
        """Train on the labels that were made: the classifier's file."""
        made, out = self.folder / "classifier.bin", StringIO()
        with redirect_stdout(out):
            found = cli.main(["train", str(self.folder / "labels.jsonl"), "--out", str(made)])
        assert found == 0, out.getvalue()
        return made

    def serve_with(self, classifier: Path, quality_percent: int) -> None:
        """Let the running router choose by this classifier."""
        route = yaml.safe_load((self.folder / "route.yaml").read_text())
        chooses = {"file": str(classifier), "qualityPercent": quality_percent}
        route["policy"] = {"type": "Classifier", "classifier": chooses}
        self.router.rewrite(route)
        until = time.monotonic() + 60
        while self.ask("chat", {"prompt": "What is 1 + 1?", "request": {"max_tokens": 1}}).reason != "Classified":
            assert time.monotonic() < until, (self.folder / "errors.log").read_text()
            time.sleep(0.2)

    def ask(self, model: str, line: Mapping[str, Any]) -> Said:
        """What one line of a file of prompts is answered, by the route or by one of its tiers."""
        body = {"model": model, "messages": [{"role": "user", "content": line["prompt"]}], **line.get("request", {})}
        answer = requests.post(f"{self.router.url}/v1/chat/completions", json=body, timeout=60)
        answer.raise_for_status()
        text = answer.json()["choices"][0]["message"]["content"]
        return Said(answer.headers["x-tierwise-tier"], answer.headers["x-tierwise-reason"], text)

    def ask_all(self, model: str, lines: Sequence[Mapping[str, Any]]) -> list[Said]:
        """... of all lines, in their order; four at a time."""
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda line: self.ask(model, line), lines))


@contextmanager
def stage(folder: Path, small: dict[str, str], large: dict[str, str], judge: str | None = None) -> Iterator[Stage]:
    """Two engines with these variables, perhaps a judge at an address, and the router before them."""
    with ExitStack() as stack:
        common = {"SPEED": "2000", "TICK_SECONDS": "0.002", "OUTPUT_TOKENS": "30"}
        engines = {
            name: stack.enter_context(vllm("--max-num-seqs=32", wait_seconds=120, **(common | given)))
            for name, given in (("small", small), ("large", large))
        }
        servers = {name: engine.url for name, engine in engines.items()} | ({"judge": judge} if judge else {})
        yield stack.enter_context(stage_before(servers, "chat", folder))


@contextmanager
def stage_before(servers: Mapping[str, str], model: str, folder: Path) -> Iterator[Stage]:
    """The router before engines that run: their addresses by the name of the tier, and the model that they serve."""
    route = {
        "name": "chat",
        "modelNames": ["chat"],
        "tiers": [
            {"name": name, "model": model, "servers": [url], "prices": PRICES[name]} for name, url in servers.items()
        ],
    }
    with router(route, folder, wait_seconds=120) as process:
        yield Stage(process, folder)
