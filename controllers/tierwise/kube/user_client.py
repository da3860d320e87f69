"""Asks the API server on behalf of a person at a terminal: one connection, one request after the other.

It is built on the standard library alone. A command that is typed should answer before one wonders whether it hangs,
and the operator's client takes longer to import than the API server to answer.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

from tierwise.errors import Invalid, Transient
from tierwise.kube.credentials import identified
from tierwise.kube.kubeconfig import Access, Identity
from tierwise.kube.refusals import refusal

SECONDS = 20.0
PAGE = 500
JSON = "application/json"
MERGE = "application/merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
FIELD_MANAGER = "kubectl-tierwise"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server said, and when it said it by its own clock (seconds since the epoch; None: it did not)."""

    body: Any
    served_at: float | None


def path_of(api_version: str, plural: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """The URL path of an object, or of its collection without a name; of all namespaces without one."""
    parts = ["api" if "/" not in api_version else "apis", api_version]
    parts += ["namespaces", quote(namespace, safe="")] if namespace else []
    parts += [plural, quote(name, safe=""), subresource]
    return "/" + "/".join(part for part in parts if part)


class UserClient:
    """Requests to one API server. Raises TierwiseError and nothing else. Close it, or use it in a `with`."""

    def __init__(self, access: Access, *, seconds: float = SECONDS) -> None:
        """`seconds`: of silence after which nobody answers."""
        self.access = access
        self._identity = identified(access)
        self._prefix = urlsplit(access.server).path.rstrip("/")
        self._connection = _connection(access, self._identity, seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def get(self, what: str, path: str, query: Mapping[str, str] | None = None, accept: str = JSON) -> Answer:
        """One object, or whatever stands at a path. `what` names the request in an error."""
        return self._send(what, "GET", path, query, accept=accept)

    def pages(
        self, what: str, path: str, query: Mapping[str, str] | None = None, accept: str = JSON
    ) -> Iterator[Mapping[str, Any]]:
        """A collection, some hundred objects at a time."""
        token = ""
        while True:
            asked = {"limit": str(PAGE), **(query or {}), **({"continue": token} if token else {})}
            page = self.get(what, path, asked, accept).body
            yield page
            token = str((page.get("metadata") or {}).get("continue") or "")
            if not token:
                return

    def items(self, what: str, path: str, query: Mapping[str, str] | None = None) -> list[Mapping[str, Any]]:
        """The objects of a collection."""
        return [item for page in self.pages(what, path, query) for item in page.get("items") or ()]

    def merge(self, what: str, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> Answer:
        """A merge patch; with `dry_run` the API server only says what would be."""
        query = {"fieldManager": FIELD_MANAGER, **({"dryRun": "All"} if dry_run else {})}
        return self._send(what, "PATCH", path, query, body=body, content_type=MERGE)

    def create(self, what: str, path: str, body: Mapping[str, Any], *, dry_run: bool = False) -> Answer:
        """Create an object, or ask a review (which is created and not kept)."""
        query = {"fieldManager": FIELD_MANAGER, **({"dryRun": "All"} if dry_run else {})}
        return self._send(what, "POST", path, query, body=body)

    def _send(
        self,
        what: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        *,
        body: Any = None,
        accept: str = JSON,
        content_type: str = JSON,
    ) -> Answer:
        target = f"{self._prefix}{path}{'?' + urlencode(query) if query else ''}"
        headers = [("Accept", accept), ("User-Agent", FIELD_MANAGER), *_identifying(self._identity)]
        data = None if body is None else json.dumps(body).encode()
        headers += [] if data is None else [("Content-Type", content_type), ("Content-Length", str(len(data)))]
        try:
            self._connection.putrequest(method, target)
            for name, value in headers:
                self._connection.putheader(name, value)
            self._connection.endheaders(data)
            response = self._connection.getresponse()
            said = response.read()
        except ssl.SSLCertVerificationError as error:
            self._connection.close()
            raise Transient(f"{what}: {self.access.server} cannot be trusted: {error.verify_message}") from error
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            why = str(error) or type(error).__name__
            raise Transient(f"{what}: the API server {self.access.server} cannot be reached ({why})") from error
        if not 200 <= response.status < 300:
            raise refusal(what, response.status, said, response.headers.get("Retry-After"))
        try:
            found = json.loads(said) if said else {}
        except ValueError:
            found = said.decode("utf-8", "replace")  # /healthz and its like
        return Answer(found, _time(response.headers.get("Date")))


def _time(date: str | None) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() if date else None
    except ValueError:
        return None


def _identifying(identity: Identity) -> Iterator[tuple[str, str]]:
    if identity.token:
        yield "Authorization", f"Bearer {identity.token}"
    elif identity.username:
        pair = f"{identity.username}:{identity.password}".encode()
        yield "Authorization", f"Basic {base64.b64encode(pair).decode()}"
    yield from identity.impersonate


def _connection(access: Access, identity: Identity, seconds: float) -> http.client.HTTPConnection:
    url = urlsplit(access.server if "://" in access.server else f"https://{access.server}")
    secure = url.scheme != "http"
    host, port = url.hostname or "", url.port or (443 if secure else 80)
    context = _tls(access, identity) if secure else None
    proxy = access.proxy or ("" if proxy_bypass(host) else getproxies().get(url.scheme, ""))
    if not proxy:
        return _made((host, port), context, access.tls_name, seconds)
    through = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if through.scheme != "http":
        raise Invalid(f"the proxy {through.scheme}://{through.hostname} cannot be used: name an http proxy")
    made = _made((through.hostname or "", through.port or 80), context, access.tls_name, seconds)
    login = {}
    if through.username:
        pair = base64.b64encode(f"{through.username}:{through.password or ''}".encode()).decode()
        login = {"Proxy-Authorization": f"Basic {pair}"}
    made.set_tunnel(host, port, headers=login)
    return made


class _NamedConnection(http.client.HTTPSConnection):
    """HTTPS that checks the certificate against another name than the host's, if one is set."""

    greeted_as = ""

    def __init__(self, host: str, port: int, *, timeout: float, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._tls = context

    def connect(self) -> None:
        """Connect, and greet under that name."""
        if not self.greeted_as:
            super().connect()
            return
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.greeted_as)


def _made(
    address: tuple[str, int], context: ssl.SSLContext | None, name: str, seconds: float
) -> http.client.HTTPConnection:
    if context is None:
        return http.client.HTTPConnection(*address, timeout=seconds)
    made = _NamedConnection(*address, timeout=seconds, context=context)
    made.greeted_as = name
    return made


def _tls(access: Access, identity: Identity) -> ssl.SSLContext:
    try:
        authority = access.authority.decode("ascii") if access.authority else None
        context = ssl.create_default_context(cadata=authority)
        if access.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if identity.certificate and identity.key:
            _load_pair(context, (identity.certificate, identity.key))
    except (ssl.SSLError, ValueError) as error:
        raise Invalid(f"the certificates of the kubeconfig cannot be used: {error}") from error
    return context


def _load_pair(context: ssl.SSLContext, pair: Sequence[bytes]) -> None:
    """The ssl module reads certificates from files alone: they exist for this moment, readable by nobody else."""
    names: list[str] = []
    try:
        for data in pair:
            handle, name = tempfile.mkstemp()
            names.append(name)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
        context.load_cert_chain(*names)
    finally:
        for name in names:
            with contextlib.suppress(OSError):
                os.unlink(name)
