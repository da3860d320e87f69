"""TLS on the endpoint: a renewed certificate, open streams, handshakes that do not end, and what must not differ."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tierwise_router.certificates
import tierwise_router.client_connection
import tierwise_router.server
from tests.unit.router.running_router import Client, Router, chat, post, route, running, tier, until
from tests.unit.router.scripted_upstream import (
    COMPLETION,
    DONE,
    FINISH,
    GOOD_STREAM,
    LAST_CHUNK,
    ROLE,
    STREAM_HEAD,
    USAGE,
    Do,
    Step,
    Upstream,
    chunk,
    upstream,
    word,
)
from tests.unit.router.tls import pair, trusting
from tierwise.errors import Invalid
from tierwise_router.certificates import Certificates
from tierwise_router.source import TLSFiles


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A router that waits for long before it breaks off what is ending: what has ended by then has ended by itself."""
    monkeypatch.setattr(tierwise_router.server, "CLOSE_SECONDS", 60.0)
    monkeypatch.setattr(tierwise_router.client_connection, "LINGER_SECONDS", 60.0)


@dataclass
class Secure:
    """A router that speaks TLS, and the files of its certificate."""

    router: Router
    up: Upstream
    files: TLSFiles
    certificates: Certificates
    trust: ssl.SSLContext

    async def ask(self, raw: bytes, trust: ssl.SSLContext | None = None) -> int:
        """The status of one answer, on a connection of its own."""
        async with self.router.client(trust or self.trust) as client:
            return (await client.ask(raw)).status


def written(folder: Path) -> tuple[TLSFiles, bytes]:
    """New files, and the certificate in them."""
    certificate, key = pair()
    files = TLSFiles(folder / "tls.crt", folder / "tls.key")
    files.certificate.write_bytes(certificate)
    files.key.write_bytes(key)
    return files, certificate


@contextlib.asynccontextmanager
async def secure(folder: Path, default: list[Step] | None = None, **more: Any) -> AsyncIterator[Secure]:
    """A running router with a certificate of its own."""
    files, certificate = written(folder)
    certificates = Certificates(files)
    async with (
        upstream(default=default or [COMPLETION]) as up,
        running(route(tier("a", up)), tls=certificates.listener, **more) as router,
    ):
        yield Secure(router, up, files, certificates, trusting(certificate))


def _tls(client: Client) -> ssl.SSLObject:
    found: ssl.SSLObject = client.writer.get_extra_info("ssl_object")
    return found


async def test_answers_and_streams_are_the_same_over_tls(tmp_path: Path) -> None:
    async with secure(tmp_path) as here, here.router.client(here.trust) as client:
        here.up.scripts += [[COMPLETION], GOOD_STREAM]
        assert (await client.ask(post(chat()))).body == COMPLETION.partition(b"\r\n\r\n")[2]
        streamed = await client.ask(post(chat(stream=True)))
        assert streamed.body == ROLE + word("Hel") + word("lo") + FINISH + DONE
        assert _tls(client).version() in ("TLSv1.2", "TLSv1.3")


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"), (["h2"], None), ([], None)]
)
async def test_only_http_1_1_is_spoken(tmp_path: Path, offered: list[str], chosen: str | None) -> None:
    async with secure(tmp_path) as here:
        trust = ssl.create_default_context(cafile=str(here.files.certificate))
        if offered:
            trust.set_alpn_protocols(offered)
        async with here.router.client(trust) as client:
            assert _tls(client).selected_alpn_protocol() == chosen
            assert (await client.ask(post(chat()))).status == 200


async def test_a_renewed_certificate_is_for_new_connections_and_open_streams_go_on(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    async with secure(tmp_path) as here, here.router.client(here.trust) as client:
        here.up.scripts.append([
            STREAM_HEAD, chunk(word("Hel")), go_on, chunk(word("lo") + FINISH + USAGE + DONE), LAST_CHUNK
        ])  # fmt: skip
        client.say(post(chat(stream=True)))
        await client.reader.readuntil(b"Hel")
        _, renewed = written(tmp_path)
        assert here.certificates.renew() is True
        assert here.certificates.renew() is False, "nothing new"
        assert await here.ask(post(chat()), trusting(renewed)) == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            await here.ask(post(chat()))
        go_on.set()
        rest = await client.reader.readuntil(LAST_CHUNK)
        assert rest.endswith(DONE + b"\r\n" + LAST_CHUNK)
        assert (await client.ask(post(chat()))).status == 200, "a kept connection stays of use"


@pytest.mark.parametrize("how", ["half", "junk", "another key", "gone", "pass phrase"])
async def test_files_that_cannot_be_used_change_nothing(tmp_path: Path, how: str) -> None:
    async with secure(tmp_path) as here:
        certificate, key = pair()
        if how == "half":
            here.files.certificate.write_bytes(certificate[:200])
        elif how == "junk":
            here.files.key.write_bytes(b"-----BEGIN\x00")
        elif how == "another key":
            here.files.key.write_bytes(key)
        elif how == "gone":
            here.files.key.unlink()
        else:
            here.files.key.write_bytes(_locked())
        with pytest.raises(Invalid, match="tls"):
            here.certificates.renew()
        assert await here.ask(post(chat())) == 200
        here.files.certificate.write_bytes(certificate)
        here.files.key.write_bytes(key)
        assert here.certificates.renew() is True
        assert await here.ask(post(chat()), trusting(certificate)) == 200


def _locked() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"phrase"),
    )


