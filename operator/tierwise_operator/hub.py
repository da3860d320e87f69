"""Which hub is asked about models, and whether any is."""

from __future__ import annotations

from collections.abc import Callable

from tierwise.observe.catalogue import Catalogue
from tierwise.observe.hub import Hub
from tierwise.ports import Clock
from tierwise_operator.settings import Settings


def catalogue(settings: Settings, clock: Clock, wake: Callable[[], None]) -> Catalogue | None:
    """The catalogue of the settings' hub; None when there is to be none. `wake` is called when it has learned."""
    if not settings.hub_url:
        return None
    return Catalogue(Hub(settings.hub_url), clock, changed=wake)
