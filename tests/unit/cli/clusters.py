"""A cluster for commands: an HTTP server on loopback with a kubeconfig, in a thread of its own.

Commands block as they do at a terminal, so what answers them cannot run in the same event loop. Objects are kept by
their paths; a table is made of each, as the API server does.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

API = "/apis/tierwise.io/v1alpha1"
COLUMNS = (("Name", 0), ("Model", 0), ("Status", 0), ("Reason", 1))


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class FakeCluster:
    """What it holds by path (an object, a list of objects, or an HTTP status), what it was asked, its kubeconfig."""

    objects: dict[str, Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    kubeconfig: Path = Path()

    @property
    def paths(self) -> list[str]:
        """The paths that were asked for."""
        return [each.path for each in self.asked]


def cells(item: dict[str, Any]) -> dict[str, Any]:
    """A row of a table."""
    status = item.get("status") or {}
    values = [item["metadata"]["name"], status.get("model"), status.get("state"), status.get("reason")]
    return {"cells": values, "object": {"metadata": item["metadata"]}}


def _answer(cluster: FakeCluster, asked: Asked) -> tuple[int, Any]:
    found = cluster.objects.get(asked.path, 404)
    if isinstance(found, int):
        reason = {403: "Forbidden", 404: "NotFound"}.get(found, "InternalError")
        return found, {"kind": "Status", "message": f"{asked.path} says {found}", "reason": reason, "code": found}
    if asked.method == "PATCH":
        return 200, found
    items = found if isinstance(found, list) else [found]
    if "as=Table" in asked.headers["Accept"]:
        columns = [{"name": name, "priority": priority} for name, priority in COLUMNS]
        return 200, {"kind": "Table", "columnDefinitions": columns, "rows": [cells(item) for item in items]}
    return 200, {"metadata": {}, "items": found} if isinstance(found, list) else found


@contextmanager
def cluster(folder: Path, *, namespace: str = "") -> Iterator[FakeCluster]:
    """A running one; `namespace` is that of the kubeconfig's context."""
    made = FakeCluster(kubeconfig=folder / "kubeconfig")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            url = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            asked = Asked(self.command, url.path, query, dict(self.headers), body)
            made.asked.append(asked)
            code, said = _answer(made, asked)
            text = json.dumps(said).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_PATCH = do_POST = _serve

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    context = {"cluster": "k", "user": "u", **({"namespace": namespace} if namespace else {})}
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": context}, {"name": "other", "context": {**context, "namespace": "else"}}],
        "clusters": [{"name": "k", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
    }
    made.kubeconfig.write_text(yaml.safe_dump(config))
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def tier(name: str, namespace: str = "models", **status: Any) -> dict[str, Any]:
    """A ModelTier."""
    return {
        "apiVersion": "tierwise.io/v1alpha1",
        "kind": "ModelTier",
        "metadata": {"name": name, "namespace": namespace, "uid": name, "generation": 1, "resourceVersion": "1"},
        "spec": {"model": {"name": name, "uri": "hf://org/small"}},
        "status": {"model": name, "state": "Ready", "observedGeneration": 1, **status},
    }
