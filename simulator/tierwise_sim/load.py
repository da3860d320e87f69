"""Generates load, and records what a client sees: first tokens, answers, refusals.

A load generator over the OpenAI chat API: a trace at its own times whatever the answers do (open loop), or a
fixed number of users who each wait for their answer (closed loop). Every request opens a connection of its
own, so that a Service balances requests and not clients. Tokens are taken from the usage the server reports,
never from chunks: one chunk may carry many.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from tierwise_sim.tokens import answer_tokens
from tierwise_sim.workloads import (
    PREFIX_BLOCK_TOKENS,
    Arrival,
    compress,
    read_azure,
    read_mooncake,
    synthetic_conversation,
)

# Tokens that a chat prompt of one user message has besides its text (role, end, answer's role).
TEMPLATE_TOKENS = 3
_TAIL_BYTES = 4096
Messages = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Result:
    """One request as its client saw it; seconds, `at` since the start of the run, `ttft` None without a token.

    `outcome` is "ok", "http 503" and the like, "aborted", or the name of a connection error. `answered_by` and `why`
    are what a router's headers say: the tier, and the reason for it. `ending`: the answer's last words, a few kilobytes
    of the stream.
    """

    at: float
    lag: float
    outcome: str
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    ttft: float | None = None
    seconds: float = 0.0
    answered_by: str = ""
    why: str = ""
    ending: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """A whole run: counts, token sums as the servers reported them, and latencies of answered requests."""

    requests: int
    ok: int
    outcomes: dict[str, int]
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    ttft_p50: float | None
    ttft_p95: float | None
    latency_p50: float | None
    latency_p95: float | None
    max_lag: float


def percentile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile of unsorted values, None of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def summarise(results: Sequence[Result]) -> Summary:
    """Sum a run up."""
    answered = [result for result in results if result.outcome == "ok"]
    first = [result.ttft for result in answered if result.ttft is not None]
    lasting = [result.seconds for result in answered]
    names = sorted({result.outcome for result in results})
    return Summary(
        requests=len(results),
        ok=len(answered),
        outcomes={name: sum(1 for result in results if result.outcome == name) for name in names},
        prompt_tokens=sum(result.prompt_tokens for result in results),
        cached_tokens=sum(result.cached_tokens for result in results),
        output_tokens=sum(result.output_tokens for result in results),
        ttft_p50=percentile(first, 0.5),
        ttft_p95=percentile(first, 0.95),
        latency_p50=percentile(lasting, 0.5),
        latency_p95=percentile(lasting, 0.95),
        max_lag=max((result.lag for result in results), default=0.0),
    )


def prompt_text(arrival: Arrival, seed: str) -> str:
    """A prompt of exactly the arrival's tokens for the simulated tokenizer; equal prefix ids, equal text."""
    wanted = max(1, arrival.prompt_tokens - TEMPLATE_TOKENS)
    words: list[str] = []
    for block in arrival.prefix:
        if len(words) >= wanted:
            break
        words += answer_tokens(PREFIX_BLOCK_TOKENS, Random(f"prefix {block}"))  # noqa: S311 - text, no secret
    if len(words) < wanted:
        words += answer_tokens(wanted - len(words), Random(seed))  # noqa: S311 - text, no secret
    return " ".join(word.strip() for word in words[:wanted])


