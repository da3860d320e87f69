"""Defines the Prometheus query about what routes have answered and what that has cost, and reads its answer.

One query, whatever the number of routes. It is about an hour, so it is asked less often than the others. Counters grow
by the difference of their largest and least value, as they were scraped: `increase` would add a guess for the time
before the first and after the last scrape, and money is shown to four digits. Only where a counter has fallen (a
container that started again under the same name) `increase` is asked, which knows of that. The routers show every
series of the route's tiers from their start, so that nothing begins unseen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal

from tierwise.observe.queries import ROUTE_LABEL, SERIES, Query, quote
from tierwise.ports import Series
from tierwise.types.route_work import Answered, PairSums, RouteWork, Tokens

WORK = "work"
WORK_ROUNDS = 3
"""It is asked once in so many rounds."""
WINDOW_SECONDS = 3600
WINDOW = "1h"
PAIR_WINDOW = "1d:30s"
"""Pairs are rare, and how long answers are changes slowly."""
ANSWERED, COST, ANSWER_SECONDS = "answered", "answer_cost", "answer_seconds"
FAILED, DISCARDED, JUDGE, SHADOW = "failed", "discarded", "judge", "answer"
PAIRS, PAIR_TOKENS, PAIR_SQUARES = "pairs", "pair_tokens", "pair_squares"
REFERENCE, CHEAPER, PRODUCT = "reference", "small", "product"
_BY_ROUTE = f"namespace, {ROUTE_LABEL}"
_TARGET = f"namespace, pod, {ROUTE_LABEL}, job, instance"
_PREFIX = "tierwise_router_"
_UNCOUNTED = {SHADOW: "shadows", JUDGE: "judges", DISCARDED: "discarded answers"}

Work = Mapping[tuple[str, str], RouteWork]


def work_query(matchers: Mapping[str, str] | None = None) -> Query:
    """The query. `matchers` as in `queries`."""
    more = "".join(f", {label}={quote(value)}" for label, value in sorted((matchers or {}).items()))

    def grown(metric: str, labels: str, window: str) -> str:
        series = f'{_PREFIX}{metric}{{{ROUTE_LABEL}!=""{labels}{more}}}[{window}]'
        up = f'(max_over_time(up{{{ROUTE_LABEL}!=""{more}}}[{WINDOW}]) == 1)'
        steady = f"((max_over_time({series}) - min_over_time({series})) unless (resets({series}) > 0))"
        return f"(({steady} or increase({series})) and on ({_TARGET}) {up})"

    def part(name: str, metric: str, *by: str, labels: str = "", window: str = WINDOW) -> str:
        grouped = f"sum by ({', '.join((_BY_ROUTE, *by))}) ({grown(metric, labels, window)})"
        return f'label_replace({grouped}, "{SERIES}", {quote(name)}, "", "")'

    return Query(
        WORK,
        " or ".join(
            (
                part(ANSWERED, "answered_tokens_total", "tier", "first", "kind"),
                part(COST, "answered_cost_usd_total", "tier"),
                part(ANSWER_SECONDS, "answered_seconds_total", "tier"),
                *(part(why, "wasted_cost_usd_total", labels=f', why="{why}"') for why in (FAILED, DISCARDED)),
                *(part(what, "shadow_cost_usd_total", labels=f', purpose="{what}"') for what in (JUDGE, SHADOW)),
                part(PAIRS, "pairs_total", window=PAIR_WINDOW),
                part(PAIR_TOKENS, "pair_output_tokens_total", "which", window=PAIR_WINDOW),
                part(PAIR_SQUARES, "pair_output_tokens_squared_total", "which", window=PAIR_WINDOW),
            )
        ),
    )


def work_of(answer: Iterable[Series]) -> Work:
    """The work by namespace and route. What is no number is left out; a route of which no answer is counted, too."""
    found: dict[tuple[str, str], dict[tuple[str, ...], float]] = {}
    for series in answer:
        labels = series.labels
        if 0.0 <= series.value < math.inf:
            route = found.setdefault((labels.get("namespace", ""), labels.get(ROUTE_LABEL, "")), {})
            kinds = (labels.get(each, "") for each in ("tier", "first", "kind", "which"))
            route[(labels.get(SERIES, ""), *kinds)] = series.value
    return {key: _work(values) for key, values in found.items() if any(kind[0] == ANSWERED for kind in values)}


def _work(values: Mapping[tuple[str, ...], float]) -> RouteWork:
    answers: dict[Answered, dict[str, int]] = {}
    by_tier: dict[str, dict[str, Decimal]] = {COST: {}, ANSWER_SECONDS: {}}
    whole: dict[tuple[str, str], float] = {}
    for (series, tier, first, kind, which), value in values.items():
        if series == ANSWERED:
            answers.setdefault(Answered(tier, first), {})[kind] = round(value)
        elif series in by_tier:
            by_tier[series][tier] = Decimal(repr(value))
        else:
            whole[series, which] = value

    def money(series: str) -> Decimal:
        return Decimal(repr(whole.get((series, ""), 0.0)))

    def count(series: str, which: str = "") -> int:
        return round(whole.get((series, which), 0.0))

    return RouteWork(
        window_seconds=WINDOW_SECONDS,
        answers={who: Tokens(**tokens) for who, tokens in sorted(answers.items()) if any(tokens.values())},
        costs=by_tier[COST],
        seconds=by_tier[ANSWER_SECONDS],
        failed=money(FAILED),
        discarded=money(DISCARDED),
        judges=money(JUDGE),
        shadows=money(SHADOW),
        pairs=PairSums(
            pairs=count(PAIRS),
            reference=count(PAIR_TOKENS, REFERENCE),
            cheaper=count(PAIR_TOKENS, CHEAPER),
            reference_squares=count(PAIR_SQUARES, REFERENCE),
            cheaper_squares=count(PAIR_SQUARES, CHEAPER),
            products=count(PAIR_SQUARES, PRODUCT),
        ),
        uncounted=_uncounted(whole),
    )


def _uncounted(whole: Mapping[tuple[str, str], float]) -> tuple[str, ...]:
    """What no router has a counter for. A shadow's cost has none until there was one, so pairs are looked at: they are
    counted from the start."""
    missing = set()
    if (PAIRS, "") not in whole:
        missing |= {SHADOW, JUDGE}
    if (DISCARDED, "") not in whole:
        missing.add(DISCARDED)
    return tuple(sorted(_UNCOUNTED[each] for each in missing))
