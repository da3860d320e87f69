"""Sends one request to the API server, and turns each kind of failure into an exception of ours.

This is the one place for timeouts, for waiting as the server asks (429 and Retry-After), for the fence before each
write, and for translating everything that can go wrong into `tierwise.errors`. No other module sees an HTTP status or
an exception of the HTTP client.

`kubernetes.aio` carries the requests (connection, TLS, credentials). Its generated classes are not used: one path
builder serves every kind, and a custom resource and a Deployment then fail in the same words.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.config.config_exception import ConfigException

from tierwise.errors import Transient
from tierwise.kube.refusals import refusal

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 30.0
_LEAST_SECONDS = 0.001  # aiohttp takes 0 for no limit
# Kubernetes sends a bookmark about every minute: a stream that is silent for longer is dead.
SILENCE_SECONDS = 75.0
READS = frozenset({"GET"})

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

_TROUBLE = (aiohttp.ClientError, TimeoutError, OSError, ConfigException)


class ApiTransport:
    """Requests to one API server. Raises Refused (and its kin) and Transient, and nothing else.

    `fence` is called right before every attempt of a write and raises when this process may not write (any more).
    """

    def __init__(
        self,
        client: ApiClient,
        *,
        fence: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._fence = fence
        self._monotonic = monotonic
        self._sleep = sleep
        self._not_before = 0.0  # the server asked everyone to wait until then

    async def call(
        self,
        what: str,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> dict[str, Any]:
        """One request; waits as long as the server asks. All of it, waiting and trying again, within TOTAL_SECONDS."""
        deadline = self._monotonic() + TOTAL_SECONDS
        headers = {"Accept": accept, "Content-Type": content_type}
        while True:
            await self._wait(what, deadline)
            if method not in READS:
                self._fence()
            try:
                left = max(_LEAST_SECONDS, deadline - self._monotonic())
                limits = aiohttp.ClientTimeout(total=left, sock_connect=CONNECT_SECONDS)
                response = await self._send(method, path, query, body, headers, limits)
                data: bytes = await response.read()
            except _TROUBLE as trouble:
                raise Transient(f"{what}: the API server cannot be reached ({_name(trouble)})") from trouble
            if 200 <= response.status < 300:
                return _decoded(what, data)
            error = refusal(what, response.status, data, response.headers.get("Retry-After"))
            if not isinstance(error, Transient) or error.retry_after is None:
                raise error
            self._not_before = self._monotonic() + error.retry_after
            if self._not_before >= deadline:
                raise error

    async def stream(self, what: str, path: str, query: Sequence[tuple[str, str]]) -> AsyncIterator[dict[str, Any]]:
        """The events of a watch, until the server ends it. Gone when the resource version is too old (410)."""
        await self._wait(what, self._monotonic() + TOTAL_SECONDS)
        limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        try:
            response = await self._send("GET", path, query, None, {"Accept": JSON}, limits)
            if response.status != 200:
                raise refusal(what, response.status, await response.read(), response.headers.get("Retry-After"))
            try:
                async for line in response.response.content:
                    event = _decoded(what, line)
                    if event.get("type") == "ERROR":
                        status = event.get("object") or {}
                        raise refusal(what, int(status.get("code") or 500), json.dumps(status).encode())
                    yield event
            finally:
                response.response.close()
        except (*_TROUBLE, ValueError) as error:
            raise Transient(f"{what}: the stream broke ({_name(error)})") from error

    async def _wait(self, what: str, deadline: float) -> None:
        pause = self._not_before - self._monotonic()
        if pause <= 0:
            return
        if self._not_before >= deadline:
            # How long is not told: the message ends in a condition, which would be another every second.
            raise Transient(f"{what}: the API server asks its clients to wait", retry_after=pause)
        await self._sleep(pause)

    async def _send(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        body: Any,
        headers: dict[str, str],
        limits: aiohttp.ClientTimeout,
    ) -> Any:
        verb, url, sent, data, _ = await self._client.param_serialize(
            method,
            path,
            query_params=list(query),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        return await self._client.call_api(verb, url, sent, data, _request_timeout=limits)


def _name(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _decoded(what: str, data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data) if data else {}
    except ValueError as error:
        raise Transient(f"{what}: the answer is not whole") from error
    if not isinstance(value, Mapping):
        raise Transient(f"{what}: the answer is not an object")
    return dict(value)
