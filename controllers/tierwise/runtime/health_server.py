"""Serves the health probes and the metrics of the process.

`/healthz` answers for the loop, not for the web server: it returns 500 when the last finished cycle is older than a few
ticks, so a hanging loop gets the pod restarted. `/readyz` says whether the process does its work, and if not, why. A
standby without the Lease is healthy and ready: it watches and could take over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

TICKS_UNTIL_DEAD = 6


class Health:
    """What the loop tells about itself. Ages come from a clock that only grows."""

    def __init__(self, monotonic: Callable[[], float], tick_seconds: float) -> None:
        self._monotonic = monotonic
        self._limit = tick_seconds * TICKS_UNTIL_DEAD
        self._finished_at = monotonic()  # a process that has just started is given as long as one that runs
        self._not_ready = "the first cycle has not finished"

    def finished(self, not_ready: str = "") -> None:
        """A cycle has finished; `not_ready` says what still keeps the process from its work, if anything."""
        self._finished_at = self._monotonic()
        self._not_ready = not_ready

    @property
    def age_seconds(self) -> float:
        """Since the last finished cycle (or the start)."""
        return self._monotonic() - self._finished_at

    def alive(self) -> tuple[bool, str]:
        """Whether the loop runs, and a sentence about it."""
        text = f"the last cycle finished {self.age_seconds:.1f} s ago"
        return self.age_seconds <= self._limit, f"{text} (at most {self._limit:.0f} s)"

    def ready(self) -> tuple[bool, str]:
        """Whether the process does its work, and a sentence about it."""
        alive, text = self.alive()
        if not alive or not self._not_ready:
            return alive, text
        return False, self._not_ready


def application(health: Health, registry: CollectorRegistry) -> web.Application:
    """The three endpoints."""

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    def probe(ask: Callable[[], tuple[bool, str]], failed: int) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(_: web.Request) -> web.Response:
            fine, text = ask()
            return web.Response(status=200 if fine else failed, text=text + "\n")

        return answer

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", probe(health.alive, 500))
    app.router.add_get("/readyz", probe(health.ready, 503))
    return app


async def serve(app: web.Application, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Listen; the runner (to clean up) and the port that was got. Raises OSError when it is taken."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    return runner, int(runner.addresses[0][1])
