"""Connects `prometheus_history` to a real Prometheus: the only module of the traces that talks to anything.

A week is asked for in many queries, each over many samples, so they may take longer than the operator's.
"""

from __future__ import annotations

from pathlib import Path

from tierwise.prom.client import Access, PrometheusMetrics, SettingNames
from tierwise_sim.traces.arrival import Trace
from tierwise_sim.traces.prometheus_history import Asked, read
from tierwise_sim.traces.spread import Spreading

TIMEOUT_SECONDS = 60.0
OPTIONS = SettingNames(url="--from-prometheus", bearer_file="--bearer-file", ca_file="--ca-file")
"""What messages call the settings."""


def access(url: str, *, bearer_file: Path | None = None, ca_file: Path | None = None, tenant: str = "") -> Access:
    """Where the history is, and how to get in; see tierwise.prom.client.Access."""
    return Access(
        url,
        bearer_file=bearer_file,
        ca_file=ca_file,
        tenant=tenant,
        timeout_seconds=TIMEOUT_SECONDS,
        settings=OPTIONS,
    )


async def from_prometheus(where: Access, asked: Asked, spreading: Spreading) -> Trace:
    """What this Prometheus remembers. Raises TraceError when that is nothing, Transient when it does not answer."""
    metrics = PrometheusMetrics(where)
    try:
        return await read(metrics, asked, spreading, where.shown)
    finally:
        metrics.close()
