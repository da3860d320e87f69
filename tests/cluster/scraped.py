"""A Prometheus of one test's own, and small exporters that it scrapes: they can hang, break, restart or go away.

No cluster is needed: targets come from a file, with the labels that the scrape configuration of a cluster sets. What is
asked and how it is read is the operator's own code.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

import requests

Found = TypeVar("Found")


def eventually(look: Callable[[], Found], fits: Callable[[Found], bool], seconds: float, what: str) -> Found:
    """What `look` finds, once it `fits`. Raises AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if fits(found):
            return found
        assert time.monotonic() < deadline, f"{what}: still {found}"
        time.sleep(0.2)


@dataclass
class Exporter:
    """One replica's /metrics. `values` are gauges and counters by name, under the labels of a vLLM engine, `extra`
    makes further lines; `hang` makes the page slower than any scrape."""

    values: dict[str, float] = field(default_factory=dict)
    hang: bool = False
    extra: Callable[[], str] = lambda: ""

    def __post_init__(self) -> None:
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if exporter.hang:
                    time.sleep(4.0)
                page = exporter.page().encode()
                try:
                    self.send_response(200)
                    self.send_header("Content-Type", "text/plain; version=0.0.4")
                    self.end_headers()
                    self.wfile.write(page)
                except OSError:  # the scrape has given up
                    pass

            def log_message(self, *_: object) -> None:
                """Be silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    def page(self) -> str:
        """The text of the page."""
        labels = 'model_name="m",engine="0"'
        lines = [f"{name}{{{labels}}} {value}" for name, value in self.values.items()]
        info = 'vllm:cache_config_info{engine="0",block_size="16",num_gpu_blocks="1000",kv_cache_size_tokens="16000"} 1'
        return "\n".join([*lines, info, self.extra(), ""])

    def stop(self) -> None:
        """Close the port: the target is down."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class OwnPrometheus:
    """One Prometheus process."""

    def __init__(self, binary: Path, folder: Path, *, scrape_seconds: float = 1.0) -> None:
        self._binary, self._folder, self._scrape = binary, folder, scrape_seconds
        folder.mkdir(parents=True, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.targets({})

    def targets(
        self, exporters: Mapping[tuple[str, str, str], Exporter], routers: Mapping[tuple[str, str, str], Exporter] = {}
    ) -> None:
        """Scrape these, by namespace, tier and pod; the routers by namespace, route and pod."""
        found = [
            {"targets": [exporter.address], "labels": {"namespace": namespace, label: name, "pod": pod}}
            for label, group in (("tierwise_io_tier", exporters), ("tierwise_io_route", routers))
            for (namespace, name, pod), exporter in group.items()
        ]
        self.write_targets(found)

    def write_targets(self, found: Sequence[object]) -> None:
        """Scrape these groups of targets, as Prometheus' file discovery has them."""
        partial = self._folder / "targets.part"
        partial.write_text(json.dumps(found), encoding="utf-8")
        partial.rename(self._folder / "targets.json")

    def start(self) -> None:
        """Run it on a free port until `stop`."""
        config = {
            "global": {
                "scrape_interval": f"{int(self._scrape * 1000)}ms",
                "scrape_timeout": f"{int(self._scrape * 1000)}ms",
            },
            "scrape_configs": [
                {
                    "job_name": "engines",
                    "file_sd_configs": [{"files": [str(self._folder / "targets.json")], "refresh_interval": "1s"}],
                }
            ],
        }
        (self._folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")
        log = self._folder / "prometheus.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    str(self._binary),
                    f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    "--web.listen-address=127.0.0.1:0",
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
            )

        def address() -> str:
            for line in log.read_text(encoding="utf-8").splitlines():
                if "Listening on" in line and "address=" in line:
                    return line.split("address=")[-1].split()[0].strip('"')
            return ""

        self.url = f"http://{eventually(address, bool, 120, 'Prometheus listens')}"
        eventually(self._ready, bool, 120, "Prometheus is ready")

    def _ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/-/ready", timeout=10).status_code == 200
        except requests.RequestException:
            return False

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None
