"""Defines `tierwise router`: its options, and how it runs."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

import uvloop

from tierwise.errors import Invalid
from tierwise.kube.objects import ROUTER_SECRETS
from tierwise.runtime import logs
from tierwise_router import app
from tierwise_router.bodies import MOST_BYTES
from tierwise_router.file_source import FileSource
from tierwise_router.kubernetes_source import Place, kubernetes_source
from tierwise_router.source import RouteSource

EXAMPLE = """\
examples:
  tierwise router --file route.yaml
  tierwise router --route models/chat --kubeconfig ~/.kube/config
  curl http://127.0.0.1:8080/v1/models"""


def add_options(made: argparse.ArgumentParser) -> None:
    """The options of `tierwise router`."""
    where = made.add_mutually_exclusive_group(required=True)
    where.add_argument("--file", type=Path, metavar="FILE", help="the route, without Kubernetes (docs/routing.md)")
    where.add_argument("--route", metavar="NAMESPACE/NAME", help="the ModelRoute to serve, on Kubernetes")
    made.add_argument("--kubeconfig", type=Path, metavar="FILE", help="with --route; in a pod: its own")
    made.add_argument("--context", help="context of the kubeconfig")
    made.add_argument(
        "--secrets",
        type=Path,
        default=Path(ROUTER_SECRETS),
        metavar="DIR",
        help=f"with --route: where its Secrets are mounted (default: {ROUTER_SECRETS})",
    )
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
        "--verdicts-file",
        type=Path,
        metavar="FILE",
        help="keeps what judges said of sampled answers, with hashed features, for `tierwise train`; needs --salt-file",
    )
    made.add_argument(
        "--salt-file",
        type=Path,
        metavar="FILE",
        help="secret salt of these hashes, and of a classifier that was trained with it: 16 to 64 bytes of chance",
    )
    made.add_argument(
        "--router-id",
        default="",
        metavar="UID",
        help="with --route: UID of the router's pod, whose lease of the budget it spends from; without: from none",
    )
    made.add_argument(
        "--body-memory-mib",
        type=int,
        default=MOST_BYTES >> 20,
        metavar="N",
        help=f"what the bodies of all requests may take together; more get 503 (default: {MOST_BYTES >> 20})",
    )
    made.add_argument(
        "--log-level", choices=("DEBUG", "INFO", "WARNING", "ERROR"), default="INFO", help="default: INFO"
    )
    made.add_argument("--log-format", choices=("text", "json"), default="text", help="default: text")


def run(given: argparse.Namespace) -> int:
    """Run the router until it gets SIGTERM or SIGINT; its exit code."""
    logs.configure(given.log_level, given.log_format)
    settings = app.RouterSettings(
        host=given.host,
        port=given.port,
        metrics_port=given.metrics_port,
        drain_seconds=given.drain_seconds,
        spending_file=given.spending_file,
        leased=given.file is None,
        body_memory_bytes=given.body_memory_mib << 20,
        verdicts_file=given.verdicts_file,
        salt_file=given.salt_file,
    )
    uvloop.run(_until_signal(settings, given))
    return 0


def _source(given: argparse.Namespace) -> AbstractAsyncContextManager[RouteSource]:
    """Where the route comes from. Raises Invalid for a name without namespace."""
    if given.file is not None:
        return nullcontext(FileSource(given.file))
    namespace, _, name = given.route.partition("/")
    if not namespace or not name or "/" in name:
        raise Invalid("--route is NAMESPACE/NAME of a ModelRoute")
    where = Place(namespace, name, given.secrets, given.router_id)
    return kubernetes_source(where, given.kubeconfig, given.context)


async def _until_signal(settings: app.RouterSettings, given: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def listening(ports: app.Ports) -> None:
        print(
            f"OpenAI endpoint on {'https' if ports.tls else 'http'}://{settings.host}:{ports.openai}/v1, "
            f"metrics and probes on port {ports.metrics}",
            file=sys.stderr,
            flush=True,
        )

    async with _source(given) as source:
        await app.run(settings, source, stop, listening)
