"""A canary prompt and canary keys pass through the router in every way, and are found nowhere that somebody else reads.

One process with everything switched on: DEBUG, asyncio's own debugging, spans, a budget in a file, TLS. What is looked
through at the end: its log, its access log, metrics, spans, files, the dump of faulthandler, and every answer for what
belongs to somebody else.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import signal
import ssl
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.unit.router.collector import Collector, collector
from tests.unit.router.router_process import COMES_SECONDS, RouterProcess, router
from tests.unit.router.running_router import CHAT, Answered, Client, post, until
from tests.unit.router.scripted_upstream import (
    COMPLETION,
    DONE,
    FINISH,
    ROLE,
    STREAM_HEAD,
    USAGE,
    Do,
    Script,
    Seen,
    Upstream,
    answer,
    chunk,
    stream,
    upstream,
    word,
)
from tests.unit.router.tls import pair, trusting
from tests.unit.routing.classifiers import classifier

PROMPT = "CanaryPromptQ7 tell nobody"
ANSWER = "CanaryAnswerR2 for one only"
CLIENT_KEY = "tw-CanaryClientK4"
WRONG_KEY = "tw-CanaryWrongW9"
PROVIDER_KEY = "sk-CanaryProviderP5"
HEADER = "CanaryHeaderH6"
CANARIES = ("CanaryPromptQ7", "CanaryAnswerR2", "CanaryClientK4", "CanaryWrongW9", "CanaryProviderP5", "CanaryHeaderH6")
COMPLAINTS = (
    "the certificate that is used stays",
    "must hold one key",
    "this is no classifier file",
    "must hold SHA-256 hashes",
)
"""What the router says of files that it cannot use; the last one is written when the others have been mended."""
MANY_SPANS = 31
DIGEST = hashlib.sha256(CLIENT_KEY.encode()).hexdigest()


def play(seen: Seen) -> Script | None:
    """What the request's own words ask for; errors repeat whatever the request said."""
    if seen.method != "POST" or not seen.body:
        return [answer(orjson.dumps({"error": {"message": seen.head.decode("latin-1")}}), 404)]
    values = orjson.loads(seen.body)
    said = orjson.dumps({"error": {"message": seen.head.decode("latin-1") + seen.body.decode(), "code": "echo"}})
    scripts: dict[str, Script] = {
        "answer": [COMPLETION.replace(b'"hi"', b'"%b"' % ANSWER[:2].encode())],
        "stream": stream(ROLE, word(ANSWER), FINISH, USAGE, DONE),
        "400": [answer(said, 400)],
        "401": [answer(said, 401)],
        "429": [answer(said, 429, extra="retry-after: 60\r\n")],
        "500": [answer(said, 500)],
        "200 error": [answer(said)],
        "event error": [STREAM_HEAD, chunk(word(ANSWER)), chunk(b"data: " + said + b"\n\n"), Do.CLOSE],
        "broken": [STREAM_HEAD, chunk(word(ANSWER)), Do.RESET],
        "late": [Do.HOLD],
        "junk": [b"HTTP/1.1 200 OK\r\n" + said + b"\r\n\r\n"],
        "junk header": [b"HTTP/1.1 200 OK\r\nx " + said[:100] + b": 1\r\n\r\n"],
    }
    return scripts[values["metadata"]["do"]]


class Place:
    """The router with everything on, and who asks it."""

    def __init__(self, process: RouterProcess, trust: ssl.SSLContext, *behind: Upstream) -> None:
        self.process = process
        self._trust = trust
        self._behind = behind
        self.answers: list[tuple[str, Answered]] = []

    async def connect(self) -> Client:
        port = int(self.process.url.rpartition(":")[2])
        return Client(*await asyncio.open_connection("127.0.0.1", port, ssl=self._trust, limit=1 << 24))

    async def begin(self, raw: bytes) -> Client:
        """A request that has come upstream."""
        client, before = await self.connect(), self._came
        client.say(raw)
        await until(lambda: self._came > before, COMES_SECONDS)
        return client

    @property
    def _came(self) -> int:
        return sum(seen.method == "POST" for up in self._behind for seen in up.seen)

    async def say(self, raw: bytes, who: str = "the client") -> Answered:
        """One answer, kept with whose it is."""
        client = await self.connect()
        try:
            self.answers.append((who, await client.ask(raw)))
        finally:
            await client.close()
        return self.answers[-1][1]

    async def ask(self, model: str, do: str, *, key: str = CLIENT_KEY, path: str = CHAT) -> Answered:
        """A request that asks for what it gets."""
        more: dict[str, Any] = {"stream": True} if do not in ("answer", "200 error", "400") else {}
        who = "a stranger" if key == WRONG_KEY else "the client"
        return await self.say(post(body(model, do) | more, path, headers(key)), who)


