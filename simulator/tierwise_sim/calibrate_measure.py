"""Measures an engine under closed loops over the OpenAI API, with a bounded number of requests.

Prompts are random words, so that no prefix is ever found in a cache; answers have exactly the tokens that are asked
for. What a prompt really had is read from the usage that the engine reports, since every model has a tokenizer of its
own.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Any, Self

import aiohttp

from tierwise.errors import Invalid, Transient
from tierwise_sim.calibrated import LoadPoint
from tierwise_sim.closed_loop import Answer, Figures, figures
from tierwise_sim.load import final_usage

_TAIL_BYTES = 4096
# Mostly one token each, in any tokenizer; the first prompt shows how many tokens a word has.
_WORDS = (
    "time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child",
    "world", "school", "state", "family", "student", "group", "country", "problem",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measured:
    """What one load gave: the mean tokens of its prompts as the engine counted them, and the figures."""

    prompt_tokens: int
    figures: Figures


class Client:
    """An OpenAI-compatible engine. To be used as an asynchronous context."""

    def __init__(self, url: str, model: str | None, key: str | None, timeout_seconds: float) -> None:
        """`url`: with or without /v1."""
        self._url = url.rstrip("/").removesuffix("/v1")
        self._model = model
        self._headers = {"User-Agent": "tierwise"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=10)
        self._tokens_per_word = 1.0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            timeout=self._timeout,
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def model(self) -> str:
        """The model that is asked. Raises Invalid if several are served and none is named, Transient without answer."""
        if self._model is None:
            try:
                async with self._session.get(f"{self._url}/v1/models", allow_redirects=False) as answer:
                    if answer.status != 200:
                        raise Invalid(f"{self._url}/v1/models answers {answer.status}; is --url an engine's address?")
                    served = [str(each["id"]) for each in (await answer.json())["data"]]
            except (aiohttp.ClientError, OSError) as error:
                raise Transient(f"{self._url} cannot be reached: {type(error).__name__}") from error
            except (ValueError, KeyError, TypeError) as error:
                raise Invalid(f"{self._url}/v1/models does not answer as OpenAI's API does") from error
            if len(served) != 1:
                raise Invalid(f"{self._url} serves {', '.join(sorted(served)) or 'no model'}; name one with --model")
            self._model = served[0]
        return self._model

    async def warm_up(self, prompt_tokens: int) -> None:
        """Two requests that are not measured; they show how many tokens a word has. Raises as `measure` does."""
        words = 2 * prompt_tokens
        for seed in range(2):
            _, counted = await self._ask(words, 2, f"warm-up {seed}")
            self._tokens_per_word = counted / words
            words = max(8, prompt_tokens)

    async def measure(self, load: LoadPoint, waves: int, done: Callable[[], None]) -> Measured:
        """Every user asks `waves` times, each time as soon as it was answered; `done` is called after each answer.

        Raises Transient when the engine does not answer in time, Invalid when it refuses a request.
        """
        words = max(1, round(load.prompt_tokens / self._tokens_per_word))
        answers: list[Answer] = []
        counted: list[int] = []

        async def user(number: int) -> None:
            for turn in range(waves):
                answer, tokens = await self._ask(words, load.output_tokens, f"{load} {number} {turn}")
                answers.append(answer)
                counted.append(tokens)
                done()

        try:
            async with asyncio.TaskGroup() as group:
                for number in range(load.users):
                    group.create_task(user(number))
        except* (Invalid, Transient) as group_error:
            raise group_error.exceptions[0] from None
        return Measured(round(sum(counted) / len(counted)), figures(answers))

    async def _ask(self, words: int, output_tokens: int, seed: str) -> tuple[Answer, int]:
        rng = Random(seed)  # noqa: S311 - text, no secret
        body = {
            "model": self._model,
            "prompt": " ".join(rng.choices(_WORDS, k=words)),
            "max_tokens": output_tokens,
            "min_tokens": output_tokens,
            "ignore_eos": True,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        asked, first, tail = time.monotonic(), 0.0, b""
        try:
            async with self._session.post(f"{self._url}/v1/completions", json=body, allow_redirects=False) as response:
                if response.status != 200:
                    raise _refused(response.status, await response.content.read(_TAIL_BYTES))
                async for data in response.content.iter_any():
                    first = first or time.monotonic()
                    tail = (tail + data)[-_TAIL_BYTES:]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Transient(f"{self._url} broke off an answer: {type(error).__name__}") from error
        used = final_usage(tail)
        if used is None:
            raise Transient(f"{self._url} ended an answer without its usage; its log says why")
        if used["completion_tokens"] != output_tokens:
            raise Invalid(
                f"{self._url} gave {used['completion_tokens']} tokens where {output_tokens} were asked for: it does "
                "not know vLLM's ignore_eos, and cannot be calibrated"
            )
        return Answer(asked, first, time.monotonic(), output_tokens), int(used["prompt_tokens"])


def _refused(status: int, body: bytes) -> Invalid | Transient:
    """The engine's own words, where it has some."""
    try:
        said: Any = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = ""
    text = f"the engine answers {status}: {str(said)[:300]}".rstrip(": ")
    return Transient(text) if status in (429, 500, 502, 503, 504) else Invalid(text)
