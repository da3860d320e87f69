"""Serves the logs of containers to the API server (`kubectl logs`), over HTTPS.

One server answers for all nodes of the playground. Only the API server's client certificate is let in.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web

from playground.kubelet.logs import LogFile, LogQuery
from playground.kubelet.model import Waiting
from playground.kubelet.network import HOST_ADDRESS
from playground.kubelet.node import KUBELET_PORT
from playground.kubelet.pod import PodWorker

log = logging.getLogger(__name__)
Find = Callable[[str, str], PodWorker | None]


class BadQuery(Exception):
    """A log query that cannot be understood or answered; the text is for the user."""


def parse_query(query: Mapping[str, str]) -> LogQuery:
    """Read the options of `kubectl logs`. Raises BadQuery."""
    try:
        since = None
        if "sinceSeconds" in query:
            since = datetime.now(UTC) - timedelta(seconds=int(query["sinceSeconds"]))
        elif "sinceTime" in query:
            since = datetime.fromisoformat(query["sinceTime"].replace("Z", "+00:00"))
        return LogQuery(
            follow=query.get("follow") == "true",
            tail=int(query["tailLines"]) if "tailLines" in query else None,
            timestamps=query.get("timestamps") == "true",
            since=since,
            limit=int(query["limitBytes"]) if "limitBytes" in query else None,
        )
    except ValueError as error:
        raise BadQuery(str(error)) from error


def find_log(worker: PodWorker | None, pod: str, container: str, *, previous: bool) -> LogFile:
    """Return a container's log. Raises BadQuery with the kubelet's own words."""
    runner = worker.runners.get(container) if worker is not None else None
    if runner is None:
        raise BadQuery(f'container "{container}" in pod "{pod}" is not available')
    found = runner.previous_log if previous else runner.log
    if found is not None:
        return found
    if previous:
        raise BadQuery(f'previous terminated container "{container}" in pod "{pod}" not found')
    state = runner.record.state
    why = state.reason if isinstance(state, Waiting) else "ContainerCreating"
    raise BadQuery(f'container "{container}" in pod "{pod}" is waiting to start: {why}')


class LogServer:
    """Answers GET /containerLogs/NAMESPACE/POD/CONTAINER."""

    def __init__(self, find: Find) -> None:
        """Use `find` to get at pods."""
        self._find = find

    async def start(self, state: Path) -> None:
        """Listen with the certificate in the state folder. Raises OSError."""
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(state / "ca.crt"))
        tls.load_cert_chain(state / "kubelet.crt", state / "kubelet.key")
        tls.verify_mode = ssl.CERT_REQUIRED
        application = web.Application()
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        application.router.add_get("/healthz", self._healthy)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, HOST_ADDRESS, KUBELET_PORT, ssl_context=tls).start()

    @staticmethod
    async def _healthy(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        place = request.match_info
        try:
            query = parse_query(request.query)
            file = find_log(
                self._find(place["namespace"], place["pod"]),
                place["pod"],
                place["container"],
                previous=request.query.get("previous") == "true",
            )
        except BadQuery as error:
            return web.Response(status=400, text=str(error))
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        async for part in file.read(query):
            await response.write(part)
        await response.write_eof()
        return response
