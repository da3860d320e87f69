"""Defines where a route comes from: the one seam between the router and a file or a cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tierwise.routing import route as values
from tierwise_router.router_state import RouterState

# Between two looks at files that may have changed.
RELOAD_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """Where the certificate (with its chain) and its key are, as PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Loaded:
    """A route, and the keys of its providers by the file that holds each. `tls` None: the endpoint speaks plain HTTP;
    this counts at the start of the process only, and so does `base`, where relative names of files begin."""

    route: values.Route
    keys: Mapping[str, str]
    tls: TLSFiles | None = None
    base: Path = Path()


class RouteSource(Protocol):
    """Where a route comes from."""

    @property
    def parts(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """What must run for ever for the other two, by name."""
        ...

    async def first(self) -> Loaded:
        """The route, as soon as it can be served. Raises Invalid where waiting would not help."""
        ...

    async def follow(self, state: RouterState) -> None:
        """Bring every later change into `state`, for ever. What cannot be served changes nothing."""
        ...
