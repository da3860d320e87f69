"""Checks that a hub gets exactly the intended requests, and that no answer of it does harm.

Asked of a real HTTP server on this machine that answers as huggingface.co does.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from tests.unit.router.tls import contexts
from tierwise.errors import Invalid, Refused, TierwiseError, Transient
from tierwise.hub.client import CONFIG_BYTES, HubClient, HubFiles
from tierwise.types.model_metadata import Repository

SMALL = Repository("org/small")
CONFIG = '{"model_type": "llama", "hidden_size": 64}'
INDEX = '{"metadata": {"total_size": 16060522496, "total_parameters": 8030261248}, "weight_map": {"a": "b"}}'
Handler = Callable[[web.Request], web.StreamResponse]


@dataclass
class Library:
    """What the server has, and what it was asked."""

    handlers: dict[str, Handler] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.raw_path)
        self.headers.append(dict(request.headers))
        handler = self.handlers.get(request.raw_path)
        return web.Response(status=404) if handler is None else handler(request)

    def file(self, path: str, text: str | bytes, status: int = 200) -> None:
        data = text.encode() if isinstance(text, str) else text
        self.handlers[path] = lambda _: web.Response(body=data, status=status)

    def redirect(self, path: str, to: str, status: int = 307) -> None:
        self.handlers[path] = lambda _: web.Response(status=status, headers={"Location": to})


@asynccontextmanager
async def answering(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """The URL of a server that gives these answers."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def serving(library: Library) -> AbstractAsyncContextManager[str]:
    """The URL of a server with this library."""
    return answering(library.answer)


async def test_a_mirror_of_a_private_authority_is_read_with_its_certificate_and_not_without(tmp_path: Path) -> None:
    library = Library()
    library.file("/org/small/resolve/main/config.json", CONFIG)
    tls, _ = contexts(tmp_path)
    certificate = tmp_path / "both.pem"  # its key stands first, and is passed over
    async with answering(library.answer, tls) as url:
        found = await HubClient(url, ca_file=certificate).read(SMALL)
        assert found.config["model_type"] == "llama"
        with pytest.raises(Transient, match=r"certificate is not trusted: check the chart value hub\.caConfigMap"):
            await HubClient(url).read(SMALL)
        with pytest.raises(Transient, match=r"missing\.pem of the hub cannot be read"):
            await HubClient(url, ca_file=tmp_path / "missing.pem").read(SMALL)


async def test_two_files_are_read_without_any_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    library = Library()
    library.file("/org/small/resolve/main/config.json", CONFIG)
    library.file("/org/small/resolve/main/model.safetensors.index.json", INDEX)
    async with serving(library) as url:
        files = await HubClient(url).read(SMALL)
    assert files.config["model_type"] == "llama"
    assert files.index == {"metadata": {"total_size": 16060522496, "total_parameters": 8030261248}}
    assert library.asked == [
        "/org/small/resolve/main/config.json",
        "/org/small/resolve/main/model.safetensors.index.json",
    ]
    for headers in library.headers:
        assert not {"authorization", "cookie"} & {name.lower() for name in headers}
        assert "canary" not in str(headers)


async def test_a_revision_is_one_part_of_the_path_and_a_mirror_may_have_a_path() -> None:
    library = Library()
    library.file("/api/models/org/small/resolve/refs%2Fpr%2F1/config.json", CONFIG)
    async with serving(library) as url:
        files = await HubClient(f"{url}/api/models/").read(Repository("org/small", "refs/pr/1"))
    assert files.index is None, "most repositories have no index"
    assert all(path.startswith("/api/models/org/small/resolve/refs%2Fpr%2F1/") for path in library.asked)


async def test_the_redirects_of_the_hub_itself_are_followed() -> None:
    library = Library()
    library.redirect("/org/small/resolve/main/config.json", "/org/renamed/resolve/main/config.json")
    library.redirect("/org/renamed/resolve/main/config.json", "/api/resolve-cache/models/org/renamed/0f2/config.json")
    library.file("/api/resolve-cache/models/org/renamed/0f2/config.json", CONFIG)
    async with serving(library) as url:
        assert (await HubClient(url).read(SMALL)).config["hidden_size"] == 64


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:1/config.json",
        "https://127.0.0.1.evil.example.com/x",
        "https://evil.example.com/config.json",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "//evil.example.com/config.json",
        "http://[",
        "https://evil.example.com@127.0.0.1/",
    ],
)
async def test_no_redirect_leads_anywhere_else(location: str) -> None:
    library = Library()
    library.redirect("/org/small/resolve/main/config.json", location)
    async with serving(library) as url:
        with pytest.raises(Invalid, match="redirects org/small to another host") as caught:
            await HubClient(url).read(SMALL)
    assert "evil" not in caught.value.message
    assert "169.254" not in caught.value.message
    assert len(library.asked) == 1


