"""Reads a pod's ConfigMaps, Secrets and tokens.

Read from the API by name with the node's own identity, as the node authorizer allows it: no lists, no
watches. A container start always reads anew; refreshing volumes may use what was read within the last minute.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from playground.kubelet.environment import Reference
from playground.kubelet.model import Json, parse_timestamp
from playground.rest import ApiError, Rest

FRESH_S = 50.0


@dataclass(frozen=True, slots=True)
class Token:
    """A ServiceAccount token and when it ends."""

    text: str
    expires: datetime


class Sources:
    """Reads for the pods of one node."""

    def __init__(self, client: Rest) -> None:
        """Use the node's client."""
        self._client = client
        self._known: dict[tuple[str, Reference], tuple[float, dict[str, bytes] | None]] = {}

    async def contents(
        self, namespace: str, wanted: Iterable[Reference], *, max_age: float = 0.0
    ) -> dict[Reference, dict[str, bytes] | None]:
        """Return the data of ConfigMaps and Secrets; None for one that does not exist. Raises ApiError, AWAY."""
        return {reference: await self._content(namespace, reference, max_age) for reference in wanted}

    async def _content(self, namespace: str, reference: Reference, max_age: float) -> dict[str, bytes] | None:
        now = time.monotonic()
        known = self._known.get((namespace, reference))
        if known is not None and now - known[0] < max_age:
            return known[1]
        plural = "configmaps" if reference.kind == "configmap" else "secrets"
        try:
            item = await self._client.get(f"/api/v1/namespaces/{namespace}/{plural}/{reference.name}")
        except ApiError as error:
            if error.code != 404:
                raise
            data = None
        else:
            data = _data(item, reference.kind)
        self._known = {key: entry for key, entry in self._known.items() if now - entry[0] < FRESH_S}
        self._known[(namespace, reference)] = (now, data)
        return data

    async def token(self, pod: Json, audience: str | None, seconds: int) -> Token:
        """Return a new token of the pod's ServiceAccount, bound to the pod. Raises ApiError, AWAY."""
        metadata, account = pod["metadata"], pod["spec"].get("serviceAccountName", "default")
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": seconds,
                "boundObjectRef": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                },
            },
        }
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
        status = (await self._client.post(path, request))["status"]
        return Token(status["token"], parse_timestamp(status["expirationTimestamp"]))

    async def claim(self, namespace: str, name: str) -> Json | None:
        """Return a PersistentVolumeClaim, None if it does not exist. Raises ApiError, AWAY."""
        try:
            return await self._client.get(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}")
        except ApiError as error:
            if error.code == 404:
                return None
            raise


def _data(item: Json, kind: str) -> dict[str, bytes]:
    binary = item.get("data" if kind == "secret" else "binaryData") or {}
    text = {} if kind == "secret" else item.get("data") or {}
    return {
        **{key: value.encode() for key, value in text.items()},
        **{key: base64.b64decode(value) for key, value in binary.items()},
    }
