"""Decides whether a conversation keeps its tier: always inside a tool loop, else where leaving would not pay.

The model that called a tool goes on with what the tool said: another one has other habits with calls, and a loop that
changes hands in the middle fails in ways that nobody can repeat. Between turns the tier that answered last has the
prompt in its cache, and a cached token costs less than a new one. So a cheaper tier gets the next turn only where that
saves more than the cached prefix is worth. A dearer one gets it whenever the policy asks for it: what was promised is a
quality, and staying must never be the reason why a hard question goes to the small model.

A conversation is known by what its requests have in common: the client's `prompt_cache_key`, else its system prompt and
its first question, hashed with a salt that only this process knows. Two conversations that begin alike share one
memory; at worst one of them stays where it would have moved. A response that continues another (`previous_response_id`)
goes to the replica that keeps that one, before any of this.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tierwise.routing.cost import MILLION, Usage, token_cost
from tierwise.routing.request import RequestFacts
from tierwise.routing.route import Route, RouteTier, Use
from tierwise.routing.tier_choice import CONVERSATION, ContentChoice

MOST_CONVERSATIONS = 20_000
CACHE_SECONDS = 1_800.0
"""How long a provider keeps a prompt: OpenAI's longest, since 5.6 (others drop it sooner, and staying costs little)."""
ANSWER_TOKENS = 1_024
_SYSTEM = ("system", "developer")
_RESULTS = ("tool", "function")
_RESULT_SUFFIX = "_call_output"
_KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Turn:
    """One request of a conversation: by which key the conversation is known, whether an answer has been given in it,
    and whether the request brings the results of tools which that answer called."""

    key: bytes
    goes_on: bool = True
    in_tool_loop: bool = False


@dataclass(frozen=True, slots=True)
class LastAnswer:
    """Who answered last: its tier, the tokens of prompt and answer, and when, in seconds of a monotonic clock."""

    tier: str
    prompt_tokens: int
    output_tokens: int
    at: float


class Conversations:
    """What is remembered of the latest conversations; the one that was silent longest is forgotten first."""

    def __init__(self, most: int = MOST_CONVERSATIONS) -> None:
        self._most = most
        self._last: OrderedDict[bytes, LastAnswer] = OrderedDict()

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._last)

    def last(self, turn: Turn) -> LastAnswer | None:
        """Who answered last in this conversation, if that is known here."""
        return self._last.get(turn.key)

    def answered(self, turn: Turn, answer: LastAnswer) -> None:
        """A turn was answered."""
        self._last[turn.key] = answer
        self._last.move_to_end(turn.key)
        if len(self._last) > self._most:
            self._last.popitem(last=False)


def turn_of(body: Mapping[str, Any], tenant: str, salt: bytes) -> Turn | None:
    """The turn that a body of chat completions or responses is; None for what is no conversation. `salt` has at most 64
    bytes."""
    items = body.get("messages", body.get("input"))
    asked = items if isinstance(items, list) else []
    named = body.get("prompt_cache_key")
    if isinstance(named, str) and named:
        begins = [b"named", named.encode("utf-8", "surrogatepass")]
    else:
        begins = _begins(body, asked)
        if not begins:
            return None
    found = hashlib.blake2b(key=salt, digest_size=_KEY_BYTES)
    for part in (tenant.encode("utf-8", "surrogatepass"), *begins):
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    loop = _in_tool_loop(asked)
    answered = any(isinstance(item, dict) and item.get("role") == "assistant" for item in asked)
    return Turn(found.digest(), loop or answered, loop)


def stays(
    route: Route, facts: RequestFacts, turn: Turn, last: LastAnswer | None, wanted: RouteTier, now: float
) -> ContentChoice | None:
    """Where the conversation keeps its tier: the choice that says so; None where it may go where the policy wants it.

    `wanted`: the tier that the policy would choose; `now`: seconds of the clock of `last`."""
    kept = None if last is None else route.tier(last.tier)
    if last is None or kept is None or not turn.goes_on:
        return None  # who asks what another has asked begins a conversation, and goes on with none
    if turn.in_tool_loop:
        return ContentChoice(kept.name, CONVERSATION, bound=True)
    as_dear = route.tiers.index(wanted) >= route.tiers.index(kept)
    if as_dear or kept.use is not Use.ALWAYS or switch_pays(kept, wanted, facts, last, now):
        return None
    return ContentChoice(kept.name, CONVERSATION)


def switch_pays(kept: RouteTier, wanted: RouteTier, facts: RequestFacts, last: LastAnswer, now: float) -> bool:
    """Whether the next turn at `wanted` saves more than the prefix in the cache of `kept` is worth:

        cost at kept − cost at wanted, both uncached  >  prefix tokens × (input − cached input) of kept

    Without prices per token at `kept` nothing is paid for its cache, and the policy decides. At `wanted` without prices
    the replicas are paid by the hour whether they answer this or not. The answer is expected to be as long as the last
    one."""
    rates = kept.tariff.rates
    if rates is None:
        return True
    output = last.output_tokens or min(facts.max_tokens or ANSWER_TOKENS, ANSWER_TOKENS)
    ahead = Usage(input=facts.prompt_tokens, output=output)
    there = wanted.tariff.rates
    saving = token_cost(ahead, rates) - (0 if there is None else token_cost(ahead, there))
    cached = now - last.at <= CACHE_SECONDS
    prefix = min(last.prompt_tokens + last.output_tokens, facts.prompt_tokens) if cached else 0
    return saving > prefix * (rates.input - rates.cached_input) / MILLION


def _begins(body: Mapping[str, Any], items: list[Any]) -> list[bytes]:
    """The system prompt and the first question; nothing where there is no question in a list of messages."""
    found = []
    if isinstance(instructions := body.get("instructions"), str):
        found.append(instructions.encode("utf-8", "surrogatepass"))
    for item in items:
        role = item.get("role") if isinstance(item, dict) else None
        if role in _SYSTEM or role == "user":
            found.append(_said(item.get("content")))
        if role == "user":
            return found
    return []


def _said(content: object) -> bytes:
    if isinstance(content, str):
        return content.encode("utf-8", "surrogatepass")
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") if isinstance(part, dict) else part for part in parts)
    return "\n".join(text for text in texts if isinstance(text, str)).encode("utf-8", "surrogatepass")


def _in_tool_loop(items: list[Any]) -> bool:
    """Whether results of tools stand behind the last question."""
    for item in reversed(items):
        if not isinstance(item, dict):
            continue
        kind = item.get("type")
        if item.get("role") in _RESULTS or (isinstance(kind, str) and kind.endswith(_RESULT_SUFFIX)):
            return True
        if item.get("role") == "user":
            return False
    return False
