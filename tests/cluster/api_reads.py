"""Reads objects from the API server without a kubectl.

Tests look at objects twice a second while they wait. A kubectl for each look takes a quarter of a second of a core to
start: six parts that waited side by side were kept busy by their own looking. What changes something goes through the
real kubectl, as a user's commands do.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import yaml

from tierwise.api.kinds import KINDS

Object = dict[str, Any]
SECONDS = 60.0
_NAMESPACED = {
    "/api/v1": ("configmaps", "events", "pods", "secrets", "serviceaccounts", "services"),
    "/apis/apps/v1": ("deployments", "replicasets"),
    "/apis/batch/v1": ("jobs",),
    "/apis/coordination.k8s.io/v1": ("leases",),
    "/apis/discovery.k8s.io/v1": ("endpointslices",),
    "/apis/policy/v1": ("poddisruptionbudgets",),
    "/apis/rbac.authorization.k8s.io/v1": ("rolebindings",),
    "/apis/serving.kserve.io/v1beta1": ("inferenceservices",),
}
_CLUSTER_WIDE = {
    "/api/v1": ("namespaces", "nodes"),
    "/apis/rbac.authorization.k8s.io/v1": ("clusterroles", "clusterrolebindings"),
}
_PATHS = {
    **{plural: (group, True) for group, plurals in _NAMESPACED.items() for plural in plurals},
    **{plural: (group, False) for group, plurals in _CLUSTER_WIDE.items() for plural in plurals},
    **{kind.plural: (f"/apis/{kind.api_version}", kind.namespaced) for kind in KINDS},
    "customresourcedefinitions": ("/apis/apiextensions.k8s.io/v1", False),
}
_LONG = {"crd": "customresourcedefinitions"}


class Unread(Exception):
    """The API server did not answer, or refused; its text says how."""


def plural_of(kind: str) -> str | None:
    """The plural of a kind that can be read here, from any of its names; None of others."""
    for name in (_LONG.get(kind, kind), f"{kind}s"):
        if name in _PATHS:
            return name
    return None


@lru_cache(maxsize=16)
def reads(kubeconfig: Path) -> Reads:
    """The one reader of a kubeconfig."""
    return Reads(kubeconfig)


class Reads:
    """Reads with the token of a kubeconfig. A connection for each question: a kept one would be whose thread's?"""

    def __init__(self, kubeconfig: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        (cluster,) = (each["cluster"] for each in document["clusters"])
        (user,) = (each["user"] for each in document["users"])
        address = urlsplit(cluster["server"])
        self._address = address.hostname or "", address.port
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)
        self._headers = {"Authorization": f"Bearer {user['token']}", "Accept": "application/json"}

    def get(self, plural: str, name: str, namespace: str) -> Object | None:
        """One object, or None. Raises Unread."""
        status, text = self._ask(f"{_folder(plural, namespace)}/{quote(name)}")
        if status == http.client.NOT_FOUND and json.loads(text or "{}").get("details", {}).get("name"):
            return None
        return _answer(status, text)

    def find(self, plural: str, selector: str, namespace: str) -> list[Object]:
        """All objects, each with its kind. Raises Unread."""
        query = f"?labelSelector={quote(selector)}" if selector else ""
        found = _answer(*self._ask(_folder(plural, namespace) + query))
        head = {"apiVersion": found["apiVersion"], "kind": found["kind"].removesuffix("List")}
        return [{**head, **each} for each in found["items"]]

    def _ask(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPSConnection(*self._address, timeout=SECONDS, context=self._tls)
        try:
            connection.request("GET", path, headers=self._headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (http.client.HTTPException, OSError) as error:
            raise Unread(f"Unable to connect to the server: {error}") from error
        finally:
            connection.close()


def _folder(plural: str, namespace: str) -> str:
    group, namespaced = _PATHS[plural]
    return f"{group}/namespaces/{namespace}/{plural}" if namespaced else f"{group}/{plural}"


def _answer(status: int, text: str) -> Object:
    if status != http.client.OK:
        try:
            text = json.loads(text)["message"]
        except (ValueError, KeyError, TypeError):
            pass
        raise Unread(f"Error from server: {text}")
    found: Object = json.loads(text)
    return found
