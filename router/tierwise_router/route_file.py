"""Reads a route from a file: what `tierwise router --file` serves.

A file is written by a person, so an unknown word in it is an error, and so is everything that would only fail with the
first request: a default tier that is not there, a key file that cannot be read, a time zone that nobody knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, StringConstraints, ValidationError

from tierwise import route_values
from tierwise.api.base import Model, Money
from tierwise.api.content_routing import RoutePressure, RouteQuality
from tierwise.api.external import TokenPrices
from tierwise.api.modelroute import (
    CommonPolicy,
    HeaderName,
    ModelName,
    Queue,
    RouteBudget,
    RouteDeadlines,
    RouteOverflow,
    TierName,
)
from tierwise.errors import Invalid
from tierwise.route_values import rates
from tierwise.routing import cascade
from tierwise.routing import route as values
from tierwise.routing.request import RequestFacts
from tierwise.routing.tier_choice import choose_tiers
from tierwise_router.source import Loaded, TLSFiles
from tierwise_router.upstream import check_addresses

_URL = r"^https?://[A-Za-z0-9.\[\]:-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$"
Url = Annotated[str, StringConstraints(pattern=_URL, max_length=512)]
_HASH = re.compile(r"[0-9a-f]{64}")


class FileProvider(Model):
    """An external OpenAI-compatible API."""

    base_url: Url = Field(alias="baseURL", description="As a client of the API takes it, with /v1.")
    api_key_file: str | None = Field(default=None, description="File that holds the key; read again when it changes.")


class FileTier(Model):
    """One tier: servers of ours, or a provider."""

    name: TierName
    model: ModelName = Field(description="What the servers call the model.")
    use: Literal["Always", "Overflow"] = "Always"
    servers: list[Url] = Field(default_factory=list, max_length=256)
    provider: FileProvider | None = None
    concurrency: int = Field(default=256, ge=1, le=100_000, description="Requests at a time for one server.")
    context_length: int | None = Field(default=None, ge=16)
    keep_alive_seconds: float = Field(
        default=4.0, ge=0, le=3600, description="Idle connections are kept so long; must be less than the server's."
    )
    prices: TokenPrices | None = Field(default=None, description="US dollars per million tokens.")
    service_tier_prices: dict[str, TokenPrices] = Field(
        default_factory=dict, description="Other prices for answers with this service_tier (flex, batch, priority)."
    )
    replica_hour: Money | None = Field(default=None, description="US dollars for one server for one hour.")


class FileClients(Model):
    """Who may ask."""

    keys_directory: str | None = Field(
        default=None, description="One file per tenant, named as the tenant, with SHA-256 hashes of its keys."
    )
    tenant_header: HeaderName | None = Field(default=None, description="Names the tenant where no key does.")


class FileTLS(Model):
    """The certificate of the endpoint; read again when it changes."""

    certificate_file: str = Field(description="PEM: the certificate, then its chain.")
    key_file: str = Field(description="PEM, without a pass phrase.")


class FileClassifier(Model):
    """A classifier that was trained with `tierwise train` on labels of this route; read again when it changes."""

    file: str = Field(description="classifier.bin; a relative path begins at the route's file.")
    quality_percent: int = Field(default=95, ge=50, le=100)


class FilePolicy(CommonPolicy):
    """Which tier answers a request that names the route and no tier."""

    classifier: FileClassifier | None = None


class RouteFile(Model):
    """A route."""

    name: TierName = "route"
    model_names: list[ModelName] = Field(default_factory=list, max_length=16)
    direct_access: bool = True
    tiers: list[FileTier] = Field(min_length=1, max_length=8)
    policy: FilePolicy = FilePolicy()
    conversation: Literal["Stay", "Free"] = "Stay"
    reference_tier: TierName | None = None
    quality: RouteQuality | None = None
    pressure: RoutePressure | None = None
    overflow: RouteOverflow = RouteOverflow()
    queue: Queue = Queue()
    deadlines: RouteDeadlines = RouteDeadlines()
    budget: RouteBudget | None = None
    routers: int = Field(
        default=1,
        ge=1,
        le=100,
        description="How many routers serve this file without talking: each may spill for an equal share of "
        "maxCostPerHour, and they send a prompt that none of them knows to the same server.",
    )
    clients: FileClients = FileClients()
    tls: FileTLS | None = None


def read(path: Path) -> RouteFile:
    """Read what a route says, and none of the files that it names. Raises Invalid, with every mistake in one sentence
    each."""
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Invalid(f"the route file {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Invalid(f"the route file {path} is not YAML: {error}") from error
    try:
        return RouteFile.model_validate(given, extra="forbid")
    except ValidationError as error:
        raise Invalid(f"the route file {path}: {_mistakes(error)}") from error


def load(path: Path) -> Loaded:
    """Read a route and the files that it names. Raises Invalid, with every mistake in one sentence each."""
    file = read(path)
    base = path.parent
    route = to_route(file, _tenants(file, base))
    tls = None if file.tls is None else TLSFiles(base / file.tls.certificate_file, base / file.tls.key_file)
    return Loaded(route, read_keys(route, base), tls, base)


def key_files(route: values.Route) -> list[str]:
    """The files that hold providers' keys."""
    return sorted({t.provider.api_key_file for t in route.tiers if t.provider is not None and t.provider.api_key_file})


