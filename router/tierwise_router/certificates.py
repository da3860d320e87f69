"""Holds the certificate that the router shows, and takes a renewed one without a restart.

One context listens for as long as the process runs; for each new connection it hands over to the context that was made
last. So a file that cannot be used never half-replaces what is used, and open connections keep what they began with.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl

from tierwise.errors import Invalid
from tierwise_router.source import RELOAD_SECONDS, TLSFiles

logger = logging.getLogger(__name__)


class Certificates:
    """Of one listening socket."""

    def __init__(self, files: TLSFiles) -> None:
        """Read the files. Raises Invalid where they cannot be used."""
        self._files = files
        self._digest = _digest(files)
        self._current = _context(files)
        self.listener = _context(files)
        self.listener.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext) -> None:
        """For each handshake, whatever name the client asks for: there is one certificate."""
        connection.context = self._current

    def renew(self) -> bool:
        """Read the files again; whether there is something new in them. Raises Invalid where it cannot be used; what
        was used before is used on."""
        digest = _digest(self._files)
        if digest == self._digest:
            return False
        self._current = _context(self._files)
        self._digest = digest
        return True

    async def follow(self) -> None:
        """Take what is renewed, for ever."""
        complaint = ""
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            try:
                renewed = await asyncio.to_thread(self.renew)
            except Invalid as error:
                if error.message != complaint:
                    complaint = error.message
                    logger.error("%s; the certificate that is used stays", complaint)
                continue
            complaint = ""
            if renewed:
                logger.info("the certificate has been renewed; new connections get it")


def _digest(files: TLSFiles) -> str:
    try:
        parts = [files.certificate.read_bytes(), files.key.read_bytes()]
    except OSError as error:
        raise Invalid(f"{error.filename} cannot be read ({error.strerror}); it is needed for TLS") from error
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _context(files: TLSFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        # A key with a pass phrase must not make the process ask for it on a terminal.
        context.load_cert_chain(files.certificate, files.key, password=lambda: "")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or type(error).__name__
        raise Invalid(
            f"{files.certificate} and {files.key} are no certificate with its key without pass phrase ({reason})"
        ) from error
    return context
