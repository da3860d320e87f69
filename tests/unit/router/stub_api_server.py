"""As much of an API server as a router needs: it lists and watches one ModelRoute and the EndpointSlices.

The real one has a test of its own (tests/cluster/e2e); this one is there in no time, for many routers at once.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web


class StubApiServer:
    """Holds the objects; `route` is the ModelRoute."""

    def __init__(self, route: dict[str, Any], slices: list[dict[str, Any]]) -> None:
        self.route = route
        self._slices = slices
        self._version = 1
        self._changed = asyncio.Event()

    def set_status(self, **fields: Any) -> None:
        """Change fields of the status, and tell every watch."""
        self._version += 1
        self.route = copy.deepcopy(self.route)
        self.route["status"].update(fields)
        self.route["metadata"]["resourceVersion"] = str(self._version)
        self._changed.set()
        self._changed = asyncio.Event()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        routes = "modelroutes" in request.path
        if "watch" not in request.query:
            wanted = request.query.get("labelSelector", "").partition("=")[2]
            slices = [each for each in self._slices if each["metadata"]["labels"]["service"] == wanted]
            items = [self.route] if routes else slices
            return web.json_response({"metadata": {"resourceVersion": str(self._version)}, "items": items})
        response = web.StreamResponse()
        await response.prepare(request)
        told = int(request.query["resourceVersion"])
        while True:
            changed = self._changed
            if routes and told < self._version:
                told = self._version
                event = {"type": "MODIFIED", "object": self.route}
                try:
                    await response.write(json.dumps(event).encode() + b"\n")
                except ConnectionError:  # the router is gone
                    return response
            await changed.wait()


@asynccontextmanager
async def stub_api_server(
    route: dict[str, Any], slices: list[dict[str, Any]], kubeconfig: Path
) -> AsyncIterator[StubApiServer]:
    """It listens; `kubeconfig` says where."""
    server = StubApiServer(route, slices)
    application = web.Application()
    application.router.add_get("/{path:.*}", server._answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    entry = {"name": "here", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "here", "context": {"cluster": "here", "user": "me"}}
    config = {
        "clusters": [entry],
        "contexts": [context],
        "users": [{"name": "me", "user": {}}],
        "current-context": "here",
    }
    await asyncio.to_thread(kubeconfig.write_text, yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **config}))
    try:
        yield server
    finally:
        await runner.cleanup()
