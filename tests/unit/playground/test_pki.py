"""Checks the playground's certificates in a real TLS handshake."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from playground.pki import Authority, write_signing_pair


def _handshake(authority: Authority, folder: Path, name: str) -> str:
    """Greet a server of this name; the version of TLS that both settle on."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "web.crt", folder / "web.key")
    client = ssl.create_default_context(cadata=authority.pem.decode())
    ours, theirs = socket.socketpair()

    def answer() -> None:
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=name) as greeted:
            return str(greeted.version())
    finally:
        ours.close()
        thread.join()


@pytest.mark.parametrize("name", ["web.default.svc", "10.200.0.1"])
def test_a_client_that_trusts_the_authority_accepts_every_name(tmp_path: Path, name: str) -> None:
    authority = Authority.create()
    authority.serve(tmp_path, "web", ["web.default.svc", "10.200.0.1"])
    assert _handshake(authority, tmp_path, name) == "TLSv1.3"


def test_a_name_that_is_not_in_the_certificate_is_refused(tmp_path: Path) -> None:
    authority = Authority.create()
    authority.serve(tmp_path, "web", ["web.default.svc"])
    with pytest.raises(ssl.SSLCertVerificationError, match="other"):
        _handshake(authority, tmp_path, "other.default.svc")


def test_a_stranger_s_certificate_is_refused(tmp_path: Path) -> None:
    Authority.create().serve(tmp_path, "web", ["web.default.svc"])
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(Authority.create(), tmp_path, "web.default.svc")


def test_a_client_certificate_names_user_and_group(tmp_path: Path) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    Authority.create(now).client(tmp_path, "me", "someone", "system:masters")
    certificate = x509.load_pem_x509_certificate((tmp_path / "me.crt").read_bytes())
    assert certificate.subject.rfc4514_string() == "O=system:masters,CN=someone"
    assert certificate.not_valid_before_utc < now < certificate.not_valid_after_utc


def test_keys_are_for_their_owner_alone_even_over_an_open_file(tmp_path: Path) -> None:
    (tmp_path / "me.key").touch(mode=0o644)
    Authority.create().client(tmp_path, "me", "someone")
    assert stat.S_IMODE((tmp_path / "me.key").stat().st_mode) == 0o600


def test_the_signing_pair_belongs_together(tmp_path: Path) -> None:
    write_signing_pair(tmp_path / "private", tmp_path / "public")
    private = load_pem_private_key((tmp_path / "private").read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert private.public_key() == load_pem_public_key((tmp_path / "public").read_bytes())