def body(model: str, do: str) -> dict[str, Any]:
    """With the prompt in every place that a prompt has."""
    return {
        "model": model,
        "metadata": {"do": do},
        "messages": [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}],
        "input": PROMPT,
        "user": PROMPT,
        "prompt_cache_key": PROMPT,
        "unknown": {PROMPT: PROMPT},
        "tools": [{"type": "function", "function": {"name": "f", "description": PROMPT}}],
    }


def headers(key: str) -> str:
    """With a key, and something private in others."""
    return f"Authorization: Bearer {key}\r\nX-Api-Key: {HEADER}\r\nCookie: {HEADER}\r\nX-Tierwise-Tier: {HEADER}\r\n"


LATE = post(body("auto", "late") | {"stream": True}, CHAT, headers(CLIENT_KEY))


async def everything(place: Place) -> None:
    """Every way in which a request can go."""
    for do in ("answer", "stream", "200 error", "400", "401", "429", "500", "event error", "broken", "junk"):
        for model in ("auto", "p"):
            await place.ask(model, do)
    await asyncio.gather(*(place.ask(model, do) for model in ("auto", "p") for do in ("late", "junk header")))
    for path in ("/v1/responses", "/v1/completions", "/v1/embeddings"):
        await place.ask("auto", "answer", path=path)
    await place.ask("auto", "answer", key=WRONG_KEY)
    await place.ask("nobody", "answer")
    for raw in (
        post(PROMPT.encode(), CHAT, headers(CLIENT_KEY)),
        post(b'{"model":"auto","model":"' + PROMPT.encode() + b'"}', CHAT, headers(CLIENT_KEY)),
        post({"model": "auto", "stream": PROMPT}, CHAT, headers(CLIENT_KEY)),
        post(body("auto", "answer"), "/v1/" + urllib.parse.quote(PROMPT), headers(CLIENT_KEY)),
        post(body("auto", "answer"), CHAT, f"Authorization: {CLIENT_KEY}\r\nExpect: {HEADER}\r\n"),
        post(body("auto", "answer"), CHAT, f"Bad Header {HEADER}: x\r\n"),
        f"GET /v1/models/{urllib.parse.quote(PROMPT)} HTTP/1.1\r\nHost: a\r\n{headers(CLIENT_KEY)}\r\n".encode(),
        f"GET /v1/responses/resp_{HEADER} HTTP/1.1\r\nHost: a\r\n{headers(CLIENT_KEY)}\r\n".encode(),
        f"GET /v1/models HTTP/1.1\r\nHost: a\r\n{headers(WRONG_KEY)}\r\n".encode(),
    ):
        await place.say(raw, "a stranger" if WRONG_KEY.encode() in raw else "the client")
    half = await place.connect()
    half.say(LATE[:-20])
    await asyncio.sleep(0.3)
    for client in (await place.begin(LATE), half):
        client.vanish()
        await client.close()


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collector() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
        monkeypatch.setenv("PYTHONFAULTHANDLER", "1")
        yield found


def settings(folder: Path, served: Upstream, provider: Upstream) -> dict[str, Any]:
    """The route's file, and the files that it names."""
    (folder / "keys").mkdir()
    (folder / "keys" / "blue").write_text(DIGEST)
    (folder / "provider").write_text(PROVIDER_KEY)
    weights = classifier(route="route", from_tier="a", reference_tier="p", large_share_percent=0)
    (folder / "classifier.bin").write_bytes(weights.write())
    prices = {"input": "1", "cachedInput": "1", "cacheWrite": "1", "output": "2"}
    return {
        "modelNames": ["auto"],
        "tiers": [
            {"name": "a", "model": "m", "servers": [served.url]},
            {
                "name": "p",
                "model": "n",
                "provider": {"baseURL": provider.url + "/v1", "apiKeyFile": "provider"},
                "prices": prices,
            },
        ],
        "deadlines": {"firstTokenSeconds": 4, "requestSeconds": 12},
        "budget": {"amount": "100"},
        "policy": {"type": "Classifier", "classifier": {"file": "classifier.bin"}},
        "clients": {"keysDirectory": "keys"},
        "tls": {"certificateFile": "tls.crt", "keyFile": "tls.key"},
    }


