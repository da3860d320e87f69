"""The router as a process: TLS from a file's route, and a certificate that is renewed while it runs."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.unit.router.router_process import COMES_SECONDS, STARTS_SECONDS, router
from tests.unit.router.scripted_upstream import COMPLETION, upstream
from tests.unit.router.tls import pair, trusting

MODELS = b"GET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def _asked(port: int, trust: ssl.SSLContext) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust)
    writer.write(MODELS)
    said = await reader.read()
    writer.transport.abort()
    return said


async def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    certificate, key = pair()
    files = {"certificateFile": "keys/tls.crt", "keyFile": "keys/tls.key"}
    (tmp_path / "keys/tls.crt").write_bytes(certificate)
    (tmp_path / "keys/tls.key").write_bytes(key)
    async with upstream(default=[COMPLETION]) as up:
        served = {"tiers": [{"name": "a", "model": "m", "servers": [up.url]}], "tls": files}
        with router(served, tmp_path) as process:
            assert process.url.startswith("https://")
            port = int(process.url.rpartition(":")[2])
            assert (await _asked(port, trusting(certificate))).startswith(b"HTTP/1.1 200")
            renewed, key = pair()
            (tmp_path / "keys/tls.crt").write_bytes(renewed)
            await process.said("the certificate that is used stays")  # half of it is there: nothing changes
            assert (await _asked(port, trusting(certificate))).startswith(b"HTTP/1.1 200")
            (tmp_path / "keys/tls.key").write_bytes(key)
            deadline = time.monotonic() + COMES_SECONDS
            while True:
                try:
                    assert (await _asked(port, trusting(renewed))).startswith(b"HTTP/1.1 200")
                    break
                except ssl.SSLCertVerificationError:
                    assert time.monotonic() < deadline, "the renewed certificate is not shown"
                    await asyncio.sleep(0.2)
            said = (tmp_path / "errors.log").read_text()
            assert said.count("the certificate that is used stays") == 1
            assert "BEGIN" not in said


@pytest.mark.parametrize("missing", ["tls.crt", "tls.key"])
def test_a_start_without_the_files_says_which_is_missing(tmp_path: Path, missing: str) -> None:
    certificate, key = pair()
    (tmp_path / "tls.crt").write_bytes(certificate)
    (tmp_path / "tls.key").write_bytes(key)
    (tmp_path / missing).unlink()
    served = {
        "tiers": [{"name": "a", "model": "m", "servers": ["http://127.0.0.1:9"]}],
        "tls": {"certificateFile": "tls.crt", "keyFile": "tls.key"},
    }
    (tmp_path / "route.yaml").write_text(yaml.safe_dump(served))
    command = [sys.executable, "-m", "tierwise_cli", "router", "--file", str(tmp_path / "route.yaml")]
    command += ["--port", "0", "--metrics-port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=STARTS_SECONDS)
    assert ended.returncode != 0
    assert f"{missing} cannot be read" in ended.stderr
    assert "Traceback" not in ended.stderr
