"""Checks that the queries are few, fixed, and safe for any value."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise.api.service_targets import INTER_TOKEN_MILLISECONDS, TTFT_MILLISECONDS
from tierwise.engines import MetricNames, profiles
from tierwise.observe import queries
from tierwise.observe.queries import NO_ROOM, Query, quote
from tierwise_router.tier import REFUSALS

NAMES = MetricNames()


def test_six_questions_whatever_the_engines() -> None:
    for names in ([NAMES], [each.metrics for each in profiles()], [NAMES, replace(NAMES, running="sglang:running")]):
        assert [query.name for query in queries(names)] == [
            "load",
            "capacity",
            "targets",
            "flows",
            "routers",
            "latency",
        ]


def test_latency_asks_for_the_bounds_of_targets_however_they_are_written() -> None:
    asked = next(query.promql for query in queries([NAMES]) if query.name == "latency")
    seconds, tokens = (re.compile(found) for found in re.findall(r'le=~"([^"]*)"', asked))
    for milliseconds, bounds in ((TTFT_MILLISECONDS, seconds), (INTER_TOKEN_MILLISECONDS, tokens)):
        for each in milliseconds:
            assert bounds.fullmatch(f"{each / 1000:g}")
            assert bounds.fullmatch(str(each / 1000)), "as Python clients and Prometheus 3 write it"
    for other in ("0.11", "0x1", "+Inf", "2.50", "1.00", "0.001"):
        assert not seconds.fullmatch(other)
    assert asked.count('__name__="vllm:time_to_first_token_seconds_bucket"') == 1
    assert asked.count('__name__="vllm:request_time_per_output_token_seconds_bucket"') == 1


def test_the_order_of_engines_changes_nothing() -> None:
    other = replace(NAMES, running="sglang:running")
    assert queries([NAMES, other]) == queries([other, NAMES, NAMES])
    assert '__name__=~"sglang:running|vllm:num_requests_running"' in queries([NAMES, other])[0].promql


@pytest.mark.parametrize("query", queries([NAMES], matchers={"cluster": "eu"}), ids=lambda query: query.name)
def test_every_selector_asks_for_a_tier_or_a_route_and_for_what_is_set(query: Query) -> None:
    label = "tierwise_io_route" if query.name == "routers" else "tierwise_io_tier"
    selectors = re.findall(r"\{[^}]*\}", query.promql)
    assert selectors
    for selector in selectors:
        assert f'{label}!=""' in selector
        assert 'cluster="eu"' in selector


def test_absence_is_never_turned_into_a_number() -> None:
    for query in queries([NAMES]):
        assert "vector(" not in query.promql
        assert "absent" not in query.promql
        assert "offset" not in query.promql


def test_every_series_must_come_from_the_target_that_it_names() -> None:
    """Which tells a replica's own series from those that a stranger exports under its name."""
    for query in queries([NAMES]):
        asked = [selector for selector in re.findall(r"\{[^}]*\}", query.promql) if '"up"' not in selector]
        label = "tierwise_io_route" if query.name == "routers" else "tierwise_io_tier"
        assert query.promql.count(f"and on (namespace, pod, {label}, job, instance) {{") == len(asked)


@pytest.mark.parametrize(
    ("scrape", "window", "least"), [(10.0, "60s", 5), (15.0, "90s", 5), (2.0, "60s", 24), (1.0, "60s", 48)]
)
def test_rates_need_a_full_window(scrape: float, window: str, least: int) -> None:
    flows = queries([NAMES], scrape_seconds=scrape)[3].promql
    assert f"[{window}])" in flows
    assert flows.count(f">= {least}") == flows.count("count_over_time") == flows.count("rate({") == 3


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("plain", '"plain"'),
        ('m"} or vector(9999) or x{y="', '"m\\"} or vector(9999) or x{y=\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("two\nlines\r", '"two\\nlines\\r"'),
    ],
)
def test_quoting(value: str, quoted: str) -> None:
    assert quote(value) == quoted


@settings(max_examples=100)
@given(st.text())
def test_a_quoted_value_ends_where_its_quote_ends(value: str) -> None:
    inside = quote(value)[1:-1]
    assert "\n" not in inside
    assert "\r" not in inside
    assert re.fullmatch(r'(?:[^"\\]|\\.)*', inside, re.DOTALL)
    unescaped = re.sub(r"\\(.)", lambda match: {"n": "\n", "r": "\r"}.get(match[1], match[1]), inside)
    assert unescaped == value


@pytest.mark.parametrize("bad", ['x"}', "", "1x", "a b", 'vllm:x{a="b"}', "x\n"])
def test_what_is_no_metric_name_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="is not a metric name"):
        queries([replace(NAMES, waiting=bad)])


@pytest.mark.parametrize("bad", ["a-b", "", "1a", 'a="b",c'])
def test_what_is_no_label_name_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="is not a label name"):
        queries([NAMES], matchers={bad: "x"})
    with pytest.raises(ValueError, match="is not a label name"):
        queries([replace(NAMES, kv_tokens_label=bad)])


def test_only_refusals_for_want_of_room_are_demand() -> None:
    """Money is no reason for another replica. The router's words for them are these."""
    counted = set(NO_ROOM.split("|"))
    assert counted == {"queue_full", "queue_timeout", "displaced", "spilled"}
    assert set(REFUSALS) - counted == {"spill_cap", "budget"}


def test_what_a_router_says_of_a_tier_has_the_form_of_what_a_replica_says() -> None:
    routers = queries([NAMES])[4]
    assert routers.promql.count('"tierwise_io_tier", "$1", "tier", "(.+)")') == 5
    for name in ("wanted_total", "waiting", "in_flight", "refused_total"):
        assert f'"tierwise_router_{name}"' in routers.promql
