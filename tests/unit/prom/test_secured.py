"""Checks how the operator gets into a secured Prometheus, and what it says when it does not.

Against a real server on loopback that speaks TLS and, where asked to, wants a certificate of its clients.
"""

from __future__ import annotations

import base64
import ssl
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.unit.prom.test_client import Web, failure
from tests.unit.router.tls import pair
from tierwise.prom.client import Access, PrometheusMetrics, _transient

Start = Callable[..., Web]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a server with a certificate, `server.crt`; `clients` is who may come."""
    servers: list[Web] = []

    def one(clients: Path | None = None) -> Web:
        certificate, key = pair()
        (tmp_path / "server.crt").write_bytes(certificate)
        (tmp_path / "server.key").write_bytes(key)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
        if clients is not None:
            tls.verify_mode = ssl.CERT_REQUIRED
            tls.load_verify_locations(clients)
        servers.append(Web(tls))
        return servers[-1]

    yield one
    for server in servers:
        server.stop()


async def works(access: Access) -> bool:
    metrics = PrometheusMetrics(access)
    try:
        return len(await metrics.query("up")) == 2
    finally:
        metrics.close()


def client_pair(folder: Path, name: str) -> tuple[Path, Path]:
    certificate, key = pair()
    files = folder / f"{name}.crt", folder / f"{name}.key"
    for file, data in zip(files, (certificate, key), strict=True):
        file.write_bytes(data)
    return files


async def test_a_private_authority_is_trusted_when_it_is_named(start: Start, tmp_path: Path) -> None:
    server = start()
    assert await works(Access(server.url, ca_file=tmp_path / "server.crt"))
    said = await failure(Access(server.url))
    assert said.endswith("its certificate is not trusted: check the chart value prometheus.caConfigMap")


async def test_any_certificate_is_trusted_where_none_is_checked(start: Start) -> None:
    server = start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once at the start, and not with every query
        assert await works(Access(server.url, verify=False))


async def test_a_server_that_asks_for_a_certificate_gets_ours(start: Start, tmp_path: Path) -> None:
    ours, other = client_pair(tmp_path, "ours"), client_pair(tmp_path, "other")
    server = start(clients=ours[0])
    authority = tmp_path / "server.crt"
    assert await works(Access(server.url, ca_file=authority, certificate_files=ours))
    for wrong in (None, other):
        said = await failure(Access(server.url, ca_file=authority, certificate_files=wrong))
        assert "the chart value prometheus.clientCertificateSecret" in said


def test_a_connection_that_is_reset_in_a_handshake_may_be_about_the_certificate() -> None:
    error = requests.exceptions.ConnectionError("x")
    error.__cause__ = ConnectionResetError(104, "Connection reset by peer")
    said = str(_transient(Access("https://prometheus"), error))
    assert "ends the TLS handshake: Connection reset by peer" in said
    assert "check the chart value prometheus.clientCertificateSecret" not in str(_transient(Access("http://p"), error))


@pytest.mark.parametrize("text", ["EOF occurred in violation of protocol", "[SSL: WRONG_VERSION_NUMBER] wrong version"])
def test_a_handshake_that_ends_is_not_said_to_be_about_trust(text: str) -> None:
    error = requests.exceptions.SSLError(text)
    error.__cause__ = ssl.SSLEOFError(8, text)
    said = str(_transient(Access("https://prometheus"), error))
    assert said == (
        f"Prometheus at https://prometheus ends the TLS handshake: {text}; "
        "check the chart value prometheus.url and the chart value prometheus.clientCertificateSecret"
    )


async def test_name_and_password_are_read_before_every_query(start: Start, tmp_path: Path) -> None:
    server, files = start(), (tmp_path / "username", tmp_path / "password")
    files[0].write_text("operator\n")
    metrics = PrometheusMetrics(Access(server.url, login_files=files, ca_file=tmp_path / "server.crt"))
    for password in ("first:ä", "second"):
        files[1].write_text(f"{password}\n", encoding="utf-8")
        await metrics.query("up")
        sent = server.seen[-1][1]["Authorization"]
        assert base64.b64decode(sent.removeprefix("Basic ")).decode() == f"operator:{password}"
    metrics.close()


async def test_a_login_that_cannot_be_read_and_one_that_is_wrong_are_told(start: Start, tmp_path: Path) -> None:
    server, authority = start(), tmp_path / "server.crt"
    missing = (tmp_path / "username", tmp_path / "password")
    said = await failure(Access(server.url, login_files=missing, ca_file=authority))
    asked = f"the file {tmp_path}/username with what Prometheus asks for"
    assert said == f"{asked} cannot be read: No such file or directory"
    for file in missing:
        file.write_text("x")
    server.status, server.body = 401, "Unauthorized"
    said = await failure(Access(server.url, login_files=missing, ca_file=authority))
    assert "HTTP 401" in said
    assert "prometheus.basicAuthSecret" in said
