"""Exports the router's metrics.

They are read from the ledger and the tiers when Prometheus asks, so that counting costs a request next to nothing.
Labels are bounded: tiers of the route, words of tables, the largest tenants.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tierwise.routing.route import Priority
from tierwise_router.bodies import Bodies
from tierwise_router.content_metrics import content_metrics
from tierwise_router.record import Histogram
from tierwise_router.router_state import RouterState

PREFIX = "tierwise_router_"


class RouterCollector(Collector):
    """All series of one router."""

    def __init__(self, state: RouterState, bodies: Bodies) -> None:
        self._state = state
        self._bodies = bodies

    def collect(self) -> Iterator[Metric]:
        """The series, as they are now."""
        yield from self._counted()
        yield from self._money()
        ladder = [spec.name for spec in self._state.route.tiers]
        yield from self._state.ledger.answers.collect(ladder)
        yield from self._now()
        yield from self._state.shadows.collect(ladder)
        yield from content_metrics(self._state)
        ledger = self._state.ledger
        yield _histogram(
            "first_token_seconds",
            "Seconds from the request's arrival to the first token of its answer.",
            ledger.first_token,
        )
        yield _histogram(
            "request_seconds", "Seconds from the arrival of an answered request to its end.", ledger.seconds
        )

    def _counted(self) -> Iterator[Metric]:
        ledger = self._state.ledger
        requests = _counter("requests", "Requests that have ended.", "tier", "outcome", "code")
        for labels, count in sorted(ledger.requests.items()):
            requests.add_metric(labels, count)
        choices = _counter("choices", "Requests by the tier that was tried last, and why.", "tier", "reason")
        for pair, count in sorted(ledger.choices.items()):
            choices.add_metric(pair, count)
        failures = _counter("attempt_failures", "Attempts at a tier that failed.", "tier", "failure")
        for pair, count in sorted(ledger.failures.items()):
            failures.add_metric(pair, count)
        tokens = _counter("tokens", "Tokens, each counted once: a cached one is no input.", "tier", "kind")
        for pair, count in sorted(ledger.tokens.items()):
            tokens.add_metric(pair, count)
        estimated = _counter("usage_estimated", "Attempts whose usage upstream did not say.", "tier")
        for tier, count in sorted(ledger.estimated.items()):
            estimated.add_metric([tier], count)
        refused = _counter("refused", "Requests that a tier did not take.", "tier", "reason")
        wanted = _counter("wanted", "Requests whose first choice was this tier, answered or not.", "tier")
        for name, tier_ in sorted(self._state.tiers.items()):
            wanted.add_metric([name], tier_.counts.wanted)
            for reason, count in sorted(tier_.counts.refused.items()):
                refused.add_metric([name, reason], count)
        cascades = _counter(
            "cascade",
            "What was decided of the first tokens of cheap answers, and whether it was acted on.",
            "decision",
            "mode",
        )
        for pair, count in sorted(ledger.cascades.items()):
            cascades.add_metric(pair, count)
        discarded = _counter("discarded_tokens", "Tokens of held answers that no client has got.", "tier")
        for tier, count in sorted(ledger.discarded.items()):
            discarded.add_metric([tier], count)
        retries = _counter("retries", "Further attempts, made or denied by the retry budget.", "result")
        retries.add_metric(["made"], ledger.retries)
        retries.add_metric(["denied"], ledger.retries_denied)
        dropped = _counter("log_lines_dropped", "Lines of the access log that were not written.")
        dropped.add_metric([], ledger.lines_dropped)
        bodies = _counter("bodies_refused", "Bodies that there was no memory for.")
        bodies.add_metric([], self._bodies.refused)
        yield from (requests, choices, failures, tokens, estimated, refused, wanted, retries, dropped, bodies)
        yield from (cascades, discarded)

    def _money(self) -> Iterator[Metric]:
        ledger, purse = self._state.ledger, self._state.purse
        cost = _counter("cost_usd", "US dollars of all attempts.", "tier")
        for tier, amount in sorted(ledger.cost.items()):
            cost.add_metric([tier], float(amount))
        tenants = _counter("tenant_cost_usd", "US dollars by tenant: the largest, and other.", "tenant")
        for tenant, amount in sorted(ledger.tenants().items()):
            tenants.add_metric([tenant], float(amount))
        spilled = _counter("spill_cost_usd", "US dollars of requests that spilled or fell back to an external tier.")
        spilled.add_metric([], float(purse.spilled))
        yield from (cost, tenants, spilled)
        if purse.account is not None:
            budget = _gauge(
                "budget_usd",
                "US dollars of the present period; largest: the dearest estimate of the last minutes.",
                "part",
            )
            budget.add_metric(["allowance"], float(purse.account.allowance))
            budget.add_metric(["spent"], float(purse.account.spent))
            budget.add_metric(["reserved"], float(purse.account.reserved))
            budget.add_metric(["largest"], float(purse.largest))
            yield budget
            period = _gauge("budget_period_start_seconds", "When the period of the budget began (Unix time).")
            period.add_metric([], purse.account.period.timestamp() if purse.account.period.year > 1 else 0)
            yield period

    def _now(self) -> Iterator[Metric]:
        waiting = _gauge("waiting", "Requests that wait for a replica.", "tier", "priority")
        in_flight = _gauge("in_flight", "Requests that replicas work on.", "tier")
        replicas = _gauge("replicas", "Replicas, by whether they take requests.", "tier", "state")
        blocks = _gauge("prefix_blocks", "Blocks of 256 bytes in the index of prompt prefixes.", "tier")
        now = self._state.monotonic()
        for name, tier in sorted(self._state.tiers.items()):
            for priority in Priority:
                waiting.add_metric([name, priority.value], tier.waiting_of(priority))
            known = tier.replicas
            in_flight.add_metric([name], sum(one.in_flight for one in known))
            draining = sum(one.draining for one in known)
            broken = sum(not one.draining and one.breaker.is_open(now) for one in known)
            replicas.add_metric([name, "ready"], len(known) - draining - broken)
            replicas.add_metric([name, "broken"], broken)
            replicas.add_metric([name, "draining"], draining)
            blocks.add_metric([name], len(tier.index))
        streams = _gauge("streams", "Attempts under way.")
        streams.add_metric([], len(self._state.attempts))
        held = _gauge("body_bytes", "Bytes of the bodies in memory; a body is held until its answer begins.")
        held.add_metric([], self._bodies.used)
        yield from (waiting, in_flight, replicas, blocks, streams, held)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, text, labels=labels)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, labels=labels)


def _histogram(name: str, text: str, by_tier: dict[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, text, labels=["tier"])
    for tier, histogram in sorted(by_tier.items()):
        total, buckets = 0, []
        for bound, count in zip([*map(str, histogram.bounds), "+Inf"], histogram.counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric([tier], buckets, histogram.sum)
    return family
