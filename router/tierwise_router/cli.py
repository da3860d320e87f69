"""Defines `tierwise router`: its options, and how it runs."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import uvloop

from tierwise.runtime import logs
from tierwise_router import app

EXAMPLE = """\
example:
  tierwise router --file route.yaml
  curl http://127.0.0.1:8080/v1/models"""


def add_options(made: argparse.ArgumentParser) -> None:
    """The options of `tierwise router`."""
    made.add_argument("--file", type=Path, required=True, metavar="FILE", help="the route (docs/routing.md)")
    made.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    made.add_argument("--port", type=int, default=8080, help="port of the OpenAI endpoint (default: 8080)")
    made.add_argument(
        "--metrics-port", type=int, default=9090, help="port of /metrics, /healthz, /readyz (default: 9090)"
    )
    made.add_argument(
        "--drain-seconds",
        type=float,
        default=300.0,
        metavar="N",
        help="time for open answers at the end (default: 300)",
    )
    made.add_argument(
        "--spending-file", type=Path, metavar="FILE", help="keeps what was spent, so that a restart does not forget it"
    )
    made.add_argument(
        "--log-level", choices=("DEBUG", "INFO", "WARNING", "ERROR"), default="INFO", help="default: INFO"
    )
    made.add_argument("--log-format", choices=("text", "json"), default="text", help="default: text")


def run(given: argparse.Namespace) -> int:
    """Run the router until it gets SIGTERM or SIGINT; its exit code."""
    logs.configure(given.log_level, given.log_format)
    settings = app.RouterSettings(
        file=given.file,
        host=given.host,
        port=given.port,
        metrics_port=given.metrics_port,
        drain_seconds=given.drain_seconds,
        spending_file=given.spending_file,
    )
    uvloop.run(_until_signal(settings))
    return 0


async def _until_signal(settings: app.RouterSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def listening(ports: app.Ports) -> None:
        print(
            f"OpenAI endpoint on http://{settings.host}:{ports.openai}/v1, metrics and probes on port {ports.metrics}",
            file=sys.stderr,
            flush=True,
        )

    await app.run(settings, stop, listening)
