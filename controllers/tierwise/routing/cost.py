"""Counts the money of one request, exactly.

Amounts are decimals: a million requests of 0.0000021 dollars must add up to what the provider's invoice says. The
tokens come from the answer's `usage`; the prompt's tokens include the cached and the written ones, which have prices of
their own, so they are taken out first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from tierwise.routing.route import Tariff, TokenRates

MILLION = Decimal(1_000_000)
HOUR = Decimal(3600)
NOTHING = Decimal(0)
MOST_TOKENS = 100_000_000
"""More than any request has; a larger number is a mistake that would spend a month's budget at once."""
_NANOSECONDS = Decimal("1e-9")
_PICODOLLARS = Decimal("1e-12")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request, each counted once. `estimated`: upstream has not said, they are guessed."""

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    output: int = 0
    service_tier: str = ""
    estimated: bool = False

    @property
    def prompt(self) -> int:
        """All tokens of the prompt."""
        return self.input + self.cached_input + self.cache_write


def read_usage(usage: object, service_tier: object = "") -> Usage | None:
    """The usage object of an OpenAI answer (chat, completions, embeddings or responses); None where it has no form."""
    if not isinstance(usage, dict | Mapping):  # a dict is found at once, an abstract class is asked slowly
        return None
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    if prompt is None:
        return None
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    cached = written = 0
    if isinstance(details, dict | Mapping):
        cached = min(prompt, _count(details, "cached_tokens") or 0)
        written = min(prompt - cached, _count(details, "cache_write_tokens") or 0)
    return Usage(
        input=prompt - cached - written,
        cached_input=cached,
        cache_write=written,
        output=_count(usage, "completion_tokens", "output_tokens") or 0,
        service_tier=service_tier if isinstance(service_tier, str) else "",
    )


def _count(values: Mapping[str, object], *names: str) -> int | None:
    for name in names:
        value = values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS:
            return value
    return None


def token_cost(usage: Usage, rates: TokenRates) -> Decimal:
    """US dollars: tokens of each kind times its rate."""
    return (
        usage.input * rates.input
        + usage.cached_input * rates.cached_input
        + usage.cache_write * rates.cache_write
        + usage.output * rates.output
    ) / MILLION


def cost(usage: Usage, tariff: Tariff, replica_seconds: float) -> Decimal:
    """US dollars of one request: by its tokens, else by its share of a replica's time, else nothing.

    `replica_seconds` is what `Replica.end` returned: every second in which a replica worked on n requests is a share of
    1/n seconds for each, so that the shares of all requests add up to the time in which it worked, whichever router has
    sent them."""
    rates = tariff.rates_for(usage.service_tier)
    if rates is not None:
        return token_cost(usage, rates)
    if tariff.replica_hour is not None:
        seconds = Decimal(max(0.0, replica_seconds)).quantize(_NANOSECONDS)
        return (seconds * tariff.replica_hour / HOUR).quantize(_PICODOLLARS)
    return NOTHING


def estimate(
    prompt_tokens: int, max_tokens: int | None, tariff: Tariff, service_tier: str = "", answers: int = 1
) -> Decimal:
    """What a request may cost, before it is sent: its prompt uncached, and its answer at full length, at most 4,096
    tokens, since almost no answer fills a larger allowance and a budget must not stand still for it. `answers`: how
    many are asked for; each of them has that length.

    `service_tier` is what the client asks for. A provider may bill it as an ordinary one, so the dearer one counts."""
    if tariff.rates is None:
        return NOTHING
    answer = answers * min(max_tokens if max_tokens is not None else 1_024, 4_096)
    return max(
        (prompt_tokens * max(rates.input, rates.cache_write) + answer * rates.output) / MILLION
        for rates in (tariff.rates, tariff.rates_for(service_tier) or tariff.rates)
    )
