"""Checks that embeddings of the real engine are the same through the router.

A generating model becomes one that embeds by an option of the engine, so this is an engine of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.same_answers import EMBEDDINGS, refused, same
from tests.vllm.routed import Served, served
from tests.vllm.tiers import ANSWER_SECONDS

pytestmark = pytest.mark.vllm
EMBEDS = ("--runner=pooling", "--convert=embed")


@pytest.fixture(scope="module")
def embedding(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(models / "plain", tmp_path_factory.mktemp("embedding"), *EMBEDS) as found:
        yield found


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings_are_the_same_to_the_last_bit(embedding: Served, name: str) -> None:
    asked: dict[str, Any] = EMBEDDINGS[name]
    plain, through = embedding.both(lambda client, model: client.embeddings.create(model=model, **asked))
    assert same(through) == same(plain)
    assert through.usage.prompt_tokens > 0
    assert all(len(one.embedding) > 1 for one in through.data)


def test_what_the_engine_does_not_embed_is_its_own_error(embedding: Served) -> None:
    plain, through = embedding.both(
        lambda client, model: refused(lambda: client.embeddings.create(model=model, input="a " * 5000))
    )
    assert through == plain


def test_the_prompts_tokens_are_counted(embedding: Served) -> None:
    raw = embedding.routed.embeddings.with_raw_response.create(model="mixed", input=["one two", "three"])
    (line,) = embedding.route.log_of(raw.headers["x-request-id"])
    (charge,) = line["charges"]
    assert charge["inputTokens"] == raw.parse().usage.prompt_tokens
    assert (charge["outputTokens"], charge["estimated"]) == (0, False)


@pytest.mark.parametrize("form", ["bytes", "bytes_only"])
def test_vectors_in_bytes_come_with_what_says_how_to_read_them(embedding: Served, form: str) -> None:
    def ask(url: str, model: str) -> tuple[int, str, bytes, Any]:
        body = {"model": model, "input": ["one two", "three"], "encoding_format": form}
        answer = requests.post(f"{url}/v1/embeddings", json=body, timeout=ANSWER_SECONDS)
        told = json.loads(answer.headers.get("metadata", "{}"))
        return answer.status_code, answer.headers["content-type"], answer.content, same(told)

    plain = ask(embedding.url, "m")
    assert ask(embedding.route.url, "mixed") == plain
    assert len(plain[2]) == 2 * 256 * 4
    assert bool(plain[3]) is (form == "bytes")
