"""Asks tiers by their names through a router, at a bounded rate, and waits as long as it is told to.

A tier's own name reaches that tier and no other (`directAccess`), and the answer says which tier it came from: an
answer of another one would make a wrong label, so it ends the run. What no retry would help (a prompt that is too long)
is an answer of its own kind. Nothing that upstream says in an error is repeated but its status and code: it may hold
the prompt.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from tierwise.errors import Invalid, Refused, Transient
from tierwise.routing.cost import read_usage
from tierwise.routing.route import TokenRates
from tierwise_training import prices
from tierwise_training.questions import Answer, Question

TRIES = 6
MOST_BACKOFF_SECONDS = 30.0
MOST_WAIT_SECONDS = 3600.0
MOST_ANSWER_BYTES = 1 << 24
_REFUSED = (400, 413, 422)
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Limits:
    """`rate` in requests per second, `concurrency` in requests at a time, `timeout_seconds` for one request."""

    rate: float = 5.0
    concurrency: int = 8
    timeout_seconds: float = 600.0


class Router:
    """An OpenAI endpoint, asked at a bounded rate. To be used as an asynchronous context."""

    def __init__(self, url: str, key: str | None, rates: Mapping[str, TokenRates], limits: Limits) -> None:
        """`url`: with or without /v1."""
        self._url = url.rstrip("/").removesuffix("/v1")
        self._headers = {"User-Agent": "tierwise"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._rates = rates
        self._limits = limits
        self._open = asyncio.Semaphore(limits.concurrency)
        self._next_at = 0.0
        self._closed_until: dict[str, float] = {}
        self.requests = 0

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=self._limits.timeout_seconds)
        # Without trust_env: it would read a .netrc, and send what stands there.
        self._session = aiohttp.ClientSession(
            headers=self._headers, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def models(self) -> list[str]:
        """The model names that the endpoint serves. Raises Invalid or Transient."""
        try:
            async with self._session.get(f"{self._url}/v1/models", allow_redirects=False) as answer:
                body = await self._body(answer)
                self._check_access(answer.status)
                if answer.status != 200:
                    raise Transient(f"{self._url} answers {answer.status} for its models")
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise Transient(f"{self._url} cannot be reached: {type(error).__name__}") from error
        data = body.get("data") if isinstance(body, dict) else None
        if not isinstance(data, list):
            raise Invalid(f"{self._url}/v1/models does not answer as OpenAI's API does; is --route-url a router's?")
        return [str(one.get("id")) for one in data if isinstance(one, dict)]

    async def ask(self, question: Question) -> Answer:
        """The answer. Raises Invalid where everything would go wrong, Transient when the tries are used up, Refused
        when upstream says that waiting does not help."""
        said = ""
        for number in range(TRIES):
            async with self._open:
                await self._turn(question.tier)
                self.requests += 1
                try:
                    answer, wait, said = await self._once(question)
                except (aiohttp.ClientError, OSError) as error:
                    answer, wait, said = None, None, type(error).__name__
            if answer is not None:
                return answer
            backoff = min(MOST_BACKOFF_SECONDS, 2.0**number) if wait is None else wait
            if wait is not None:
                until = asyncio.get_running_loop().time() + wait
                self._closed_until[question.tier] = max(until, self._closed_until.get(question.tier, 0.0))
            if number + 1 < TRIES:
                await asyncio.sleep(backoff)
        raise Transient(f"tier {question.tier!r} gave no answer in {TRIES} tries: {said}")

    async def _turn(self, tier: str) -> None:
        """Wait for a place in the rate, and until the tier takes requests again."""
        now = asyncio.get_running_loop().time
        if (closed := self._closed_until.get(tier, 0.0)) > now():
            await asyncio.sleep(closed - now())
        at = max(now(), self._next_at)
        self._next_at = at + 1 / self._limits.rate
        await asyncio.sleep(at - now())

    async def _once(self, question: Question) -> tuple[Answer | None, float | None, str]:
        """(the answer, or the seconds to wait if they are known, and what happened)."""
        url = f"{self._url}/v1/chat/completions"
        async with self._session.post(url, json=question.body, allow_redirects=False) as answer:
            body = await self._body(answer)
            status, headers = answer.status, answer.headers
        if status == 200:
            self._check_tier(question, headers.get("x-tierwise-tier"))
            read = self._read(question, body)
            return read, None, "an answer that is no chat completion"
        self._check_access(status)
        code = _code(body)
        if status == 404:
            raise Invalid(f"{self._url} does not know the model {question.tier!r} ({code})")
        if status in _REFUSED:
            return Answer("", refused=f"{status} {code}".strip()), None, ""
        if headers.get("x-should-retry", "").lower() == "false":
            raise Refused(f"tier {question.tier!r} refuses ({status} {code}), and waiting does not help", status=status)
        wait = retry_after(headers.get("Retry-After"), datetime.now(UTC))
        if wait is not None and wait > MOST_WAIT_SECONDS:
            raise Refused(f"tier {question.tier!r} asks to wait for {wait:.0f} s ({status} {code})", status=status)
        return None, wait, f"{status} {code}".strip()

    async def _body(self, answer: aiohttp.ClientResponse) -> Any:
        raw = await _whole(answer)
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            return None

    def _check_access(self, status: int) -> None:
        if status in (401, 403):
            raise Invalid(f"{self._url} answers {status}: give a key that it knows with --api-key-file")
        if 300 <= status < 400:
            raise Invalid(f"{self._url} redirects; give the address itself")

    def _check_tier(self, question: Question, tier: str | None) -> None:
        if tier is not None and tier != question.tier:
            raise Invalid(
                f"tier {question.tier!r} was asked by its name and {tier!r} answered: labels need directAccess, "
                "and a name that is not one of modelNames"
            )

    def _read(self, question: Question, body: Any) -> Answer | None:
        choices = body.get("choices") if isinstance(body, dict) else None
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return None
        message = choices[0].get("message")
        if not isinstance(message, dict):
            return None
        usage = read_usage(body.get("usage"), body.get("service_tier"))
        price = prices.cost(self._rates, question.tier, usage)
        return Answer(
            text=_said(message),
            input_tokens=0 if usage is None else usage.prompt,
            output_tokens=0 if usage is None else usage.output,
            reasoning_tokens=_reasoning(body.get("usage")),
            cached_tokens=0 if usage is None else usage.cached_input,
            finish_reason=str(choices[0].get("finish_reason") or ""),
            model=str(body.get("model") or "")[:128],
            cost=None if price is None else f"{price.normalize():f}",
        )


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for part in answer.content.iter_any():
        size += len(part)
        if size > MOST_ANSWER_BYTES:
            raise aiohttp.ClientPayloadError("the answer is too long")
        parts.append(part)
    return b"".join(parts)


def _said(message: Mapping[str, Any]) -> str:
    """The text of a message; calls of tools follow it as JSON, since they are what is right or wrong then."""
    text = message.get("content")
    parts = [text] if isinstance(text, str) and text else []
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            parts.append(json.dumps({"name": function.get("name"), "arguments": function.get("arguments")}))
    return "\n".join(parts)


def _reasoning(usage: object) -> int | None:
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    tokens = details.get("reasoning_tokens") if isinstance(details, dict) else None
    return tokens if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0 else None


def _code(body: object) -> str:
    """The code of an error in OpenAI's shape; only a short word of it."""
    error = body.get("error") if isinstance(body, dict) else None
    code = error.get("code") or error.get("type") if isinstance(error, dict) else None
    return code if isinstance(code, str) and _CODE.fullmatch(code) else ""


def retry_after(said: str | None, now: datetime) -> float | None:
    """The seconds of a Retry-After, which is a number or a date; None where there is none or it is neither."""
    if said is None:
        return None
    text = said.strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text):
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())


def read_key(path: Path | None) -> str | None:
    """The key in a file; None without one. Raises Invalid, which does not say it."""
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"the key file {path} cannot be read: {type(error).__name__}") from error
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise Invalid(f"the key file {path} must hold one key and nothing else")
    return text
