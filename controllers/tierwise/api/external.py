"""Describes a model that somebody else serves, and what serving costs here and there."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from tierwise.api.base import Model, Money, Rule
from tierwise.api.model_source import SecretKeyRef


class Price(Model):
    """What the hardware of this tier costs."""

    gpu_hour: Money = Field(description='US dollars for one GPU for one hour, e.g. "2.49".')


class TokenPrices(Model):
    """US dollars per million tokens of an external API."""

    input: Money = Field(description="Uncached input tokens.")
    cached_input: Money | None = Field(default=None, description="Input tokens read from the cache; default: input.")
    cache_write: Money | None = Field(default=None, description="Input tokens written to the cache; default: input.")
    output: Money = Field(description="Output tokens, reasoning included.")


class ServiceTierPrices(Model):
    """Prices of answers that a provider bills as another service tier. What counts is what the answer says it was."""

    flex: TokenPrices | None = Field(default=None, description="Slower answers at a lower price.")
    batch: TokenPrices | None = Field(default=None, description="Answers of a batch.")
    priority: TokenPrices | None = Field(default=None, description="Faster answers at a higher price.")


class External(Model):
    """A model that an external OpenAI-compatible API serves."""

    cel = (
        Rule(
            expression="!self.baseURL.endsWith('/')",
            message="external.baseURL must not end with a slash: write https://HOST/v1",
            field_path=".baseURL",
        ),
        Rule(
            expression="!self.baseURL.matches('/(chat/completions|completions|embeddings|responses|v1/models)$')",
            message="external.baseURL ends where the path of a request begins: write https://HOST/v1",
            field_path=".baseURL",
        ),
        Rule(
            expression="!self.baseURL.matches(':(0+|6553[6-9]|655[4-9][0-9]|65[6-9][0-9]{2}|6[6-9][0-9]{3}|"
            "[7-9][0-9]{4})(/|$)')",
            message="the port in external.baseURL is from 1 to 65535",
            field_path=".baseURL",
        ),
    )

    base_url: Annotated[
        str,
        StringConstraints(
            pattern=r"^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$", max_length=512
        ),
    ] = Field(
        alias="baseURL",
        description="Base URL as a client of the API takes it, e.g. https://api.example.com/v1. "
        "Where a provider calls its version otherwise, its path: /v1beta/openai. Without a path /v1 is added.",
    )
    model: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$", max_length=128)] = Field(
        description="Model name at the provider."
    )
    api_key_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Key of the API, in a Secret of the tier's namespace. Unset: none is sent, as to a server without "
        "keys in the cluster.",
    )
    prices: TokenPrices = Field(description="The provider's four prices.")
    service_tier_prices: ServiceTierPrices | None = Field(
        default=None, description="Prices of answers whose service_tier is flex, batch or priority; default: prices."
    )
