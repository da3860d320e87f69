"""Talks to the API server for the kubelet and the service forwarder.

Plain objects over HTTP: they read and write JSON by path, hundreds of times a minute when pods come and go,
and the official client's models would cost a second at start and 60 MB for nothing. Watching is `Mirror`: a
list, then a watch from its version, listing again when the version is too old, for ever.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import yaml

Json = dict[str, Any]
log = logging.getLogger(__name__)

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
WATCH_S = 300
FIRST_RETRY_S, LAST_RETRY_S = 0.2, 5.0
TIMEOUT_S = 15.0


class ApiError(Exception):
    """The API server's refusal: its status code and message."""

    def __init__(self, code: int, message: str) -> None:
        """Keep both."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


# What a request raises when the server is away or slow; all of them pass.
AWAY = (aiohttp.ClientError, TimeoutError, OSError)


class Rest:
    """A client for one identity, from a kubeconfig. Every call raises ApiError or one of AWAY."""

    def __init__(self, kubeconfig: Path) -> None:
        """Read the kubeconfig's current context. Raises OSError, KeyError, yaml.YAMLError."""
        document = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        context = _named(document["contexts"], document["current-context"])["context"]
        cluster = _named(document["clusters"], context["cluster"])["cluster"]
        user = _named(document["users"], context["user"])["user"]
        self.server = str(cluster["server"]).rstrip("/")
        self._tls = _tls(cluster, user)
        token = user.get("token") or (Path(user["tokenFile"]).read_text().strip() if "tokenFile" in user else "")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """Return the session, opened at first use."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers={**self._headers, "Accept": "application/json"},
                connector=aiohttp.TCPConnector(ssl=self._tls, limit=0),
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Json:
        """Return an object or a list."""
        return await self._call("GET", path, query=query)

    async def post(self, path: str, body: Json) -> Json:
        """Create an object, or call a subresource; return the answer."""
        return await self._call("POST", path, body=body)

    async def put(self, path: str, body: Json) -> Json:
        """Replace an object; return it."""
        return await self._call("PUT", path, body=body)

    async def patch(self, path: str, body: Json, content_type: str = MERGE_PATCH) -> Json:
        """Patch an object; return it."""
        return await self._call("PATCH", path, body=body, content_type=content_type)

    async def delete(self, path: str, body: Json | None = None) -> Json:
        """Delete an object."""
        return await self._call("DELETE", path, body=body)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
    ) -> Json:
        async with self.session.request(
            method,
            self.server + path,
            params=query,
            data=json.dumps(body) if body is not None else None,
            headers={"Content-Type": content_type} if body is not None else None,
        ) as response:
            text = await response.text()
            if response.status >= 400:
                raise ApiError(response.status, _message(text))
            document: Json = json.loads(text)
            return document

    async def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Json]:
        """Yield watch events until the server ends the watch."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_S, sock_read=WATCH_S + 30)
        full = {**query, "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_S)}
        async with self.session.get(self.server + path, params=full, timeout=timeout) as response:
            if response.status >= 400:
                raise ApiError(response.status, _message(await response.text()))
            # An event may be a megabyte; aiohttp's own readline refuses lines over 64 kB.
            pending = b""
            async for chunk in response.content.iter_any():
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    if line:
                        yield json.loads(line)


class Mirror:
    """A local copy of a collection; `changed(kind, object)` is called for ADDED, MODIFIED and DELETED."""

    def __init__(self, client: Rest, path: str, query: Mapping[str, str], changed: Callable[[str, Json], None]) -> None:
        """Prepare; nothing happens before `run`."""
        self._client, self._path, self._query, self._changed = client, path, dict(query), changed
        self.objects: dict[str, Json] = {}
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Keep the copy current, for ever; losing the server is waited out."""
        retry = FIRST_RETRY_S
        while True:
            try:
                version = await self._list()
                retry = FIRST_RETRY_S
                while True:
                    version = await self._follow(version)
            except ApiError as error:
                # 410 means: too far behind, list again; anything else will be asked again just the same.
                if error.code != 410:
                    log.warning("watching %s: %s", self._path, error)
            except AWAY as error:
                level = logging.INFO if retry == FIRST_RETRY_S else logging.DEBUG
                log.log(level, "watching %s: %s", self._path, error or type(error).__name__)
            await asyncio.sleep(retry)
            retry = min(2 * retry, LAST_RETRY_S)

    async def _list(self) -> str:
        answer = await self._client.get(self._path, self._query)
        found = {item["metadata"]["uid"]: item for item in answer.get("items") or []}
        for uid in [uid for uid in self.objects if uid not in found]:
            self._apply("DELETED", self.objects[uid])
        for uid, item in found.items():
            known = self.objects.get(uid)
            if known is None:
                self._apply("ADDED", item)
            elif known["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
                self._apply("MODIFIED", item)
        self.synced.set()
        return str(answer["metadata"]["resourceVersion"])

    async def _follow(self, version: str) -> str:
        async for event in self._client.watch(self._path, {**self._query, "resourceVersion": version}):
            item = event["object"]
            if event["type"] == "ERROR":
                raise ApiError(int(item.get("code", 500)), str(item.get("message", "")))
            version = str(item["metadata"]["resourceVersion"])
            if event["type"] != "BOOKMARK":
                self._apply(event["type"], item)
        return version

    def _apply(self, kind: str, item: Json) -> None:
        uid = item["metadata"]["uid"]
        if kind == "DELETED":
            self.objects.pop(uid, None)
        else:
            self.objects[uid] = item
        self._changed(kind, item)


def _named(entries: list[Json], name: str) -> Json:
    return next(entry for entry in entries if entry["name"] == name)


def _tls(cluster: Json, user: Json) -> ssl.SSLContext:
    if "certificate-authority-data" in cluster:
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
    else:
        context = ssl.create_default_context(cafile=cluster.get("certificate-authority"))
    if "client-certificate-data" in user:
        # The standard library loads a certificate only from a file.
        with tempfile.NamedTemporaryFile() as pair:
            for key in ("client-certificate-data", "client-key-data"):
                pair.write(base64.b64decode(user[key]) + b"\n")
            pair.flush()
            context.load_cert_chain(pair.name)
    elif "client-certificate" in user:
        context.load_cert_chain(user["client-certificate"], user["client-key"])
    return context


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:500]
