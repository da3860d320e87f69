"""Asks the API server what it says of an object, over one kept connection.

What a refusal says comes from the server. A kubectl for each of the hundreds of cases would only spend a quarter of a
second of processor time on starting (tests/cluster/test_crd.py: two of its five minutes).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kubernetes import config

from tierwise.api.kinds import KINDS

Object = dict[str, Any]
STRICT = [("fieldValidation", "Strict")]
DRY = [("dryRun", "All")]
_CLUSTER_WIDE = {kind.name for kind in KINDS if not kind.namespaced}


class _Refusal(Exception):
    """Its text is the Status that the server answers with."""


class ApiServer:
    """The API server of a kubeconfig; what belongs to a namespace goes to `namespace`."""

    def __init__(self, kubeconfig: Path, namespace: str = "default") -> None:
        self._client = config.new_client_from_config(str(kubeconfig))
        self._namespace = namespace

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def refuses(self, body: Object, before: Object | None = None) -> str:
        """What it says against `body` as a new object, or in the place of `before`; empty when it accepts it. Nothing
        is left behind."""
        if before is None:
            return self._said("POST", body, [*DRY, *STRICT])
        assert self._said("POST", before, STRICT) == ""
        try:
            found = json.loads(self._call("GET", before, [], named=True))
            metadata = {**body["metadata"], "resourceVersion": found["metadata"]["resourceVersion"]}
            return self._said("PUT", {**body, "metadata": metadata}, [*DRY, *STRICT], named=True)
        finally:
            self._call("DELETE", before, [], named=True)

    def causes(self, body: Object) -> list[tuple[str, str]]:
        """The fields that it finds wrong in a new object, and what it says of each."""
        try:
            self._call("POST", body, [*DRY, *STRICT], named=False)
        except _Refusal as refusal:
            causes = json.loads(str(refusal)).get("details", {}).get("causes", [])
            return [(each["field"], each["message"]) for each in causes]
        return []

    def _said(self, verb: str, body: Object, query: list[tuple[str, str]], *, named: bool = False) -> str:
        try:
            self._call(verb, body, query, named=named)
        except _Refusal as refusal:
            return str(json.loads(str(refusal))["message"])
        return ""

    def _call(self, verb: str, body: Object, query: list[tuple[str, str]], *, named: bool) -> str:
        plural = f"{body['kind'].lower()}s"
        where = "" if body["kind"] in _CLUSTER_WIDE else f"/namespaces/{self._namespace}"
        path = f"/apis/{body['apiVersion']}{where}/{plural}" + (f"/{body['metadata']['name']}" if named else "")
        verb, url, sent, data, _ = self._client.param_serialize(
            verb,
            path,
            query_params=query,
            header_params={"Content-Type": "application/json", "Accept": "application/json"},
            body=body if verb in ("POST", "PUT") else None,
            auth_settings=["BearerToken"],
        )
        answer = self._client.call_api(verb, url, sent, data)
        text = answer.read().decode()
        if not 200 <= answer.status < 300:
            raise _Refusal(text)
        return str(text)
