"""Defines the fixed set of Prometheus queries.

A round has five queries, and a sixth (`LATENCY`) while a tier has a service level, whatever the number of tiers: every
series with a tier label is queried at once, grouped by namespace, pod and tier, and joined to the tiers afterwards.
Parts of one query are told apart by a label `series`, set by label_replace, so each part keeps the aggregation that is
right for it. What a router says of a tier has the label `tier`, which becomes the tier label: the answer has the same
form, with the router's pod in place of a replica's.

Four rules, each from somebody else's outage:
- No `or vector(0)`: an absent series must stay absent. A hung /metrics would otherwise look like an idle replica.
- Rates per second count only where the window is full (count_over_time): after a gap they would be too low. Ratios
  of two counters over the same window need no such guard, since a gap shortens both.
- A replica is counted once, however many jobs scrape it (max by engine), and all its engines count (sum over them).
- Only what was scraped from the replica itself counts: a series needs an `up` of the same job, instance, pod and tier
  beside it. Where a scrape trusts the labels of its targets (honor_labels), a page that repeats another pod's series
  would otherwise count as that pod. Whoever forges on purpose can forge `up` too: maxReplicas limits that.

Nothing is put into a query without `quote` or a check: a label value may hold anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tierwise.api.service_targets import INTER_TOKEN_MILLISECONDS, TTFT_MILLISECONDS
from tierwise.engines import MetricNames
from tierwise.observe import signals as kinds

TIER_LABEL = "tierwise_io_tier"  # what Prometheus makes of the pod label tierwise.io/tier
ROUTE_LABEL = "tierwise_io_route"  # ... and of tierwise.io/route, on the routers of a ModelRoute
SERIES = "series"
CAPACITY_LABEL = "kv_tokens"  # of the series kv_capacity: what the engine says, whatever it calls the label
BY = f"namespace, pod, {TIER_LABEL}"
_TARGET = f"{BY}, job, instance"
_ROUTER = f"namespace, pod, {ROUTE_LABEL}, job, instance"
_OF_TIER = "namespace, pod, tier"
RATIO_WINDOW = "5m"
LATENCY = "latency"  # needed only while a tier has scaling.targets
BOUND_LABEL = "le"  # of a histogram's bucket: its upper bound
LATELY = "1m"  # what was turned away in this time is demand, see decide.router_demand
# Refusals for want of room; the others are about money.
NO_ROOM = "queue_full|queue_timeout|displaced|spilled"
_FULL = 0.8  # share of the expected samples that a window must hold
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Query:
    """One question, and the name by which its failure is reported."""

    name: str
    promql: str


def quote(value: str) -> str:
    """`value` as a PromQL string, quotes included: backslash, quote and line breaks escaped."""
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n").replace("\r", r"\r")
    return f'"{escaped}"'


def queries(
    names: Iterable[MetricNames], *, scrape_seconds: float = 10.0, matchers: Mapping[str, str] | None = None
) -> tuple[Query, ...]:
    """The fixed set of queries for engines that call their metrics by these names.

    `matchers` are further labels that every series must have (one cluster among several in one Prometheus). Raises
    ValueError for what is no metric name or label name."""
    words = _Words(tuple(sorted(set(names), key=repr)), scrape_seconds, dict(matchers or {}))
    return (
        Query("load", words.load()),
        Query("capacity", words.capacity()),
        Query("targets", words.part(kinds.UP, f"max by ({BY}) ({words.selector('up')})")),
        Query("flows", words.flows()),
        Query("routers", words.routers()),
        Query(LATENCY, words.latency()),
    )


@dataclass(frozen=True, slots=True)
class _Words:
    """The parts of the queries."""

    names: tuple[MetricNames, ...]
    scrape_seconds: float
    matchers: dict[str, str]

    def selector(self, *metrics: str) -> str:
        """The series of these metrics (same meaning, one name per engine) that belong to a tier."""
        for metric in metrics:
            if not _METRIC.fullmatch(metric):
                raise ValueError(f"{metric!r} is not a metric name")
        for label in self.matchers:
            if not _LABEL.fullmatch(label):
                raise ValueError(f"{label!r} is not a label name")
        unique = sorted(set(metrics))
        name = f"__name__={quote(unique[0])}" if len(unique) == 1 else f"__name__=~{quote('|'.join(unique))}"
        return self._selected(name, f'{TIER_LABEL}!=""')

    def _selected(self, *pairs: str) -> str:
        further = [f"{label}={quote(value)}" for label, value in sorted(self.matchers.items())]
        return "{" + ", ".join([*pairs, *further]) + "}"

    def metric(self, attribute: str, suffix: str = "") -> str:
        """The selector of one meaning."""
        return self.selector(*(getattr(each, attribute) + suffix for each in self.names))

    def part(self, series: str, expression: str) -> str:
        """An expression whose series are told apart from the other parts'."""
        return f'label_replace({expression}, "{SERIES}", {quote(series)}, "", "")'

    def own(self, vector: str) -> str:
        """Of these series, those that were scraped from the replica that their labels name."""
        return f"{vector} and on ({_TARGET}) {self.selector('up')}"

    def engines(self, how: str, vector: str) -> str:
        """Over the engines of a replica (data parallel ranks): `how`; over duplicates of one series: the largest."""
        return f"{how} by ({BY}) (max by ({BY}, engine) ({self.own(vector)}))"

    def load(self) -> str:
        """Gauges, and the age of the scrape they came from."""
        running = self.metric("running")
        return " or ".join(
            (
                self.part(kinds.RUNNING, self.engines("sum", running)),
                self.part(kinds.WAITING, self.engines("sum", self.metric("waiting"))),
                self.part(kinds.KV_USAGE, self.engines("avg", self.metric("kv_usage"))),
                self.part(kinds.AGE, f"time() - max by ({BY}) ({self.own(f'timestamp({running})')})"),
            )
        )

    def capacity(self) -> str:
        """The KV capacity of each engine: it stands in labels, so they are part of the answer."""
        said = sorted({each.kv_tokens_label for each in self.names})
        for label in said:
            if not _LABEL.fullmatch(label):
                raise ValueError(f"{label!r} is not a label name")
        labels = ", ".join(sorted({*said, "num_gpu_blocks", "block_size", "engine"}))
        expression = f"max by ({BY}, {labels}) ({self.own(self.metric('cache_info'))})"
        for label in said:
            expression = f'label_replace({expression}, "{CAPACITY_LABEL}", "$1", "{label}", "(.+)")'
        return self.part(kinds.KV_CAPACITY, expression)

    def flows(self) -> str:
        """Counters: what went through in the last minutes."""
        return " or ".join(
            (
                self.part(kinds.PROMPT_TOKENS, self._increase("request_prompt_tokens", "_sum")),
                self.part(kinds.ANSWER_TOKENS, self._increase("request_generation_tokens", "_sum")),
                self.part(kinds.FINISHED, self._increase("request_generation_tokens", "_count")),
                self.part(kinds.PREFIX_QUERIES, self._increase("prefix_queries")),
                self.part(kinds.PREFIX_HITS, self._increase("prefix_hits")),
                self.part(kinds.DRAFTED, self._increase("draft_tokens")),
                self.part(kinds.ACCEPTED, self._increase("accepted_tokens")),
                self.part(kinds.TOKEN_RATE, f"({self._rate('prompt_tokens')} + {self._rate('generation_tokens')})"),
                self.part(kinds.DRAFT_RATE, self._rate("draft_tokens")),
                self.part(kinds.FINISHED_LATELY, self._increase("request_generation_tokens", "_count", LATELY)),
                self.part(kinds.REJECTED_LATELY, self._rejected()),
                self.part(kinds.BEGUN_LATELY, self._increase("ttft", "_count", LATELY)),
                self.part(kinds.FIRST_TOKEN_SECONDS, self._increase("ttft", "_sum", LATELY)),
            )
        )

    def latency(self) -> str:
        """How many of the last minute were within each bound that a target may have."""
        return " or ".join(
            (
                self.part(kinds.TTFT_WITHIN, self._buckets("ttft", TTFT_MILLISECONDS)),
                self.part(kinds.INTER_TOKEN_WITHIN, self._buckets("tpot", INTER_TOKEN_MILLISECONDS)),
                self.part(kinds.SPOKEN_LATELY, self._increase("tpot", "_count", LATELY)),
            )
        )

    def _buckets(self, attribute: str, milliseconds: Iterable[int]) -> str:
        """Prometheus 3 writes whole bounds with `.0`; before it they are as the engine writes them."""
        bounds = "|".join(f"{each / 1000:g}".replace(".", "[.]") + "([.]0)?" for each in milliseconds)
        buckets = self.selector(*(getattr(each, attribute) + "_bucket" for each in self.names))
        buckets = f"{buckets[:-1]}, {BOUND_LABEL}=~{quote(bounds)}}}"
        own = self.own(f"increase({buckets}[{LATELY}])")
        return f"sum by ({BY}, {BOUND_LABEL}) (max by ({BY}, engine, {BOUND_LABEL}) ({own}))"

    def routers(self) -> str:
        """What the routers say of each tier."""
        wanted = self._router("wanted_total")
        queued = f"max by ({_OF_TIER}, priority) ({self._routers_own(self._router('waiting'))})"
        refused = self._routers_own(f"increase({self._router('refused_total', NO_ROOM)}[{LATELY}])")
        return " or ".join(
            (
                self._of_tier(kinds.WANTED, f"max by ({_OF_TIER}) ({self._routers_own(wanted)})"),
                self._of_tier(kinds.QUEUED, f"sum by ({_OF_TIER}) ({queued})"),
                self._of_tier(kinds.IN_FLIGHT, f"max by ({_OF_TIER}) ({self._routers_own(self._router('in_flight'))})"),
                self._of_tier(kinds.REFUSED, f"sum by ({_OF_TIER}) (max by ({_OF_TIER}, reason) ({refused}))"),
                self._of_tier(kinds.AGE, f"time() - max by ({_OF_TIER}) ({self._routers_own(f'timestamp({wanted})')})"),
            )
        )

    def _router(self, name: str, reasons: str = "") -> str:
        only = [f"reason=~{quote(reasons)}"] if reasons else []
        return self._selected(f'__name__="tierwise_router_{name}"', f'{ROUTE_LABEL}!=""', 'tier!=""', *only)

    def _routers_own(self, vector: str) -> str:
        up = self._selected('__name__="up"', f'{ROUTE_LABEL}!=""')
        return f"{vector} and on ({_ROUTER}) {up}"

    def _of_tier(self, series: str, expression: str) -> str:
        return self.part(series, f'label_replace({expression}, "{TIER_LABEL}", "$1", "tier", "(.+)")')

    def _rejected(self) -> str:
        """Over the reasons of a rejection; it has no engine."""
        own = self.own(f"increase({self.metric('rejections')}[{LATELY}])")
        return f"sum by ({BY}) (max by ({BY}, engine, reason) ({own}))"

    def _increase(self, attribute: str, suffix: str = "", window: str = RATIO_WINDOW) -> str:
        return self.engines("sum", f"increase({self.metric(attribute, suffix)}[{window}])")

    def _rate(self, attribute: str) -> str:
        """Per second, only where the window is full of samples."""
        scrapes = max(6, math.ceil(60 / self.scrape_seconds))
        window = f"{math.ceil(scrapes * self.scrape_seconds)}s"
        selected = self.metric(attribute)
        counted = self.own(f"count_over_time({selected}[{window}])")
        full = f"min by ({BY}) ({counted}) >= {math.ceil(_FULL * scrapes)}"
        return f"({self.engines('sum', f'rate({selected}[{window}])')} and ({full}))"
