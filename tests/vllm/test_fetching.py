"""Checks that the hub's own command does what an adapter's init container asks.

The rendered words, unchanged but for the folder, against a hub on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.render.goldens import cases, tier
from tests.vllm.environment import RELEASES, installed
from tierwise.act.render import render
from tierwise.types.capabilities import EngineRules

pytestmark = pytest.mark.vllm
CASE = "adapters-pinned"
COMMIT = "0e9e39f249a16976918f6564b8830bc894c89659"
REPOSITORY = "your-org/llama-customer-a-lora"
FILES = {"adapter_config.json": b'{"r": 16}', "adapter_model.safetensors": bytes(range(256))}


class Hub:
    """A hub with one repository at one commit; it keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._answer(body=False)

            def do_GET(self) -> None:
                self._answer(body=True)

            def _answer(self, *, body: bool) -> None:
                path = urlsplit(self.path).path
                hub.asked.append((path, self.headers.get("Authorization", "")))
                content = hub.content(path)
                self.send_response(404 if content is None else 200)
                found = content or b""
                headers = {"Content-Length": str(len(found)), "ETag": f'"{len(found)}"', "X-Repo-Commit": COMMIT}
                if content is None:
                    headers["X-Error-Code"] = "RevisionNotFound"  # as the hub says it
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if body:
                    self.wfile.write(found)

            def log_message(self, *_: object) -> None:
                """Be silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def content(self, path: str) -> bytes | None:
        """What is at a path; None: nothing."""
        if path.startswith(f"/api/models/{REPOSITORY}/tree/{COMMIT}"):
            tree = [{"type": "file", "path": name, "size": len(data), "oid": "0" * 40} for name, data in FILES.items()]
            return json.dumps(tree).encode()
        if path == f"/api/models/{REPOSITORY}/revision/{COMMIT}":
            siblings = [{"rfilename": name} for name in FILES]
            return json.dumps({"id": REPOSITORY, "sha": COMMIT, "siblings": siblings}).encode()
        return FILES.get(path.removeprefix(f"/{REPOSITORY}/resolve/{COMMIT}/"))

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hub() -> Iterator[Hub]:
    made = Hub()
    yield made
    made.stop()


def test_an_adapter_is_fetched_at_its_commit_into_its_folder(hub: Hub, tmp_path: Path) -> None:
    manifest = render(tier("llama2", cases()[CASE]), scaler="external", engine_rules=EngineRules(hub.url))
    (fetching,) = manifest["spec"]["predictor"]["initContainers"]
    plain = {each["name"]: each["value"] for each in fetching["env"] if "value" in each}
    assert plain["HF_ENDPOINT"] == hub.url
    assert {each["name"] for each in fetching["env"]} - plain.keys() == {"HF_TOKEN"}
    here = {
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": "hf_canary",
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
    }
    program = installed(RELEASES[0]).python.parent / fetching["command"][0]
    words = [word.replace("/mnt/adapters", str(tmp_path)) for word in fetching["args"]]
    done = subprocess.run([program, *words], env={**plain, **here}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert {name: (tmp_path / "0" / name).read_bytes() for name in FILES} == FILES
    assert {token for path, token in hub.asked if REPOSITORY in path} == {"Bearer hf_canary"}


def test_a_commit_that_is_not_there_ends_it(hub: Hub, tmp_path: Path) -> None:
    program = installed(RELEASES[0]).python.parent / "hf"
    words = ["download", REPOSITORY, f"--revision={'1' * 40}", f"--local-dir={tmp_path / '0'}"]
    here = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run([program, *words], env=here, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert not (tmp_path / "0/adapter_config.json").exists()
    assert REPOSITORY in done.stderr, "its last words become a condition"
