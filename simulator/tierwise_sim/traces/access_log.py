"""Reads access logs: one JSON object (or CSV row) per request, as proxies, gateways and clients write them.

Every product names the same few things differently, so names are looked for, in the row and in the objects that hold
usage: OpenAI's and Anthropic's usage objects, LiteLLM's spend and request logs, OpenTelemetry's gen_ai attributes,
OpenAI's batch results, Tierwise's own router. What a log does not say is not guessed, but for the prefix of cached
tokens (see `beginnings`). Requests that failed are left out and counted: nobody computed their tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import xxhash

from tierwise_sim.traces.arrival import Arrival, Trace
from tierwise_sim.traces.beginnings import ASSUMED, Beginnings
from tierwise_sim.traces.beginnings import BLOCK_TOKENS as SHARED_BLOCK
from tierwise_sim.traces.errors import FieldProblem
from tierwise_sim.traces.fields import Row, count, first, moment, number, shown, text, tokens
from tierwise_sim.traces.gathering import WHOLE, Gathering, Window
from tierwise_sim.traces.lines import first_line, is_json, objects, table

TIME = (
    "startTime", "start_time", "request_start_time", "request_created_at", "timestamp", "time", "ts", "@timestamp",
    "created_at", "createdAt", "created", "date", "datetime",
)  # fmt: skip
PROMPT = (
    "prompt_tokens", "promptTokens", "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens",
    "llm.usage.prompt_tokens", "input_tokens", "inputTokens", "num_prompt_tokens", "context_tokens",
)  # fmt: skip
OUTPUT = (
    "completion_tokens", "completionTokens", "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens",
    "llm.usage.completion_tokens", "output_tokens", "outputTokens", "num_generation_tokens", "generated_tokens",
)  # fmt: skip
CACHED = ("cached_tokens", "cachedInputTokens", "cached_input_tokens", "input_cached_tokens", "cache_read_input_tokens")
TENANT = (
    "tenant", "tenant_id", "tenantId", "team_alias", "user_api_key_team_alias", "team_id", "organization",
    "organization_id", "project_id", "end_user", "user", "user_id",
)  # fmt: skip
MODEL = ("model_group", "gen_ai.request.model", "model", "model_name", "request_model")
BLOCKS = ("prefix", "hash_ids", "prefix_hashes", "prefixHashes", "prefix_hash", "prefixHash")
BLOCK_TOKENS = ("block_tokens", "blockTokens", "block_size", "prefix_tokens", "prefixTokens")
STATUS = ("status", "status_code", "http_status", "statusCode", "response_code")

_HOLDERS = (
    ("usage",), ("response",), ("response", "usage"), ("response", "body"), ("response", "body", "usage"),
    ("attributes",), ("metadata",), ("metadata", "usage_object"),
)  # fmt: skip
_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_FAILED = frozenset({"failure", "failed", "error", "cancelled"})
_NO_ANSWER = "say that the request failed, or that it had no tokens"
_ROUTER_TIMES = (
    "times are those of the router's log: the end in whole seconds, less the milliseconds that the request took"
)
_MOST_STATUS = 999
_ERRORS_FROM = 400


def read(path: Path, window: Window = WHOLE) -> Trace:
    """The trace in this log. Raises TraceError with file, line and reason."""
    gathering = Gathering(path, window)
    parser = _Parser()
    gathering.read(_rows(path), parser)
    return gathering.trace(path.name, f"{path.name} (access log)", parser.notes())


def _rows(path: Path) -> Iterator[tuple[int, Row]]:
    if not is_json(first_line(path)):
        yield from table(path)
        return
    for line, found in objects(path):
        if isinstance(found.get("data"), list):  # a page of an API
            yield from ((line, each) for each in found["data"] if isinstance(each, Mapping))
        else:
            yield line, found


class _Parser:
    """Of one log: the beginnings that its requests share belong to it."""

    def __init__(self) -> None:
        self._beginnings = Beginnings()
        self._cached = self._router = False

    def notes(self) -> list[str]:
        """What was assumed."""
        return [note for note, used in ((ASSUMED, self._cached), (_ROUTER_TIMES, self._router)) if used]

    def __call__(self, row: Row, gathering: Gathering) -> Arrival | None:
        """One row as a request; None where it had no answer."""
        if "charges" in row and "firstTier" in row:
            return self._of_router(row, gathering)
        places = _places(row)
        if _failed(places):
            gathering.left_out[_NO_ANSWER] += 1
            return None
        at = _required(places, TIME, "time of the request")
        prompt, cached = _prompt(places)
        output = _count(places, OUTPUT, "output tokens")
        if not prompt and not output:
            gathering.left_out[_NO_ANSWER] += 1
            return None
        if not output:
            gathering.counted["have no output tokens: one is assumed"] += 1
        return self._arrival(row, places, moment(at[1], at[0]), (prompt, cached, output))

    def _arrival(self, row: Row, places: list[Row], at: float, spent: tuple[int, int, int]) -> Arrival:
        prompt, cached, output = spent
        tenant, model = _name(places, TENANT), _name(places, MODEL)
        blocks, block_tokens = _prefix(row)
        if not blocks and cached:
            self._cached = True
            blocks = self._beginnings.for_cached(tenant, model, cached, prompt)
            block_tokens = SHARED_BLOCK if blocks else 0
        return Arrival(at, max(1, prompt), max(1, output), blocks, block_tokens, tenant, model, _label(row))

    def _of_router(self, row: Row, gathering: Gathering) -> Arrival | None:
        """A line of the router's access log: attempts that gave no answer are no requests of their own."""
        charges = row["charges"]
        if not isinstance(charges, list) or not all(isinstance(each, dict) for each in charges):
            raise FieldProblem(f"charges is {shown(charges)}", "a list of objects")
        answers = [each for each in charges if each.get("for") == "answer"]
        if not answers:
            gathering.left_out[_NO_ANSWER] += 1
            return None
        self._router = True
        at = moment(row.get("time"), "time") - number(row.get("ms"), "ms") / 1000
        of = answers[-1]
        cached = count(of.get("cachedInputTokens"), "cachedInputTokens")
        prompt = (
            count(of.get("inputTokens"), "inputTokens") + cached + count(of.get("cacheWriteTokens"), "cacheWriteTokens")
        )
        return self._arrival(row, [row], at, (prompt, cached, count(of.get("outputTokens"), "outputTokens")))


