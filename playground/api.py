"""Talks to the API server while the playground starts.

Three verbs over HTTP. The objects applied at start are a dozen known kinds, so nothing has to be discovered,
and the first object is there a second earlier than any client library would have it.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from types import TracebackType
from typing import Any, Self

import aiohttp

from playground.errors import PlaygroundError
from playground.layout import API_URL

Object = dict[str, Any]
FIELD_MANAGER = "tierwise-playground"
RETRIED = frozenset({429, 500, 503, 504})

# kind: (plural, namespaced)
_RESOURCES = {
    "ClusterRole": ("clusterroles", False),
    "ClusterRoleBinding": ("clusterrolebindings", False),
    "ClusterStorageContainer": ("clusterstoragecontainers", False),
    "ConfigMap": ("configmaps", True),
    "CustomResourceDefinition": ("customresourcedefinitions", False),
    "EndpointSlice": ("endpointslices", True),
    "Endpoints": ("endpoints", True),
    "InferenceService": ("inferenceservices", True),
    "MutatingWebhookConfiguration": ("mutatingwebhookconfigurations", False),
    "Namespace": ("namespaces", False),
    "PersistentVolume": ("persistentvolumes", False),
    "Role": ("roles", True),
    "RoleBinding": ("rolebindings", True),
    "Service": ("services", True),
    "ServiceAccount": ("serviceaccounts", True),
    "StorageClass": ("storageclasses", False),
    "ValidatingWebhookConfiguration": ("validatingwebhookconfigurations", False),
}


def path_of(item: Object) -> str:
    """Return an object's path below the API server's root. Raises KeyError for a kind not in the table."""
    plural, namespaced = _RESOURCES[item["kind"]]
    group = item["apiVersion"]
    root = f"/apis/{group}" if "/" in group else f"/api/{group}"
    metadata = item["metadata"]
    place = f"/namespaces/{metadata.get('namespace', 'default')}" if namespaced else ""
    return f"{root}{place}/{plural}/{metadata['name']}"


class Api:
    """A client of the API server, for the administrator; use as an asynchronous context manager."""

    def __init__(self, token: str, ca: bytes) -> None:
        """Prepare a session that trusts only the playground's authority."""
        self._headers = {"Authorization": f"Bearer {token}"}
        self.tls = ssl.create_default_context(cadata=ca.decode())

    async def __aenter__(self) -> Self:
        """Open the session."""
        self._session = aiohttp.ClientSession(
            headers=self._headers, connector=aiohttp.TCPConnector(ssl=self.tls), trust_env=False
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the session."""
        await self._session.close()

    async def get(self, path: str) -> Object | None:
        """Return an object or list, None if it does not exist. Raises aiohttp.ClientError, PlaygroundError."""
        async with self._session.get(API_URL + path) as answer:
            if answer.status == 404:
                return None
            return await self._parsed(answer, path)

    async def apply(self, item: Object, *, dry_run: bool = False, patience: float = 20.0) -> Object:
        """Apply an object server-side, trying again for `patience` seconds while the server is not ready for it.

        Raises PlaygroundError if it is refused, aiohttp.ClientError if the server is away.
        """
        path = path_of(item)
        query = {"fieldManager": FIELD_MANAGER, "force": "true", **({"dryRun": "All"} if dry_run else {})}
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            async with self._session.patch(
                API_URL + path,
                params=query,
                data=json.dumps(item),
                headers={"Content-Type": "application/apply-patch+yaml"},
            ) as answer:
                late = asyncio.get_running_loop().time() > deadline
                # 404: the kind or namespace is not served yet; 403: roles are still being put in place.
                if answer.status not in RETRIED | {403, 404} or late:
                    return await self._parsed(answer, path)
            await asyncio.sleep(0.2)

    @staticmethod
    async def _parsed(answer: aiohttp.ClientResponse, path: str) -> Object:
        text = await answer.text()
        if answer.status >= 400:
            raise PlaygroundError(f"the API server answered {answer.status} to {path}", text[:1000])
        parsed: Object = json.loads(text)
        return parsed