async def test_no_prompt_and_no_key_is_where_somebody_else_could_read_it(sink: Collector, tmp_path: Path) -> None:
    certificate, key = pair()
    (tmp_path / "tls.crt").write_bytes(certificate)
    (tmp_path / "tls.key").write_bytes(key)
    async with upstream() as served, upstream() as provider:
        served.choose = provider.choose = play
        spending = tmp_path / "spending.json"
        options = ("--log-level", "DEBUG", "--spending-file", str(spending))
        with router(settings(tmp_path, served, provider), tmp_path, *options) as process:
            place = Place(process, trusting(certificate), served, provider)
            await everything(place)
            (tmp_path / "tls.key").write_text(f"-----BEGIN PRIVATE KEY-----\n{HEADER}\n")
            (tmp_path / "provider").write_text(f"{PROVIDER_KEY} {PROVIDER_KEY}\n")
            (tmp_path / "classifier.bin").write_text(f"{HEADER}\n")
            for complaint in COMPLAINTS[:-1]:
                await process.said(complaint)
            (tmp_path / "provider").write_text(PROVIDER_KEY)
            (tmp_path / "keys" / "blue").write_text(CLIENT_KEY)
            await process.said(COMPLAINTS[-1])
            metrics = await asyncio.to_thread(_page, process)
            await until(lambda: '"client_gone"' in (tmp_path / "access.log").read_text(), COMES_SECONDS)
            await asyncio.to_thread(sink.wait, MANY_SPANS)
            open_one = await place.begin(LATE)
            process.process.send_signal(signal.SIGABRT)  # faulthandler says where every thread is
            await asyncio.to_thread(process.process.wait, 60)
            open_one.vanish()
        places = {
            "the log": (tmp_path / "errors.log").read_text(),
            "the access log": (tmp_path / "access.log").read_text(),
            "the metrics": metrics,
            "the spans": b"".join(sink.raw).decode("latin-1"),
            "what is spent": spending.read_text(),
        }
    _found_nowhere(places)
    _witnessed(places, sink, place)
    _belongs(place)
    assert {seen.headers.get("authorization") for seen in served.seen} == {None}, "an engine gets nobody's key"
    assert {seen.headers.get("authorization") for seen in provider.seen} == {f"Bearer {PROVIDER_KEY}"}
    for seen in [*served.seen, *provider.seen]:
        assert HEADER not in str(seen.headers)
        assert CLIENT_KEY not in str(seen.headers)


def _page(process: RouterProcess) -> str:
    asked = subprocess.run(["curl", "-s", process.metrics_url + "/metrics"], capture_output=True, text=True, check=True)
    return asked.stdout


def _forms(canary: str) -> list[str]:
    """As it is, as it could be written otherwise, and what tells most of it."""
    coded = base64.b64encode(canary.encode()).decode().rstrip("=")
    return [canary, canary[6:], canary.lower(), coded, canary.encode().hex(), repr(canary)[1:-1]]


def _found_nowhere(places: dict[str, str]) -> None:
    found = [
        (name, canary)
        for name, text in places.items()
        for canary in CANARIES
        for form in _forms(canary)
        if form in text or (form in text.lower() and form.islower())
    ]
    found += [(name, "the hash of the client's key") for name, text in places.items() if DIGEST in text]
    assert found == []


def _witnessed(places: dict[str, str], sink: Collector, place: Place) -> None:
    """That each place was looked through, and each way was gone."""
    for name, witness in (
        ("the log", "DEBUG"),
        ("the log", "Fatal Python error: Aborted"),
        *(("the log", complaint) for complaint in COMPLAINTS),
        ("the access log", '"client_gone"'),
        ("the metrics", 'tierwise_router_tenant_cost_usd_total{tenant="blue"}'),
        ("the metrics", 'tierwise_router_classifier{hash="",reason="ClassifierInvalid",state="Refused"} 1.0'),
        ("the access log", '"reason":"Classified"'),
        ("what is spent", "spentUSD"),
    ):
        assert witness in places[name], (name, witness)
    assert len(sink.spans()) >= MANY_SPANS
    statuses = {one.status for _, one in place.answers}
    assert statuses >= {200, 400, 401, 404, 417, 429, 502, 504}, statuses


def _belongs(place: Place) -> None:
    """No answer has a key in it, nor what another one asked; a stranger's has nothing of anybody."""
    for who, one in place.answers:
        said = (one.head + one.body).decode("latin-1")
        for canary in CANARIES if who == "a stranger" else ("CanaryProviderP5", "CanaryClientK4", "CanaryHeaderH6"):
            assert canary not in said, (who, canary, said[:500])
