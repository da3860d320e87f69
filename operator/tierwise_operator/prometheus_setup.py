"""Connects the poller to Prometheus as the settings say."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from tierwise.engines import profiles
from tierwise.observe import queries, route_queries
from tierwise.observe.poller import PollConfig, Poller
from tierwise.observe.queries import LATENCY
from tierwise.ports import Clock, Metrics
from tierwise.prom.client import Access, PrometheusMetrics
from tierwise.types import TierObject
from tierwise_operator.settings import Settings

logger = logging.getLogger(__name__)


def prometheus(settings: Settings) -> PrometheusMetrics:
    """The Prometheus of the settings. To be closed at the end."""
    access = Access(
        url=settings.prometheus_url,
        bearer_file=settings.prometheus_bearer_file,
        login_files=_pair(settings.prometheus_username_file, settings.prometheus_password_file),
        ca_file=settings.prometheus_ca_file,
        certificate_files=_pair(settings.prometheus_certificate_file, settings.prometheus_key_file),
        verify=not settings.prometheus_skip_verify,
        tenant=settings.prometheus_tenant,
        timeout_seconds=settings.query_timeout_seconds,
    )
    if settings.prometheus_skip_verify:
        logger.warning(
            "the certificate of Prometheus at %s is not checked: anybody on the way may answer in its place; give "
            "prometheus.caConfigMap instead",
            access.shown,
        )
    return PrometheusMetrics(access)


def _pair(one: Path | None, other: Path | None) -> tuple[Path, Path] | None:
    return (one, other) if one is not None and other is not None else None


def sampler(
    settings: Settings,
    metrics: Metrics,
    clock: Clock,
    wake: Callable[[], None],
    tiers: Callable[[], Iterable[TierObject]],
) -> Poller:
    """The sampler as it is set up. It asks once per tick, the same questions for any number of tiers; `wake` is called
    after each round, so that a decision is made from fresh answers. `tiers`: those that there are now."""

    def unneeded() -> frozenset[str]:
        judged = any(tier.spec is not None and tier.spec.scaling.targets is not None for tier in tiers())
        return frozenset() if judged else frozenset({LATENCY})

    matchers = settings.matchers
    asked = queries({each.metrics for each in profiles()}, scrape_seconds=settings.scrape_seconds, matchers=matchers)
    pace = PollConfig(settings.tick_seconds, settings.scrape_seconds, settings.query_timeout_seconds)
    return Poller(metrics, clock, (*asked, *route_queries(matchers)), pace, on_round=wake, unneeded=unneeded)
