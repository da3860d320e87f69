"""Finds the address and the credentials of the API server.

In a pod it uses the mounted ServiceAccount, elsewhere a kubeconfig. Credentials rotate (the kubelet rewrites a
projected token about every hour, an exec plugin's token expires), so the token is never kept: the client asks for it
before each request, and it is read again once a minute. Certificates are read once; a new one needs a restart.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import yaml
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config.config_exception import ConfigException

from tierwise.errors import Invalid

logger = logging.getLogger(__name__)

TOKEN_REFRESH_SECONDS = 60.0
USER_AGENT = "tierwise"


def _default_kubeconfig() -> Path | None:
    named = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    path = Path(named) if named else Path.home() / ".kube" / "config"
    return path if path.is_file() else None


async def load(
    kubeconfig: Path | None = None, context: str | None = None, *, monotonic: Callable[[], float] = time.monotonic
) -> Configuration:
    """The connection to use: the kubeconfig that is named, else the pod's own, else the user's default kubeconfig.

    Raises Invalid with the way out when there is none of them, or the one that is named cannot be used.
    """
    configuration = Configuration()
    if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        try:
            config.load_incluster_config(client_configuration=configuration)
        except (ConfigException, OSError) as error:
            raise Invalid(f"the pod's own ServiceAccount cannot be used: {error}") from error
        return configuration
    path = kubeconfig if kubeconfig is not None else _default_kubeconfig()
    if path is None:
        raise Invalid("no API server is known: give --kubeconfig, set KUBECONFIG, or run in a pod")
    await _read(path, context, configuration)
    configuration.refresh_api_key_hook = _refresher(path, context, monotonic)
    return configuration


async def _read(path: Path, context: str | None, configuration: Configuration) -> None:
    try:
        path.open().close()  # load_kube_config only warns of a missing file, and fails later for another reason
        await config.load_kube_config(
            config_file=str(path), context=context, client_configuration=configuration, persist_config=False
        )
    except (ConfigException, yaml.YAMLError, OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise Invalid(f"the kubeconfig {path} cannot be used: {error}") from error


def _refresher(
    path: Path, context: str | None, monotonic: Callable[[], float]
) -> Callable[[Configuration], Awaitable[None]]:
    read_at = monotonic()

    async def refresh(configuration: Configuration) -> None:
        nonlocal read_at
        if monotonic() - read_at >= TOKEN_REFRESH_SECONDS:
            read_at = monotonic()
            try:
                await _read(path, context, configuration)
            except Invalid as error:  # caught half-written: the credentials in hand may still be good
                logger.warning("%s; the credentials read before stay in use", error.message)

    return refresh


async def authorization(configuration: Configuration) -> str:
    """The Authorization header of the next request; empty when a certificate (or nothing) identifies us."""
    return str(await configuration.get_api_key_with_prefix("BearerToken", alias="authorization") or "")


def client(configuration: Configuration) -> ApiClient:
    """A client over this connection. Close it."""
    made = ApiClient(configuration)
    made.user_agent = USER_AGENT
    return made
