"""Starts the real engine outside the playground, and `tierwise router --file` before it.

The image's launcher as in test_startable.py; the options are those that users give for tools and structured output.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import requests

from tests.unit.router.router_process import RouterProcess, router
from tests.vllm.conftest import told
from tests.vllm.environment import KV_CACHE, installed
from tests.vllm.tiers import ANSWER_SECONDS

START_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Served:
    """An engine, the router before it, and a client for each."""

    url: str
    route: RouterProcess
    direct: openai.OpenAI
    routed: openai.OpenAI

    def both(self, ask: Callable[[openai.OpenAI, str], Any]) -> tuple[Any, Any]:
        """What the engine says, and what the router says."""
        return ask(self.direct, "m"), ask(self.routed, "mixed")

    def metric(self, name: str) -> float:
        """A sum over the engine's series of this name."""
        page = requests.get(f"{self.url}/metrics", timeout=ANSWER_SECONDS).text
        return sum(float(value) for value in re.findall(rf"^{name}{{[^}}]*}} (\S+)$", page, re.MULTILINE))


@contextmanager
def engine(model: Path, home: Path, options: Sequence[str]) -> Iterator[str]:
    """Its URL, once it answers; it is gone afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    release = installed("0.32")
    command = ["vllm", "serve", str(model), "--served-model-name=m", "--host=127.0.0.1", f"--port={port}"]
    command += ["--max-model-len=4096", "--max-num-seqs=8", *options]
    environment = {
        **release.surroundings(home),
        "HF_HUB_OFFLINE": "1",
        "TIERWISE_CPU_KV_CACHE": KV_CACHE,
        "VLLM_ENABLE_RESPONSES_API_STORE": "1",
    }
    launcher = os.path.join(release.path[0], command[0])
    log = home / "engine.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [launcher, *command[1:]], env=environment, stdout=out, stderr=out, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_SECONDS
    try:
        with told("starting an engine"):
            while not _healthy(url):
                assert process.poll() is None, log.read_text(errors="replace")[-4000:]
                assert time.monotonic() < deadline, "it did not come up"
                time.sleep(0.5)
        yield url
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _healthy(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=5).status_code == 200
    except requests.RequestException:
        return False


@contextmanager
def served(model: Path, home: Path, *options: str) -> Iterator[Served]:
    """An engine with a router before it."""
    with engine(model, home, options) as url:
        spec = {"modelNames": ["mixed"], "tiers": [{"name": "tier", "model": "m", "servers": [url]}]}
        given: dict[str, Any] = {"api_key": "none", "max_retries": 0, "timeout": ANSWER_SECONDS}
        with (
            router(spec, home) as route,
            openai.OpenAI(base_url=f"{url}/v1", **given) as direct,
            openai.OpenAI(base_url=f"{route.url}/v1", **given) as routed,
        ):
            yield Served(url, route, direct, routed)