class LoadClient:
    """Sends chat requests for one model to one base URL (without /v1). Use as an async context manager."""

    def __init__(
        self,
        url: str,
        model: str,
        timeout_seconds: float = 600.0,
        headers: dict[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = f"{url.rstrip('/')}/v1/chat/completions"
        self._model = model
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=10)
        self._headers = headers
        self._clock = clock
        self._start = clock()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> LoadClient:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, headers=self._headers)
        self._start = self._clock()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def now(self) -> float:
        """Seconds since the client was opened."""
        return self._clock() - self._start

    async def send(
        self, arrival: Arrival, seed: str, planned: float | None = None, messages: Messages | None = None
    ) -> Result:
        """One streamed request with an answer of exactly `output_tokens`; never raises for a failed one. `messages`:
        in place of words that the seed makes."""
        if self._session is None:
            raise RuntimeError("LoadClient is used outside its async with block")
        body = {
            "model": self._model,
            "messages": messages or [{"role": "user", "content": prompt_text(arrival, seed)}],
            "max_tokens": arrival.output_tokens,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        at = self.now()
        lag = at - planned if planned is not None else 0.0
        first: float | None = None
        tail = b""
        try:
            async with self._session.post(self._url, json=body) as response:
                tier, why = (response.headers.get(f"x-tierwise-{name}", "") for name in ("tier", "reason"))
                if response.status != 200:
                    return Result(at, lag, f"http {response.status}", seconds=self.now() - at)
                async for data in response.content.iter_any():
                    if first is None and data:
                        first = self.now() - at
                    tail = (tail + data)[-_TAIL_BYTES:]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Result(at, lag, type(error).__name__, ttft=first, seconds=self.now() - at)
        used = final_usage(tail)
        if used is None:
            return Result(at, lag, "aborted", ttft=first, seconds=self.now() - at)
        details = used.get("prompt_tokens_details") or {}
        return Result(
            at,
            lag,
            "ok",
            prompt_tokens=used["prompt_tokens"],
            cached_tokens=details.get("cached_tokens") or 0,
            output_tokens=used["completion_tokens"],
            ttft=first,
            seconds=self.now() - at,
            answered_by=tier,
            why=why,
            ending=last_words(tail),
        )


def final_usage(tail: bytes) -> dict[str, Any] | None:
    """The usage of a streamed answer from its last bytes.

    None when the stream ended without it, with an error event or aborted: [DONE] alone is no success.
    """
    found: dict[str, Any] | None = None
    for line in tail.split(b"\n"):
        if not line.startswith(b"data: {"):
            continue
        try:
            event = json.loads(line[6:])
        except json.JSONDecodeError:
            return None
        if "error" in event or any(choice.get("finish_reason") == "abort" for choice in event.get("choices", [])):
            return None
        found = event.get("usage") or found
    return found


def last_words(tail: bytes) -> str:
    """The text of those events of a streamed chat completion that lie wholly within its last bytes."""
    words: list[str] = []
    for line in tail.split(b"\n"):
        if not line.startswith(b"data: {"):
            continue
        try:
            event = json.loads(line[6:])
        except json.JSONDecodeError:
            continue
        words += [(choice.get("delta") or {}).get("content") or "" for choice in event.get("choices", [])]
    return "".join(words)


async def open_loop(
    client: LoadClient, arrivals: Sequence[Arrival], done: Callable[[Result], None], seed: str = "0"
) -> list[Result]:
    """Send every arrival at its own time, however many are still open; `done` hears of each as it ends."""
    start = client.now()
    results: list[Result] = []

    async def one(index: int, arrival: Arrival) -> None:
        result = await client.send(arrival, f"{seed} {index}", start + arrival.at)
        results.append(result)
        done(result)

    async with asyncio.TaskGroup() as group:
        for index, arrival in enumerate(arrivals):
            await asyncio.sleep(max(0.0, start + arrival.at - client.now()))
            group.create_task(one(index, arrival))
    return results


async def closed_loop(
    client: LoadClient, users: int, request: Arrival, seconds: float, done: Callable[[Result], None]
) -> list[Result]:
    """`users` clients that each send the same kind of request again as soon as it is answered.

    After `seconds` nobody starts another; open requests are finished. A refused user waits a second.
    """
    results: list[Result] = []

    async def user(number: int) -> None:
        turn = 0
        while client.now() < seconds:
            result = await client.send(request, f"user {number} turn {turn}")
            results.append(result)
            done(result)
            turn += 1
            if result.outcome != "ok":
                await asyncio.sleep(1.0)

    async with asyncio.TaskGroup() as group:
        for number in range(users):
            group.create_task(user(number))
    return results


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tierwise-load", description="Load an OpenAI-compatible server.")
    parser.add_argument("--url", required=True, help="base URL without /v1")
    parser.add_argument("--model", required=True)
    parser.add_argument("--users", type=int, help="closed loop with this many users instead of a trace")
    parser.add_argument("--prompt-tokens", type=int, default=500)
    parser.add_argument("--output-tokens", type=int, default=200)
    parser.add_argument("--trace", default="synthetic", help="synthetic, or a file: *.csv (Azure), *.jsonl (Mooncake)")
    parser.add_argument("--rate", type=float, default=1.0, help="requests per second of the synthetic trace")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, in seconds of the trace or of the wall")
    parser.add_argument("--compress", type=float, default=1.0, help="run the trace this many times faster")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, help="write one JSON line per request")
    return parser.parse_args(given)


def _trace(options: argparse.Namespace) -> tuple[Arrival, ...]:
    if options.trace == "synthetic":
        arrivals = synthetic_conversation(options.seconds, options.rate, options.seed)
    else:
        path = Path(options.trace)
        arrivals = read_mooncake(path) if path.suffix == ".jsonl" else read_azure(path)
        arrivals = tuple(arrival for arrival in arrivals if arrival.at < options.seconds)
    return compress(arrivals, options.compress)


async def _run(options: argparse.Namespace) -> list[Result]:
    async with LoadClient(options.url, options.model) as client:
        if options.users:
            request = Arrival(0.0, options.prompt_tokens, options.output_tokens)
            return await closed_loop(client, options.users, request, options.seconds, lambda _: None)
        return await open_loop(client, _trace(options), lambda _: None, str(options.seed))


def main(given: Sequence[str] | None = None) -> int:
    """Run a load from the command line; prints the summary as JSON, exits 1 when nothing was answered."""
    options = _arguments(given)
    results = asyncio.run(_run(options))
    if options.report is not None:
        lines = [json.dumps(asdict(result)) for result in sorted(results, key=lambda result: result.at)]
        options.report.write_text("\n".join([*lines, ""]), encoding="utf-8")
    summary = summarise(results)
    sys.stdout.write(json.dumps(asdict(summary), indent=2) + "\n")
    return 0 if summary.ok else 1


if __name__ == "__main__":
    sys.exit(main())
