"""Draws what the tiers reached and cost, beside each other, and what a GPU-hour costs here and elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from tierwise.gpus import UnknownGpu, find, prices_of
from tierwise.html_page.bars import Bar, bars
from tierwise.html_page.document import table
from tierwise_sim.replay.result import Requests, SimulationResult, TierResult
from tierwise_sim.simulate_words import latency, money, share

_LISTED = 3


def attainment(result: SimulationResult) -> str:
    """How many requests of each tier met both targets, and what stood in the way."""
    rows = [
        Bar(tier.name, share(tier.requests.attainment) or "no request", 0.0, tier.requests.attainment or 0.0)
        for tier in result.tiers
    ]
    rows.append(Bar("all", share(result.total.attainment), 0.0, result.total.attainment or 0.0, whole=True))
    drawn = bars("Requests that met both targets", "met both", rows, 1.0)
    head = ("tier", "requests", "answered", "no answer", "open", "met TTFT", "met inter-token", "met both", "judged")
    counts = [
        (name, *(f"{each:,}" for each in _counted(got)))
        for name, got in (*((tier.name, tier.requests) for tier in result.tiers), ("all", result.total.requests))
    ]
    return drawn + table(head, counts, "Requests") + _latencies(result)


def _counted(got: Requests) -> tuple[int, ...]:
    came = (got.arrived, got.answered, got.refused_total, got.open)
    return (*came, got.met_ttft, got.met_inter_token, got.met, got.judged)


def _latencies(result: SimulationResult) -> str:
    head = ("tier", "TTFT p50", "p95", "p99", "inter-token p50", "p95", "p99")
    names = ("p50", "p95", "p99")
    rows = [
        (name, *(latency(ttft, each) for each in names), *(latency(inter_token, each) for each in names))
        for name, ttft, inter_token in (
            *((tier.name, tier.ttft, tier.inter_token) for tier in result.tiers),
            ("all", result.total.ttft, result.total.inter_token),
        )
    ]
    return table(head, rows, "Latency")


def cost(result: SimulationResult) -> str:
    """US dollars of each tier on the allocation basis, and of what they are made."""
    most = max((float(tier.dollars) for tier in result.tiers), default=0.0)
    rows = [Bar(tier.name, _dollars(tier), 0.0, float(tier.dollars)) for tier in result.tiers]
    head = ("tier", "GPU", "GPU-hours", "ready", "starting", "draining", "$ per GPU-hour", "$")
    details = [
        (
            tier.name,
            "provider" if tier.external else f"{tier.gpus_per_replica} \N{MULTIPLICATION SIGN} {tier.gpu or 'CPU'}",
            *_hours(tier),
            "by token" if tier.external else "none said" if tier.gpu_hour is None else f"{tier.gpu_hour}",
            _dollars(tier),
        )
        for tier in result.tiers
    ]
    drawn = bars("Cost of each tier, US dollars", "US dollars", rows, most)
    return drawn + table(head, details, "GPU time and its price") + _listed(result)


def unpriced(result: SimulationResult) -> str:
    """A warning where the dollars are not all of them; else empty."""
    names = [tier.name for tier in result.tiers if not _priced(tier)]
    return f"GPU time of {', '.join(names)} is not in the dollars: no price is said for it." if names else ""


def _dollars(tier: TierResult) -> str:
    return money(tier.dollars) if _priced(tier) else "?"


def _priced(tier: TierResult) -> bool:
    return tier.external or tier.gpu_hour is not None


def _hours(tier: TierResult) -> tuple[str, ...]:
    used = tier.gpu_seconds
    if tier.external:
        return ("", "", "", "")
    return tuple(f"{each / 3600:.2f}" for each in (used.total, used.ready, used.starting, used.draining))


def _listed(result: SimulationResult) -> str:
    rows = [row for product in sorted({tier.gpu for tier in result.tiers if tier.gpu}) for row in _asked(product)]
    head = ("GPU", "provider", "region", "instance", "terms", "date", "$ per GPU-hour")
    caption = "For comparison, what providers ask: assumed list prices, in no figure of this page"
    return table(head, rows, caption) if rows else ""


def _asked(product: str) -> Iterator[tuple[str, ...]]:
    try:
        known = find(product).product
    except UnknownGpu:
        return
    for price in prices_of(known)[:_LISTED]:
        when = price.date or "undated"
        yield (product, price.provider, price.region, price.instance, price.terms, when, f"{price.usd} (assumed)")
