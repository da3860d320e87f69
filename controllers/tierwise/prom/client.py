"""Queries Prometheus, and says what to check when it does not answer.

prometheus-api-client uses `requests`, which blocks, so queries run in a few threads of our own. The look-up of a host
name has no timeout: one that hangs holds a thread until the resolver gives up. The threads that the process shares stay
free, and a query that finds no thread is given up by its caller. Three habits of the client are turned off: its retries
(the next round is seconds away, and a retry would make an outage look like a slow answer), its missing timeout (every
request has one, and Prometheus gets the same one), and the environment (a proxy or a netrc of the image must not stand
between the operator and its Prometheus). An instant query sends no `time`: Prometheus evaluates at its own now, so a
wrong clock here changes nothing.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from prometheus_api_client import PrometheusApiClientException, PrometheusConnect
from urllib3.util.retry import Retry

from tierwise.errors import Transient
from tierwise.ports import History, Series

THREADS = 4  # two rounds of the sampler, each with two questions at once
TENANT_HEADER = "X-Scope-OrgID"
_STATUS = re.compile(r"HTTP Status Code (\d{3})")
Answer = TypeVar("Answer")
_NO_URL = (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema)


@dataclass(frozen=True, slots=True)
class SettingNames:
    """What a person who reads a message has set: the operator's are values of its chart, a command's are options."""

    url: str = "the chart value prometheus.url"
    bearer_file: str = "the chart value prometheus.bearerTokenFile"
    ca_file: str = "the chart value prometheus.caConfigMap"
    login: str = "the chart value prometheus.basicAuthSecret"
    certificate: str = "the chart value prometheus.clientCertificateSecret"

    def advice(self, status: str) -> str:
        """What to do when Prometheus answers with this HTTP status."""
        return {
            "401": f"check {self.bearer_file}",
            "403": "check that the token may query",
            "404": f"check the path of {self.url}",
            "422": "the query could not be executed",
            "503": "it is overloaded or starting",
        }.get(status, f"check {self.url}")


@dataclass(frozen=True, slots=True)
class Access:
    """Where Prometheus is and how to get in. `bearer_file` is read before every request, since tokens rotate, and so
    are `login_files` (user name and password); `certificate_files` are the client's own certificate and its key;
    without `verify` any server may answer. `tenant` becomes the X-Scope-OrgID header of Mimir, Cortex and Thanos."""

    url: str
    bearer_file: Path | None = None
    login_files: tuple[Path, Path] | None = None
    ca_file: Path | None = None
    certificate_files: tuple[Path, Path] | None = None
    verify: bool = True
    tenant: str = ""
    timeout_seconds: float = 5.0
    settings: SettingNames = SettingNames()

    @property
    def shown(self) -> str:
        """The URL without a user name or password, fit for a condition."""
        scheme, slashes, rest = self.url.partition("://")
        if not slashes:
            scheme, rest = "", self.url
        host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
        return scheme + slashes + host.rpartition("@")[2] + slash + path


class PrometheusMetrics:
    """The Metrics port over one Prometheus. Connections are kept and handed from thread to thread, never shared."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._idle: list[PrometheusConnect] = []
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="prometheus")
        self._closed = False

    async def query(self, promql: str) -> Sequence[Series]:
        """One instant query. Raises Transient, with a message that says what to check, for any failure."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._query, promql)

    async def query_range(self, promql: str, start: float, end: float, step: float) -> Sequence[History]:
        """One range query, evaluated at `start` (seconds since 1970) and every `step` seconds up to `end`; all are
        whole seconds. Raises as `query` does; Prometheus refuses more than 11,000 steps."""
        whole = (round(start), round(end), round(step))
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._query_range, promql, *whole)

    def close(self) -> None:
        """Close the kept connections, and let the threads end. Waits for none of them: one may hang."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        while self._idle:
            self._idle.pop().close()

    def _query(self, promql: str) -> tuple[Series, ...]:
        return self._ask(lambda to, params: tuple(map(_series, to.custom_query(promql, params=params))))

    def _query_range(self, promql: str, start: int, end: int, step: int) -> tuple[History, ...]:
        span = (datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC), str(step))
        return self._ask(lambda to, params: tuple(map(_history, to.custom_query_range(promql, *span, params=params))))

    def _ask(self, question: Callable[[PrometheusConnect, dict[str, str]], tuple[Answer, ...]]) -> tuple[Answer, ...]:
        connection = None
        try:
            connection = self._idle.pop() if self._idle else self._connect()
            connection.headers = self._headers()
            answer = question(connection, {"timeout": f"{self._access.timeout_seconds:g}s"})
        except Exception as error:
            if connection is not None:
                connection.close()
            raise _transient(self._access, error) from error
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)
        return answer

    def _connect(self) -> PrometheusConnect:
        try:
            urlsplit(self._access.url)
        except ValueError as error:
            raise requests.exceptions.InvalidURL from error
        session = requests.Session()
        session.trust_env = False
        session.max_redirects = 0  # a redirect leads to a login page
        session.verify = str(self._access.ca_file) if self._access.ca_file is not None else True
        if not self._access.verify:
            session.verify = False
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # said once, when the operator starts
        if self._access.certificate_files is not None:
            certificate, key = self._access.certificate_files
            session.cert = (str(certificate), str(key))
        return PrometheusConnect(
            url=self._access.url.rstrip("/"),
            retry=Retry(0, read=False),
            session=session,
            timeout=self._access.timeout_seconds,
        )

    def _headers(self) -> dict[str, str]:
        headers = {}
        if self._access.bearer_file is not None:
            headers["Authorization"] = f"Bearer {self._access.bearer_file.read_text(encoding='utf-8').strip()}"
        if self._access.login_files is not None:
            words = (path.read_text(encoding="utf-8").strip() for path in self._access.login_files)
            headers["Authorization"] = f"Basic {base64.b64encode(':'.join(words).encode()).decode()}"
        if self._access.tenant:
            headers[TENANT_HEADER] = self._access.tenant
        return headers


