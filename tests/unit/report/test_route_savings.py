"""Checks what the status, the terminal, the page and the metrics say of savings: the same, and it adds up."""

from __future__ import annotations

import io
import json
import re
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from rich.console import Console

from tests.builders import routes
from tests.builders.routes import spec
from tierwise.api.modelroute_status import LadderTier
from tierwise.api.savings_status import SavingsStatus
from tierwise.report.route_columns import columns
from tierwise.report.route_savings import route_savings, savings_status
from tierwise.report.savings_metrics import SavingsMetrics
from tierwise.report.savings_page import savings_as_page
from tierwise.report.savings_text import savings_as_text, savings_said, steps, verdict
from tierwise.report.waterfall import TITLES
from tierwise.routing.length_ratio import LengthRatio
from tierwise.routing.savings import TACTICS, Part, Savings
from tierwise.types import Answered, PairSums, RoutePlan, RouteSignals, RouteView, RouteWork, Tokens

MILLION = 1_000_000
LADDER = tuple(
    LadderTier.model_validate(
        {"name": name, "use": "Always", "model": "m", "concurrency": 8, "keepAliveSeconds": 4, **more}
    )
    for name, more in (
        ("small", {"prices": {"input": "1", "cachedInput": "0.1", "output": "2"}}),
        ("large", {"prices": {"input": "10", "output": "40"}}),
        ("bought", {"replicaHour": "3.6"}),
    )
)
WORK = RouteWork(
    3600,
    {
        Answered("small", "small"): Tokens(input=2 * MILLION, cached_input=MILLION, output=MILLION // 8),
        Answered("large", "small"): Tokens(input=MILLION // 10),
    },
    {"small": Decimal("2.35"), "large": Decimal(1)},
    failed=Decimal("0.125"),
    pairs=PairSums(20, 3000, 2000, 450_000, 200_000, 300_000),
)


def view(work: RouteWork | None = WORK, **fields: Any) -> RouteView:
    return RouteView(routes.route(given=spec("small", "large", **fields)), signals=RouteSignals(work=work))


def plan() -> RoutePlan:
    return RoutePlan(routes.route().key, LADDER)


def said(work: RouteWork | None = WORK, **fields: Any) -> SavingsStatus:
    found = route_savings(view(work, **fields), plan())
    assert found is not None
    return found


def amounts(status: SavingsStatus) -> dict[str, str]:
    return {part.tactic: part.amount for part in status.parts if Decimal(part.amount)}


def test_the_status_says_the_figure_its_bound_and_the_parts() -> None:
    status = said()
    assert status.reference_tier == "large"
    # 3.1 M prompt tokens at 10, and 125,000 output tokens at 40, 1.5 times as long.
    assert (status.baseline, status.actual, status.saved_percent) == ("38.50", "3.48", 90)
    assert (status.cached_baseline, status.lower_bound_percent) == ("38.50", 90)
    assert (status.pairs, status.length_ratio, status.length_ratio_lower) == (20, "1.50", "1.50")
    assert amounts(status) == {"routing": "35.15", "prefixCache": "0.90", "spill": "-0.90", "retries": "-0.13"}


def test_the_column_shows_the_percent() -> None:
    shown = columns(view(), plan())
    assert (shown["saved"], shown["savings"]) == ("90%", said())
    assert columns(view(None), plan())["saved"] == ""


def test_money_that_was_lost_is_shown_as_such() -> None:
    shown = columns(view(referenceTier="small"), plan())
    assert shown["saved"].startswith("-")


@pytest.mark.parametrize(
    ("lower", "shown", "words"),
    [
        ("8", 0, "0\N{NO-BREAK SPACE}% if everything favours large."),
        ("7.99", -1, "nothing if everything favours large, which would then have cost 7.99."),
        ("0.02", -999, "nothing if everything favours large, which would then have cost 0.02."),
    ],
)
def test_a_bound_below_nothing_is_said_in_words(lower: str, shown: int, words: str) -> None:
    """A percentage of next to nothing has many digits and tells nobody anything: -39900 here."""
    routing = (Part(TACTICS[0], Decimal(2)),)
    found = Savings("large", 3600, Decimal(10), Decimal(10), Decimal(lower), Decimal(8), routing, LengthRatio())
    status = savings_status(found)
    assert status.lower_bound_percent == shown
    assert verdict(status).endswith(words)


def test_a_loss_is_no_smaller_if_everything_favours_the_reference() -> None:
    routing = (Part(TACTICS[0], Decimal(-5)),)
    found = Savings("large", 3600, Decimal(10), Decimal(10), Decimal(8), Decimal(15), routing, LengthRatio())
    assert verdict(savings_status(found)).endswith(
        "\N{MINUS SIGN}50\N{NO-BREAK SPACE}%; more if everything favours large, which would then have cost 8.00."
    )


def test_where_nothing_can_be_said_the_reason_stands_in_the_status() -> None:
    status = said(RouteWork(3600))
    assert (status.baseline, status.saved_percent) == ("", None)
    assert status.notes == ["nothing was answered in this time"]
    assert columns(view(RouteWork(3600)), plan())["saved"] == ""


MONEY = st.decimals(0, 10**7, places=12)


@given(MONEY, st.lists(st.decimals(-1000, 1000, places=12), min_size=len(TACTICS), max_size=len(TACTICS)))
def test_what_is_shown_adds_up_after_rounding(baseline: Decimal, parts: list[Decimal]) -> None:
    actual = baseline - sum(parts)
    found = Savings(
        "large", 3600, baseline, baseline, baseline, actual, tuple(map(Part, TACTICS, parts)), LengthRatio()
    )
    status = savings_status(found)
    assert sum(Decimal(part.amount) for part in status.parts) == Decimal(status.baseline) - Decimal(status.actual)
    step = max(abs(baseline), abs(actual)) / 1000
    assert abs(Decimal(status.baseline) - baseline) <= max(step, Decimal("0.005"))
    assert abs(Decimal(status.actual) - actual) <= max(step, Decimal("0.005"))
    rows = steps(status)
    assert rows[-2].after == rows[-1].after, "the last tactic ends at what was paid"


def text(status: SavingsStatus) -> str:
    out = io.StringIO()
    Console(file=out, width=110, color_system=None).print(savings_as_text("team/chat", status, "a test"))
    return out.getvalue()


def test_a_terminal_shows_the_waterfall() -> None:
    shown = text(said())
    for words in (
        "team/chat: savings against large, from a test",
        "Saved 35.02 US dollars in 60m: 90 %; 90 % if everything favours large.",
        "Answers of large are 1.50 times as long as those of cheaper tiers (above 1.50 with 95 % confidence, 20 pairs)",
        "Nothing saved or cost: cache writes, rates of flex and batch, answers thrown away, judges",
    ):
        assert words in " ".join(shown.split())
    rows = [line.split("  ") for line in shown.splitlines()]
    cells = {row[0]: [cell for cell in row[1:] if cell.strip()] for row in rows}
    assert cells["all on large, uncached"][0].strip() == "38.50"
    assert cells["routing to cheaper tiers"][0].strip() == "−35.15"
    assert cells["spilled and fell back"][0].strip() == "+0.90"
    assert set(cells["spilled and fell back"][1].strip()) == {"+"}, "a cost is no saving without colours either"
    assert set(cells["routing to cheaper tiers"][1].strip()) == {"▒"}


def test_what_is_not_known_is_said_and_drawn_nowhere() -> None:
    status = said(RouteWork(3600))
    assert "Not known: nothing was answered in this time." in text(status)
    assert "Not known: nothing was answered" in savings_as_page("team/chat", status, "a test")


def test_a_program_reads_the_same() -> None:
    found = json.loads(json.dumps(savings_said("team/chat", said(), "a test")))
    assert (found["route"], found["savedPercent"], found["parts"][0]["tactic"]) == ("team/chat", 90, "routing")


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.bars: list[tuple[str, float, float]] = []
        self.linked: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given_ = dict(attrs)
        self.linked += [value for name in ("src", "href") if (value := given_.get(name))]
        if tag in ("script", "link", "img", "iframe"):
            self.linked.append(tag)
        if tag == "rect" and given_.get("class") and given_.get("y") == "3":
            self.bars.append((str(given_["class"]), float(given_["x"] or 0), float(given_["width"] or 0)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else_and_its_bars_are_the_figures() -> None:
    page = savings_as_page("team/chat", said(), "a test")
    read = _Page()
    read.feed(page)
    assert read.open == []
    assert read.linked == []
    assert "http:" not in page
    assert "https:" not in page
    kinds = [kind for kind, _, _ in read.bars]
    assert kinds == ["level", "saved", "saved", "cost", "cost", "level"]
    assert [width for _, _, width in read.bars[:2]] == pytest.approx([1000, 1000 * 35.15 / 38.5], abs=0.1)
    assert read.bars[1][1] == pytest.approx(1000 * 3.35 / 38.5, abs=0.1)
    for title in ("routing to cheaper tiers", "prefix cache", "paid"):
        assert title in page


def test_a_name_is_no_markup() -> None:
    status = said().model_copy(update={"notes": ["<script>alert(1)</script>"]})
    page = savings_as_page("<b>", status, "<i>")
    assert "<script" not in page
    assert "<b>" not in page


def test_every_tactic_has_a_title() -> None:
    assert set(TITLES) == set(TACTICS)


def test_the_metrics_show_the_status_and_forget_what_is_not_known() -> None:
    registry = CollectorRegistry()
    metrics = SavingsMetrics(registry)
    labels = {"route_namespace": "team", "route": "chat"}
    metrics.show(("team", "chat"), said())

    def value(name: str, **more: str) -> float | None:
        return registry.get_sample_value(f"tierwise_route_savings_{name}", labels | more)

    assert [value("baseline_usd_per_hour"), value("actual_usd_per_hour")] == [38.5, 3.48]
    assert [value("part_usd_per_hour", tactic=tactic) for tactic in ("routing", "judges")] == [35.15, 0]
    assert [value("length_ratio"), value("pairs")] == [1.5, 20]
    metrics.show(("team", "chat"), None)
    series = [sample for metric in registry.collect() for sample in metric.samples]
    assert series == []
    assert all(re.match("tierwise_route_savings_", metric.name) for metric in registry.collect())