def to_route(file: RouteFile, tenant_by_key_hash: Mapping[str, str]) -> values.Route:
    """The route that the file says. Raises Invalid where its parts do not fit together."""
    _only_in_a_cluster(file.quality)
    overflow = {tier.name for tier in file.tiers if tier.use == "Overflow"}
    for wanted in [file.policy.default_tier, *(rule.tier for rule in file.policy.rules)]:
        if wanted in overflow:
            raise Invalid(f"policy names tier {wanted!r}, whose use Overflow is only for what spills or falls back")
    who = route_values.clients(tenant_by_key_hash, file.clients.tenant_header)
    tiers = [to_tier(tier) for tier in file.tiers]
    classifier = _classifier(file.policy.classifier)
    check_addresses(tiers)
    made = route_values.to_route(file.name, file, tiers, who, routers=file.routers, classifier=classifier)
    usual = choose_tiers(made, RequestFacts(made.model_names[0])).candidates
    if made.cascade is not None and cascade.plan(made, usual) is None:
        raise Invalid(
            "policy.type Cascade needs a tier with use Always behind the default tier, to answer what is escalated"
        )
    return made


def _only_in_a_cluster(quality: RouteQuality | None) -> None:
    """What only the operator acts on would be without effect here."""
    if quality is not None and quality.salt_secret_name is not None:
        raise Invalid("quality.saltSecretName names a Secret of a cluster: give --verdicts-file and --salt-file")
    if quality is not None and quality.audit is not None:
        raise Invalid("quality.audit corrects what the operator shows: a route in a file has no use for it")


def _classifier(given: FileClassifier | None) -> values.ClassifierFile | None:
    return None if given is None else values.ClassifierFile(given.file, given.quality_percent)


def to_tier(tier: FileTier) -> values.RouteTier:
    """One tier of the file. Raises Invalid where its parts do not fit together."""
    if (tier.provider is None) == (not tier.servers):
        raise Invalid(f"tier {tier.name!r} needs exactly one of servers and provider")
    if tier.prices is not None and tier.replica_hour is not None:
        raise Invalid(f"tier {tier.name!r} is paid by token or by replica: set one of prices and replicaHour")
    provider = None
    if tier.provider is not None:
        provider = values.Provider(tier.provider.base_url, tier.provider.api_key_file)
    return values.RouteTier(
        name=tier.name,
        model=tier.model,
        use=values.Use(tier.use),
        provider=provider,
        urls=tuple(tier.servers),
        concurrency=tier.concurrency,
        context_length=tier.context_length,
        tariff=values.Tariff(
            None if tier.prices is None else rates(tier.prices),
            {name: rates(prices) for name, prices in sorted(tier.service_tier_prices.items())},
            None if tier.replica_hour is None else Decimal(tier.replica_hour),
        ),
        keep_alive_seconds=tier.keep_alive_seconds,
    )


def _tenants(file: RouteFile, base: Path) -> dict[str, str]:
    if file.clients.keys_directory is None:
        return {}
    return read_tenants(base / file.clients.keys_directory)


def read_tenants(directory: Path) -> dict[str, str]:
    """The tenant of each key hash. A mounted Secret looks like this: one file per tenant. Raises Invalid."""
    found: dict[str, str] = {}
    try:
        files = sorted(one for one in directory.iterdir() if not one.name.startswith(".") and one.is_file())
        texts = {one.name: one.read_text(encoding="utf-8") for one in files}
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"the client keys in {directory} cannot be read: {type(error).__name__}") from error
    for tenant, text in texts.items():
        for word in text.split():
            if not _HASH.fullmatch(word):
                raise Invalid(f"{directory / tenant} must hold SHA-256 hashes (64 hexadecimal digits), not keys")
            found[word] = tenant
    if not found:
        raise Invalid(
            f"there is no client key in {directory}: nobody could ask; remove clients.keysDirectory to open it"
        )
    return found


def _secret(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"the key file {path} cannot be read: {type(error).__name__}") from error
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise Invalid(f"the key file {path} must hold one key and nothing else")
    return text


def _mistakes(error: ValidationError) -> str:
    said = []
    for mistake in error.errors(include_url=False, include_input=False):
        where = ".".join(str(part) for part in mistake["loc"]) or "the file"
        said.append(f"{where}: {mistake['msg'][:1].lower()}{mistake['msg'][1:]}")
    return "; ".join(said)


def read_keys(route: values.Route, base: Path) -> dict[str, str]:
    """The keys of a route's providers, read anew. Raises Invalid."""
    return {name: _secret(base / name) for name in key_files(route)}