def _series(raw: Mapping[str, Any]) -> Series:
    return Series({str(name): str(value) for name, value in raw["metric"].items()}, float(raw["value"][1]))


def _history(raw: Mapping[str, Any]) -> History:
    labels = {str(name): str(value) for name, value in raw["metric"].items()}
    return History(labels, tuple((float(at), float(value)) for at, value in raw["values"]))


def _transient(access: Access, error: Exception) -> Transient:
    """What happened and what to check, without a token and without the query."""
    at, settings = f"Prometheus at {access.shown}", access.settings
    if access.login_files is not None:
        settings = replace(settings, bearer_file=settings.login)
    if isinstance(error, PrometheusApiClientException):
        return Transient(f"{at} {_refusal(str(error), settings)}")
    if isinstance(error, requests.exceptions.SSLError | requests.exceptions.ConnectionError) and _asks_who(error):
        return Transient(f"{at} does not accept our certificate, or asks for one: check {settings.certificate}")
    if isinstance(error, requests.exceptions.SSLError) and "certificate_verify_failed" in str(error).lower():
        return Transient(f"{at}: its certificate is not trusted: check {settings.ca_file}")
    if _hangs_up(error, access.url):
        # A server that does not want our certificate may hang up before its alert arrives (one handshake in ten).
        advice = f"check {settings.url} and {settings.certificate}"
        return Transient(f"{at} ends the TLS handshake: {_cause(error)}; {advice}")
    if isinstance(error, requests.exceptions.Timeout):
        return Transient(f"{at} did not answer within {access.timeout_seconds:g} s")
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return Transient(f"{at} redirects elsewhere: check {settings.url} and {settings.bearer_file}")
    if isinstance(error, requests.exceptions.ConnectionError):
        return Transient(f"{at} cannot be reached: {_cause(error)}; check {settings.url}")
    if isinstance(error, requests.exceptions.JSONDecodeError | KeyError | TypeError | IndexError):
        return Transient(f"{at} answers, but not as Prometheus does: check {settings.url}")
    if isinstance(error, OSError) and error.filename in map(str, (access.bearer_file, *(access.login_files or ()))):
        return Transient(f"the file {error.filename} with what Prometheus asks for cannot be read: {error.strerror}")
    if isinstance(error, _NO_URL):  # its own text would repeat the URL, password included
        return Transient(f"{at} cannot be asked: that is no URL; check {settings.url}")
    return Transient(f"{at} cannot be asked: {type(error).__name__}: {error}")


def _asks_who(error: Exception) -> bool:
    """Whether the server has ended the handshake because of the client's certificate."""
    said = str(error).lower()
    alerts = ("certificate required", "bad certificate", "unknown ca", "certificate unknown")
    return any(f"alert {alert}" in said for alert in alerts)


def _hangs_up(error: Exception, url: str) -> bool:
    """Whether the server has ended the handshake without a word."""
    if isinstance(error, requests.exceptions.SSLError):
        return True
    reset = isinstance(error, requests.exceptions.ConnectionError) and isinstance(_root(error), ConnectionError)
    return reset and not isinstance(_root(error), ConnectionRefusedError) and url.startswith("https:")


def _refusal(text: str, settings: SettingNames) -> str:
    """The HTTP status, Prometheus' own words, and what to check."""
    status = (_STATUS.match(text) or ("", "?"))[1]
    words = _words(text)
    return f"answers with HTTP {status}{f': {words[:200]}' if words else ''}; {settings.advice(status)}"


def _words(text: str) -> str:
    """What Prometheus says in the body, of which the client gives us the repr; empty when it says nothing."""
    body = _STATUS.sub("", text, count=1).strip()[1:-1]
    try:
        return str(json.loads(ast.literal_eval(body))["error"])
    except (ValueError, SyntaxError, KeyError, TypeError):
        return ""


def _cause(error: BaseException) -> str:
    """The innermost cause, e.g. `Connection refused`: the outer ones repeat the URL with its query."""
    seen = _root(error)
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror
    return type(seen).__name__


def _root(error: BaseException) -> BaseException:
    seen = error
    while (inner := seen.__cause__ or seen.__context__) is not None:
        seen = inner
    return seen
