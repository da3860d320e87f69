"""Connects the poller to Prometheus as the settings say."""

from __future__ import annotations

from collections.abc import Callable

from tierwise.engines import profiles
from tierwise.observe import queries, route_queries
from tierwise.observe.poller import PollConfig, Poller
from tierwise.ports import Clock, Metrics
from tierwise.prom.client import Access, PrometheusMetrics
from tierwise_operator.settings import Settings


def prometheus(settings: Settings) -> PrometheusMetrics:
    """The Prometheus of the settings. To be closed at the end."""
    access = Access(
        url=settings.prometheus_url,
        bearer_file=settings.prometheus_bearer_file,
        ca_file=settings.prometheus_ca_file,
        tenant=settings.prometheus_tenant,
        timeout_seconds=settings.query_timeout_seconds,
    )
    return PrometheusMetrics(access)


def sampler(settings: Settings, metrics: Metrics, clock: Clock, wake: Callable[[], None]) -> Poller:
    """The sampler as it is set up. It asks once per tick, the same questions for any number of tiers; `wake` is called
    after each round, so that a decision is made from fresh answers."""
    asked = queries({each.metrics for each in profiles()}, scrape_seconds=settings.scrape_seconds)
    pace = PollConfig(settings.tick_seconds, settings.scrape_seconds, settings.query_timeout_seconds)
    return Poller(metrics, clock, (*asked, *route_queries()), pace, on_round=wake)