async def test_renewal_is_noticed_by_itself_and_a_complaint_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tierwise_router.certificates, "RELOAD_SECONDS", 0.01)
    async with secure(tmp_path) as here:
        following = asyncio.create_task(here.certificates.follow())
        here.files.key.write_bytes(b"junk")
        await until(lambda: "stays" in caplog.text)
        await asyncio.sleep(0.05)
        assert caplog.text.count("stays") == 1
        assert "junk" not in caplog.text
        _, renewed = written(tmp_path)
        while True:
            with contextlib.suppress(ssl.SSLCertVerificationError):
                assert await here.ask(post(chat()), trusting(renewed)) == 200
                break
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


@pytest.mark.usefixtures("patient")
async def test_a_client_that_is_gone_is_noticed_over_tls_too(tmp_path: Path) -> None:
    script: list[Step] = [STREAM_HEAD, chunk(word("Hel")), Do.HOLD]
    async with secure(tmp_path, script) as here, here.router.client(here.trust) as client:
        client.say(post(chat(stream=True)))
        await client.reader.readuntil(b"Hel")
        client.vanish()
        await until(lambda: here.up.open == 0)
        assert here.router.records[0].outcome == "client_gone"


async def test_a_broken_answer_is_not_ended_in_order_over_tls(tmp_path: Path) -> None:
    script: list[Step] = [STREAM_HEAD, chunk(word("Hel")), Do.RESET]
    async with secure(tmp_path, script) as here, here.router.client(here.trust) as client:
        answered = await client.ask(post(chat(stream=True)))
        assert not answered.whole
        assert b'"error"' in answered.body


async def test_a_client_that_does_not_read_is_ended_over_tls_too(tmp_path: Path) -> None:
    big = b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (20 << 20)
    async with secure(tmp_path, [big + b"x" * (20 << 20)]) as here, here.router.client(here.trust) as client:
        client.read_nothing()
        client.say(post(chat()))
        await until(lambda: here.router.records and not here.router.only.answering)
        await asyncio.sleep(0.1)  # until the kernels have taken what they will; on a busy machine they take more later
        here.router.later(31.0)
        assert here.router.server.connections, "within the time for reading it is kept"
        turns = 2
        while here.router.server.connections and turns < 10:
            here.router.later(31.5 * turns)
            await asyncio.sleep(0.05)
            turns += 1
        assert not here.router.server.connections, "after a turn in which the kernels took nothing"


async def test_a_client_that_reads_slowly_is_not_ended_over_tls_either(tmp_path: Path) -> None:
    size = 40 << 20  # more than the kernel's buffers take: a client that has all of it is idle, not slow
    big = b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % size
    # It takes little ahead: what it has in hand already would be a turn in which it takes nothing from the router.
    async with secure(tmp_path, [big + b"x" * size]) as here, here.router.client(here.trust, 1 << 16) as client:
        client.read_nothing()
        client.say(post(chat()))
        await until(lambda: here.router.records and not here.router.only.answering)
        connection, began, left = here.router.only, asyncio.get_running_loop().time(), size
        client.read_again()
        await client.reader.readuntil(b"\r\n\r\n")
        for turn in range(1, 5):
            left -= len(await client.reader.readexactly(2 << 20))
            client.read_nothing()
            for _ in range(20):  # turns of the loop, not a time: on a busy machine one turn may take all of it
                await asyncio.sleep(0.002)
            connection.check(began + 29.0 * turn)
            client.read_again()
        assert here.router.server.connections, "it has taken something in every 29 of 116 seconds"
        assert len(await client.reader.readexactly(left)) == left


async def test_a_stranger_is_told_so_over_tls_and_its_body_is_not_waited_for(tmp_path: Path) -> None:
    async with secure(tmp_path, most_body_bytes=1000) as here, here.router.client(here.trust) as client:
        client.say(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + b"x" * 500)
        assert (await client.answer()).status == 413
        await asyncio.sleep(0.1)  # a kernel may acknowledge late
        here.router.later(3.0)
        here.router.later(6.0)
        await here.router.until_quiet()


async def test_what_is_no_tls_harms_nobody(tmp_path: Path) -> None:
    async with secure(tmp_path) as here:
        async with here.router.client() as plain:
            plain.say(post(chat()))
            with contextlib.suppress(ConnectionError):
                await plain.rest()
        assert here.up.seen == []
        assert await here.ask(post(chat())) == 200


async def test_a_handshake_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tierwise_router.server, "HANDSHAKE_SECONDS", 2.0)  # the last one has no more time
    async with secure(tmp_path) as here, here.router.client() as mute:
        mute.say(b"\x16\x03\x01")
        with contextlib.suppress(ConnectionError):
            assert await mute.rest() == b""
        assert await here.ask(post(chat())) == 200


@pytest.mark.usefixtures("patient")
async def test_a_router_that_drains_ends_tls_connections_too(tmp_path: Path) -> None:
    async with secure(tmp_path) as here, here.router.client(here.trust) as client:
        assert (await client.ask(post(chat()))).status == 200
        await here.router.server.drain(20.0)
        assert not here.router.server.connections


def test_a_start_without_usable_files_says_which(tmp_path: Path) -> None:
    files = TLSFiles(tmp_path / "tls.crt", tmp_path / "tls.key")
    with pytest.raises(Invalid, match=r"tls.crt cannot be read \(No such file"):
        Certificates(files)
