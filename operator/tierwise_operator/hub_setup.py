"""Which hub is asked about models, and whether any is."""

from __future__ import annotations

from collections.abc import Callable

from tierwise.hub.client import HubClient
from tierwise.observe.model_metadata_cache import ModelMetadataCache
from tierwise.ports import Clock
from tierwise_operator.settings import Settings


def catalogue(settings: Settings, clock: Clock, wake: Callable[[], None]) -> ModelMetadataCache | None:
    """The catalogue of the settings' hub; None when there is to be none. `wake` is called when it has learned."""
    if not settings.hub_url or settings.hub_offline:
        return None
    return ModelMetadataCache(HubClient(settings.hub_url, ca_file=settings.hub_ca_file), clock, changed=wake)