def _places(row: Row) -> list[Row]:
    """The row and the objects in it that may hold what is looked for."""
    found = [row]
    for path in _HOLDERS:
        inner: object = row
        for name in path:
            inner = inner.get(name) if isinstance(inner, Mapping) else None
        if isinstance(inner, Mapping):
            found.append(inner)
    return found


def _required(places: list[Row], names: tuple[str, ...], what: str) -> tuple[str, Any]:
    found = first(places, names)
    if found is None:
        raise FieldProblem(f"no {what}", f"one of {', '.join(names)}")
    return found


def _count(places: list[Row], names: tuple[str, ...], what: str) -> int:
    name, value = _required(places, names, what)
    return count(value, name)


def _prompt(places: list[Row]) -> tuple[int, int]:
    """Tokens of the prompt, and how many of them were cached. Anthropic's own input_tokens are without those."""
    name, value = _required(places, PROMPT, "input tokens")
    prompt = count(value, name)
    details = [place[each] for place in places for each in _DETAILS if isinstance(place.get(each), Mapping)]
    found = first([*details, *places], CACHED)
    cached = 0 if found is None else count(found[1], found[0])
    written = first(places, ("cache_creation_input_tokens",))
    if name == "input_tokens" and not details and (written is not None or (found and found[0] == CACHED[-1])):
        prompt += cached + (0 if written is None else count(written[1], written[0]))
    if cached > prompt:
        raise FieldProblem(f"{cached} cached of {prompt} input tokens", "cached tokens to be part of the input")
    return prompt, cached


def _name(places: list[Row], names: tuple[str, ...]) -> str:
    found = first(places, names)
    return "" if found is None or isinstance(found[1], dict | list) else text(found[1])


def _failed(places: list[Row]) -> bool:
    found = first(places, STATUS)
    if found is None:
        return False
    value = found[1]
    if isinstance(value, str) and value.lower() in _FAILED:
        return True
    return text(value).isdigit() and _ERRORS_FROM <= int(text(value)) <= _MOST_STATUS


def _label(row: Row) -> float | None:
    value = row.get("label")
    if value is None or value == "":
        return None
    return float(value) if isinstance(value, bool) else number(value, "label")


def _prefix(row: Row) -> tuple[tuple[int, ...], int]:
    """The hashes of the prompt's leading blocks, and the tokens of a block."""
    found = first((row,), BLOCKS)
    if found is None or found[1] == []:
        return (), 0
    value = found[1]
    hashes = value if isinstance(value, list) else [value]
    size = first((row,), BLOCK_TOKENS)
    if size is None:
        raise FieldProblem(f"{found[0]} without the tokens of a block", f"one of {', '.join(BLOCK_TOKENS)}")
    return tuple(_hash(each, found[0]) for each in hashes), tokens(size[1], size[0])


def _hash(value: object, name: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value:
        return xxhash.xxh3_64_intdigest(value.encode())
    raise FieldProblem(f"a block of {name} is {shown(value)}", "a whole number or a text")