@pytest.mark.parametrize(
    ("hub", "location", "followed"),
    [
        ("https://huggingface.co", "https://cas-bridge.xethub.hf.co/xet-bridge-us/1", True),
        ("https://huggingface.co", "https://cdn-lfs.huggingface.co/2", True),
        ("https://huggingface.co", "http://cdn-lfs.huggingface.co/2", False),
        ("https://huggingface.co", "https://huggingface.co.evil.example.com/2", False),
        ("https://huggingface.co", "https://evilhuggingface.co/2", False),
        ("https://huggingface.co", "https://hf.co.evil.example.com/", False),
        ("https://huggingface.co", "https://user@cdn.hf.co/", False),
        ("https://mirror.example.com", "https://cas-bridge.xethub.hf.co/1", False),
        ("https://mirror.example.com", "https://cdn.mirror.example.com/1", True),
    ],
)
def test_where_a_hub_may_keep_its_files(hub: str, location: str, followed: bool) -> None:
    made = HubClient(hub)
    if followed:
        assert made._followed(SMALL, hub, location) == location
    else:
        with pytest.raises(Invalid):
            made._followed(SMALL, hub, location)


async def test_circles_end() -> None:
    library = Library()
    library.redirect("/org/small/resolve/main/config.json", "/org/small/resolve/main/config.json")
    async with serving(library) as url:
        with pytest.raises(Invalid, match="in circles"):
            await HubClient(url).read(SMALL)
    assert len(library.asked) == 4


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, Refused, "answers 401 for org/small: it is gated, private or does not exist"),
        (403, Refused, "answers 403 for org/small: it is gated or private"),
        (404, Refused, "answers 404 for org/small: it does not exist"),
        (418, Refused, "answers 418 for org/small: it cannot be read"),
        (429, Transient, "answers 429"),
        (503, Transient, "answers 503"),
    ],
)
async def test_a_refusal_is_told_in_a_sentence(status: int, kind: type[TierwiseError], words: str) -> None:
    library = Library()
    library.file("/org/small/resolve/main/config.json", "canary", status)
    async with serving(library) as url:
        with pytest.raises(kind) as caught:
            await HubClient(url).read(SMALL)
    assert words in caught.value.message
    assert "canary" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no json", "is not JSON"),
        ("[1]", "is not an object"),
        ("[" * 100_000, "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (" " * (CONFIG_BYTES + 1) + "{}", "is longer than 1024 KiB"),
    ],
)
async def test_an_answer_of_no_use_is_refused(text: str | bytes, words: str) -> None:
    library = Library()
    library.file("/org/small/resolve/main/config.json", text)
    async with serving(library) as url:
        with pytest.raises(Invalid, match=words):
            await HubClient(url).read(SMALL)


async def test_of_a_long_index_only_the_beginning_is_read_and_a_bad_one_is_none() -> None:
    library = Library()
    library.file("/org/small/resolve/main/config.json", CONFIG)
    path = "/org/small/resolve/main/model.safetensors.index.json"
    library.file(path, INDEX[:-2] + ', "x": "' + "y" * 20_000_000 + '"}}')
    async with serving(library) as url:
        long = (await HubClient(url).read(SMALL)).index
        library.file(path, '{"weight_map": {"total_size": 5}, "metadata": {"total_size": 6}}')
        late = (await HubClient(url).read(SMALL)).index
        library.file(path, "", 500)
        broken = (await HubClient(url).read(SMALL)).index
    assert long == {"metadata": {"total_size": 16060522496, "total_parameters": 8030261248}}
    assert (late, broken) == (None, None)


@pytest.mark.parametrize("trouble", ["reset", "hang", "cut"])
async def test_an_index_that_cannot_be_reached_takes_nothing_from_what_the_config_says(trouble: str) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("config.json"):
            return web.Response(text=CONFIG)
        if trouble == "cut":
            begun = web.StreamResponse(headers={"Content-Length": "500"})
            await begun.prepare(request)
            await begun.write(INDEX[:20].encode())
        if trouble == "hang":
            await asyncio.sleep(30)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with answering(answer) as url:
        files = await HubClient(url, timeout_seconds=2).read(SMALL)
    assert files == HubFiles({"model_type": "llama", "hidden_size": 64}, None)


async def test_a_hub_that_hangs_or_is_not_there_is_given_up() -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    async with answering(hang) as url:
        with pytest.raises(Transient, match=r"does not answer in 0\.2 s"):
            await HubClient(url, timeout_seconds=0.2).read(SMALL)
    with pytest.raises(Transient, match="cannot be reached"):
        await HubClient(url).read(SMALL)
