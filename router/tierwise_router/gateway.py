"""Says which request goes where: OpenAI's paths to the relay, the probes, the list of models, everything else away.

Paths are compared as they came: no percent-decoding but of a model's name, no `//`, no `..`, so that what is allowed is
what is written here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import unquote

import orjson

from tierwise_router.client_connection import Reply
from tierwise_router.http_request import Request
from tierwise_router.kept_responses import PATH, KeptResponses
from tierwise_router.openai_error import ClientError
from tierwise_router.relay import Relay
from tierwise_router.router_state import RouterState

RELAYED = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"})
MODELS = "/v1/models"
MOST_TENANT_CHARACTERS = 64
ANONYMOUS = "anonymous"


class Gateway:
    """Handles every request of the server. `ready` says whether the process does its work, and if not, why."""

    def __init__(self, state: RouterState, ready: Callable[[], tuple[bool, str]]) -> None:
        self._state = state
        self._ready = ready
        self._relay = Relay(state, self.tenant)
        self._kept = KeptResponses(state, self.tenant)

    def admit(self, request: Request) -> None:
        """Whether a body may follow this head. Raises ClientError (401) for a stranger's: it is not read. Only what is
        relayed is kept; without a body there is nothing to protect, and the request is answered in its turn."""
        request.keeps_body = request.method == "POST" and request.path in RELAYED
        if request.length == 0 or not request.keeps_body:
            return
        try:
            request.tenant = self.tenant(request)
        except ClientError as error:
            state = self._state
            record = state.begin(request, request.path)
            record.outcome, record.status = "client_error", error.status
            state.ended(record)
            said = {"x-request-id": record.id, "x-tierwise-request-id": record.id}
            raise replace(error, close=True, headers=said) from None

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Answer one request."""
        path = request.path
        if path in RELAYED and request.method == "POST":
            await self._relay(request, reply)
            return
        if path.startswith(PATH):
            await self._kept(request, reply)
            return
        try:
            self._other(request, reply)
        except ClientError as error:
            reply.error(error, [])

    def tenant(self, request: Request) -> str:
        """Who asks. Raises ClientError (401) where keys are needed and none of them is given."""
        clients = self._state.route.clients
        if clients.tenant_by_key_hash:
            scheme, _, key = (request.header(b"authorization") or "").partition(" ")
            digest = hashlib.sha256(key.strip().encode("latin-1")).hexdigest()
            tenant = clients.tenant_by_key_hash.get(digest) if scheme.lower() == "bearer" else None
            if tenant is None:
                raise ClientError(
                    401, "this key is not known here; send Authorization: Bearer KEY", code="invalid_api_key"
                )
            return tenant
        if clients.tenant_header is not None:
            said = (request.header(clients.tenant_header.encode()) or "").strip()
            if said:
                return "".join(c if c.isascii() and c.isprintable() else "?" for c in said[:MOST_TENANT_CHARACTERS])
        return ANONYMOUS

    def _other(self, request: Request, reply: Reply) -> None:
        path = request.path
        known = path in ("/healthz", "/readyz", MODELS) or path.startswith(MODELS + "/")
        if not known and path not in RELAYED:
            raise ClientError(404, "there is no such path here", code="not_found")
        if request.method not in ("GET", "HEAD") or path in RELAYED:
            allow = "POST" if path in RELAYED else "GET, HEAD"
            raise ClientError(405, f"use {allow}", code="method_not_allowed", headers={"allow": allow})
        if path == "/healthz":
            _text(reply, 200, "alive")
        elif path == "/readyz":
            ready, why = self._ready()
            _text(reply, 200 if ready else 503, why)
        else:
            self.tenant(request)
            self._models(path, reply)

    def _models(self, path: str, reply: Reply) -> None:
        names = self._state.model_names()
        if path == MODELS:
            _json(reply, {"object": "list", "data": [_model(name) for name in names]})
            return
        name = unquote(path.removeprefix(MODELS + "/"))  # clients write the / of a name as %2F; it is only compared
        if name not in names:
            raise ClientError(404, f"the model {name!r} does not exist on this route", code="model_not_found")
        _json(reply, _model(name))


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "tierwise"}


def _json(reply: Reply, value: object) -> None:
    reply.whole(200, [("content-type", "application/json")], orjson.dumps(value))


def _text(reply: Reply, status: int, text: str) -> None:
    reply.whole(status, [("content-type", "text/plain; charset=utf-8")], (text + "\n").encode())
