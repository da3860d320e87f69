"""Serves a route with a cascade before two scripted servers, and writes what they answer."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any

import orjson

from tests.unit.router.logprob_texts import chat_event, entry
from tests.unit.router.running_router import Router, route, running, tier
from tests.unit.router.scripted_upstream import DONE, ROLE, USAGE, Script, Upstream, stream, upstream
from tierwise.routing.route import Cascade, Tariff, TokenRates

DEAR = TokenRates(Decimal(10), Decimal(10), Decimal(10), Decimal(20))
RULE = Cascade(hold_tokens=4, min_mean_log_probability=-0.5, max_escalated_percent=100)
SURE, UNSURE = -0.1, -2.0
STOP = chat_event("", None, "stop")
LARGE = stream(ROLE, chat_event("large", None), STOP, USAGE, DONE)
LARGE_TEXT = ROLE + chat_event("large", None) + STOP + DONE


def small(*values: float, tail: Sequence[bytes] = (STOP, USAGE, DONE)) -> list[bytes]:
    """A streamed answer of one token per event."""
    return [ROLE, *(chat_event(f"s{number} ", [value]) for number, value in enumerate(values)), *tail]


def plain(*values: float) -> bytes:
    """What a client gets of it that has asked for no log-probabilities and no usage."""
    return ROLE + b"".join(chat_event(f"s{number} ", None) for number in range(len(values))) + STOP + DONE


@contextlib.asynccontextmanager
async def cascading(
    cheap: Script, *, dear: Script = LARGE, rule: Cascade = RULE, sweep: float | None = None, **changes: Any
) -> AsyncIterator[tuple[Router, Upstream, Upstream]]:
    async with upstream(default=cheap) as one, upstream(default=dear) as two:
        served = route(tier("small", one), tier("large", two, tariff=Tariff(DEAR)), cascade=rule, **changes)
        async with running(served, sweep_seconds=sweep) as router:
            yield router, one, two


def decided(router: Router) -> dict[str, int]:
    return {f"{decision} {mode}": count for (decision, mode), count in router.state.ledger.cascades.items()}


def whole(value: float | None, text: str = "hi", **message: Any) -> bytes:
    """An answer in one piece."""
    logprobs = None if value is None else {"content": [entry(text, value)] * 3}
    said = {"role": "assistant", "content": text, **message}
    choice = {"index": 0, "message": said, "logprobs": logprobs, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
    return orjson.dumps({"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage})
