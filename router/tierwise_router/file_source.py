"""Follows a route that a file says: it and the key files are read again when they change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from tierwise.errors import Invalid
from tierwise_router import route_file
from tierwise_router.router_state import RouterState
from tierwise_router.source import RELOAD_SECONDS, Loaded

logger = logging.getLogger(__name__)


class FileSource:
    """The route in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loaded: Loaded | None = None

    @property
    def parts(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """Nothing runs beside."""
        return {}

    async def first(self) -> Loaded:
        """The route. Raises Invalid for a bad file."""
        self._loaded = await asyncio.to_thread(route_file.load, self._path)
        return self._loaded

    async def follow(self, state: RouterState) -> None:
        """Serve what the file and the key files say, when they change. A bad file changes nothing."""
        complaint = ""
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            try:
                found = await asyncio.to_thread(route_file.load, self._path)
            except Invalid as error:
                if error.message != complaint:
                    complaint = error.message
                    logger.error("%s; the route that is served stays as it was", complaint)
                continue
            complaint = ""
            if found == self._loaded:
                continue
            if found.route.budget != state.route.budget:
                logger.warning("the budget has changed; it counts when the router is started again")
            self._loaded = found
            state.replace(found.route, dict(found.keys))
            logger.info("the route has changed and is served")
