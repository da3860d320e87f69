"""The router as a real process: `tierwise router --file`, on free loopback ports."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

_LISTENING = re.compile(r"OpenAI endpoint on (https?://[^/]+)/v1, metrics and probes on port (\d+)")

# What takes so long will not come: a busy machine takes seconds for what an idle one does at once.
COMES_SECONDS = 60.0
STARTS_SECONDS = 180.0


class RouterProcess:
    """A running router; it ends with its context."""

    def __init__(self, process: subprocess.Popen[str], url: str, metrics_port: int, folder: Path) -> None:
        self.process = process
        self.url = url
        self.metrics_url = f"http://127.0.0.1:{metrics_port}"
        self.folder = folder

    def log(self) -> list[dict[str, Any]]:
        """The access log so far."""
        return [json.loads(line) for line in (self.folder / "access.log").read_text().splitlines()]

    def log_of(self, *requests: str, seconds: float = COMES_SECONDS) -> list[dict[str, Any]]:
        """The lines of these requests, by the ids that the answers named: a line comes after its answer."""
        until = time.monotonic() + seconds
        while True:
            lines = {line["id"]: line for line in self.log()}
            if lines.keys() >= set(requests):
                return [lines[request] for request in requests]
            assert time.monotonic() < until, f"no line of {set(requests) - lines.keys()}"
            time.sleep(0.02)

    def log_until(self, count: int, seconds: float = COMES_SECONDS) -> list[dict[str, Any]]:
        """The access log when it has so many lines: a line comes after its answer."""
        until = time.monotonic() + seconds
        while len(lines := self.log()) < count:
            assert time.monotonic() < until, f"{len(lines)} lines of {count}"
            time.sleep(0.02)
        return lines

    async def said(self, sentence: str, seconds: float = COMES_SECONDS) -> None:
        """Wait until its own log holds this."""
        until = time.monotonic() + seconds
        while sentence not in (log := (self.folder / "errors.log").read_text()):
            assert time.monotonic() < until, f"the router does not say {sentence!r}: {log[-2000:]}"
            await asyncio.sleep(0.05)

    def metrics(self) -> dict[str, float]:
        """All series, by name and labels as they are written."""
        with urllib.request.urlopen(self.metrics_url + "/metrics", timeout=COMES_SECONDS) as page:
            lines = page.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def rewrite(self, route: dict[str, Any]) -> None:
        """Put another route into its file."""
        beside = self.folder / "route.new"
        beside.write_text(yaml.safe_dump(route))
        beside.replace(self.folder / "route.yaml")

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def router(
    route: dict[str, Any], folder: Path, *options: str, wait_seconds: float = STARTS_SECONDS
) -> Iterator[RouterProcess]:
    """Start it and wait until it listens."""
    (folder / "route.yaml").write_text(yaml.safe_dump(route))
    with started(folder, "--file", str(folder / "route.yaml"), *options, wait_seconds=wait_seconds) as process:
        yield process


@contextmanager
def started(folder: Path, *options: str, wait_seconds: float = STARTS_SECONDS) -> Iterator[RouterProcess]:
    """Start a router with these options and wait until it listens."""
    command = [*([] if "--port" in options else ["--port", "0"]), "--metrics-port", "0", *options]
    with (folder / "access.log").open("a") as log, (folder / "errors.log").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tierwise_cli", "router", *command],
            stdout=log,
            stderr=errors,
            text=True,
        )
    until = time.monotonic() + wait_seconds
    try:
        found = None
        while found is None and process.poll() is None and time.monotonic() < until:
            found = _LISTENING.search((folder / "errors.log").read_text())
            time.sleep(0.02)
        said = (folder / "errors.log").read_text()
        assert found is not None, f"the router has ended, or does not listen after {wait_seconds} s: {said}"
        yield RouterProcess(process, found.group(1), int(found.group(2)), folder)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
