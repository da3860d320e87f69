"""Checks a cascade before the real engine: it says log-probabilities for the router, and a client sees none of them.

Two tiers are the same engine, so both ways of deciding give the answer that the engine gives without a router. It cuts
a stream as its steps fall: streams are compared by what they say and by the shapes of their events.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.same_answers import CHAT, TOOLS, chat_fields
from tests.unit.router.router_process import RouterProcess, router
from tests.vllm.routed import engine
from tests.vllm.tiers import ANSWER_SECONDS

pytestmark = pytest.mark.vllm
OPTIONS = ("--enable-auto-tool-choice", "--tool-call-parser=hermes")
CHATS: dict[str, dict[str, Any]] = {
    "plain": CHAT["plain"],
    "shorter than what is held": {"max_tokens": 3},
    "tools, none of them called": {"max_tokens": 12, "tools": TOOLS},
}
# The tiny model is sure of what it says; pushed to one token, it says what it thinks improbable.
DECISIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "Cascade": ("-99", "released", {"temperature": 0}),
    "Escalated": ("-0.5", "escalated", {"temperature": 0, "logit_bias": {"5": 100}}),
}


@pytest.fixture(scope="module")
def url(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with engine(models / "plain", tmp_path_factory.mktemp("cascade"), OPTIONS) as found:
        yield found


@pytest.fixture(scope="module", params=list(DECISIONS))
def cascade(
    request: pytest.FixtureRequest, url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, RouterProcess]]:
    """The reason that every answer has, and the router."""
    policy = {
        "holdTokens": 8,
        "minMeanLogProbability": DECISIONS[request.param][0],
        "maxEscalatedPercent": 100,
    }
    tiers = [{"name": name, "model": "m", "servers": [url]} for name in ("small", "large")]
    spec = {"modelNames": ["mixed"], "tiers": tiers, "policy": {"type": "Cascade", "cascade": policy}}
    with router(spec, tmp_path_factory.mktemp("router")) as process:
        yield request.param, process


def ask(url: str, path: str, body: dict[str, Any]) -> requests.Response:
    sent = {**body, **body.get("extra_body", {})}
    sent.pop("extra_body", None)
    return requests.post(f"{url}/v1/{path}", json=sent, timeout=ANSWER_SECONDS)


def without_what_is_new(answer: bytes) -> bytes:
    known = re.sub(rb'"id":\s*"(?:chatcmpl|cmpl)-[^"]+"', b'"id":"ID"', answer)
    # vLLM says it in the event with usage where that was asked for, and the router asks always (docs/routing.md).
    known = re.sub(rb',"system_fingerprint":"[^"]+"\}(?=\n\n)', b"}", known)
    return re.sub(rb'"created":\s*\d+', b'"created":0', known)


def said(answer: bytes) -> tuple[str, set[bytes]]:
    """The text of a stream, and the shapes of its events."""
    text = b"".join(re.findall(rb'"(?:content|text)":"((?:[^"\\]|\\.)*)"', answer)).decode()
    blank = re.sub(rb'"(content|text)":"(?:[^"\\]|\\.)*"', rb'"\1":""', without_what_is_new(answer))
    return text, {event for event in blank.split(b"\n\n") if event}


@pytest.mark.parametrize("path", ["chat/completions", "completions"])
@pytest.mark.parametrize("name", CHATS)
def test_an_answer_in_one_piece_is_the_engines_byte_for_byte(
    url: str, cascade: tuple[str, RouterProcess], name: str, path: str
) -> None:
    reason, process = cascade
    sampled = DECISIONS[reason][2]
    body = {**chat_fields(CHATS[name]), **sampled}
    if path == "completions":
        body = {"prompt": name, "max_tokens": 9, **sampled}
    ask(url, path, {**body, "model": "m"})  # what is cached now is cached for both
    plain = ask(url, path, {**body, "model": "m"})
    through = ask(process.url, path, {**body, "model": "mixed"})
    assert through.headers["x-tierwise-reason"] == reason
    assert without_what_is_new(through.content) == without_what_is_new(plain.content)
    (line,) = process.log_of(through.headers["x-tierwise-request-id"])
    assert line["cascade"]["decision"] == DECISIONS[reason][1]
    assert line["cascade"]["tokens"] > 0
    assert line["cascade"]["meanLogProbability"] <= 0
    assert "firstMargin" in line["cascade"]


@pytest.mark.parametrize("name", CHATS)
def test_a_stream_says_the_same_in_events_of_the_same_shapes(
    url: str, cascade: tuple[str, RouterProcess], name: str
) -> None:
    reason, process = cascade
    body = {**chat_fields(CHATS[name]), **DECISIONS[reason][2], "stream": True}
    plain = ask(url, "chat/completions", {**body, "model": "m"})
    through = ask(process.url, "chat/completions", {**body, "model": "mixed"})
    assert through.headers["x-tierwise-reason"] == reason
    assert said(through.content) == said(plain.content)
    assert b'"logprob"' not in through.content
