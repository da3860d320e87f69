"""Reads what the tiers' tokens cost: from a file of prices by tier, or from the route file of the router itself.

Prices are those of docs/routing.md: US dollars per million tokens, the same words. A tier that is paid by its replicas
has no price per token, and its requests are not counted: its replicas cost the same with and without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import yaml
from pydantic import ValidationError

from tierwise.api.external import TokenPrices
from tierwise.errors import Invalid
from tierwise.routing.cost import Usage, token_cost
from tierwise.routing.route import TokenRates

EXAMPLE = 'large: {input: "2.50", output: "10.00"}'


def parse(text: str, source: str) -> dict[str, TokenRates]:
    """The rates of each tier that has them. Raises Invalid."""
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Invalid(f"the prices in {source} are not YAML") from error
    if isinstance(given, dict) and isinstance(given.get("tiers"), list):  # a route file
        given = {
            str(tier.get("name")): tier["prices"]
            for tier in given["tiers"]
            if isinstance(tier, dict) and tier.get("prices") is not None
        }
    if not isinstance(given, dict):
        raise Invalid(f"the prices in {source} are no table; write a line like {EXAMPLE}, or give a route file")
    return {str(name): _rates(str(name), prices, source) for name, prices in sorted(given.items())}


def _rates(tier: str, given: object, source: str) -> TokenRates:
    try:
        prices = TokenPrices.model_validate(_as_text(given), extra="forbid")
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in mistake["loc"]) or "prices"
        raise Invalid(f"the prices of tier {tier!r} in {source}: {place}: {mistake['msg']}") from error
    price = Decimal(prices.input)
    return TokenRates(
        input=price,
        cached_input=price if prices.cached_input is None else Decimal(prices.cached_input),
        cache_write=price if prices.cache_write is None else Decimal(prices.cache_write),
        output=Decimal(prices.output),
    )


def _as_text(given: object) -> object:
    """Amounts may be written as numbers: YAML reads 2.50 as one."""
    if not isinstance(given, dict):
        return given
    numbers = (int, float)
    return {
        name: str(value) if isinstance(value, numbers) and not isinstance(value, bool) else value
        for name, value in given.items()
    }


def read(path: Path | None) -> dict[str, TokenRates]:
    """The rates in a file; none without one. Raises Invalid."""
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"the prices in {path} cannot be read: {type(error).__name__}") from error
    return parse(text, str(path))


def cost(rates: Mapping[str, TokenRates], tier: str, usage: Usage | None) -> Decimal | None:
    """US dollars of a request; None where the tier has no price, or upstream has not said its tokens."""
    price = rates.get(tier)
    return None if price is None or usage is None else token_cost(usage, price)
