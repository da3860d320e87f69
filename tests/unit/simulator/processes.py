"""The simulated engine as a real process: the launcher of the image, on a loopback port."""

import json
import os
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


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Vllm:
    """A running `vllm serve`; ends with its context."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, body: dict[str, Any] | None = None, timeout: float = 5.0) -> tuple[int, str]:
        data = json.dumps(body).encode() if body is not None else None
        try:
            with urllib.request.urlopen(self.url + path, data, timeout) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, line_start: str) -> float:
        lines = [line for line in self.get("/metrics")[1].splitlines() if line.startswith(line_start)]
        assert len(lines) == 1, lines
        return float(lines[0].rsplit(" ", 1)[1])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)


@contextmanager
def vllm(*extra: str, model: str = "Qwen/Qwen3-8B-FP8", wait_seconds: float = 20, **environment: str) -> Iterator[Vllm]:
    """Start, wait until it listens (or ends, or the time is over), yield, and make sure that it is gone."""
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
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if started.get("/health")[0] == 200:
                    break
            except OSError:
                time.sleep(0.02)
        yield started
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
