"""The simulated engine as a real process: the launcher of the image, on a loopback port."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LAUNCHER = Path(__file__).parents[3] / "runtime-images" / "vllm-sim" / "bin" / "vllm"


# Below those that the kernel gives to outgoing connections (from 32768 on): none of theirs takes it before it is bound.
_PORTS = range(15_000, 32_000)


def free_port() -> int:
    """A loopback port that nothing listens on. Raises AssertionError where fifty of them are taken."""
    for port in random.sample(_PORTS, 50):
        with socket.socket() as found:
            try:
                found.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"fifty ports of {_PORTS} are taken")


class Vllm:
    """A running `vllm serve`; ends with its context."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, body: dict[str, Any] | None = None, timeout: float = 60.0) -> tuple[int, str]:
        data = json.dumps(body).encode() if body is not None else None
        try:
            with urllib.request.urlopen(self.url + path, data, timeout) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def listens(self) -> bool:
        try:
            return self.get("/health")[0] == 200
        except OSError:
            return False

    def metric(self, line_start: str) -> float:
        lines = [line for line in self.get("/metrics")[1].splitlines() if line.startswith(line_start)]
        assert len(lines) == 1, lines
        return float(lines[0].rsplit(" ", 1)[1])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@contextmanager
def vllm(
    *extra: str, model: str = "Qwen/Qwen3-8B-FP8", wait_seconds: float = 120, **environment: str
) -> Iterator[Vllm]:
    """Start, wait until it listens or has ended, yield, and make sure that it is gone. Raises AssertionError where it
    does neither in time; with `wait_seconds` 0 nothing is waited for."""
    port = free_port()
    variables = {
        name if name.startswith("VLLM_") else f"TIERWISE_SIM_{name}": value for name, value in environment.items()
    }
    variables = {"TIERWISE_SIM_LOAD_SECONDS": "0", "TIERWISE_SIM_SPEED": "50", **variables}
    path = f"{Path(sys.executable).parent}{os.pathsep}/usr/bin{os.pathsep}/bin"
    process = subprocess.Popen(
        [str(LAUNCHER), "serve", model, "--host=127.0.0.1", f"--port={port}", "--served-model-name=chat", *extra],
        env={"PATH": path, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started = Vllm(process, port)
    deadline = time.monotonic() + wait_seconds
    try:
        while wait_seconds and process.poll() is None and not started.listens():
            assert time.monotonic() < deadline, f"{started.url} does not listen after {wait_seconds} s"
            time.sleep(0.02)
        yield started
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
