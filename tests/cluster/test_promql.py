"""Checks with Prometheus' own parser that a query keeps its structure whatever value is put into it.

The operator asks for all tiers at once, so nothing that a tier's owner writes is part of a query; what can be put in is
the metric names of the engines (constants) and the matchers of an installation. Here everything goes in that a string
can hold, and the parsed query must differ from the plain one in the values of its matchers alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st

from playground.binaries import ensure
from tests.cluster.scraped import OwnPrometheus
from tests.render.strategies import DNS, NAMES, REPOSITORIES, URIS
from tierwise.engines import profiles
from tierwise.observe import queries
from tierwise.observe.queries import BOUND_LABEL, NO_ROOM, ROUTE_LABEL, TIER_LABEL, quote
from tierwise.observe.route_queries import route_queries

pytestmark = pytest.mark.cluster
Parse = Callable[[str], dict[str, Any]]
METRICS = [each.metrics for each in profiles()]
FUZZ = settings(max_examples=150, deadline=None)
MARK = "the value of a matcher"

FROM_A_TIER = st.one_of(NAMES, DNS, REPOSITORIES, URIS)  # as far as the CRD lets them be
ANYTHING = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)  # what UTF-8, and so an API object, can hold
HOSTILE = st.sampled_from(
    [
        'm"} or vector(9999) or x{y="',
        'm\\"} or vector(0) #',
        "\\",
        '\\"',
        "`",
        "'}",
        "a\nb",
        "a\rb",
        "\0",
        "{{x}}",
        "$1",
        "\u2028",
        "#",
        '"}[5m]) or (',
    ]
)
VALUES = st.one_of(FROM_A_TIER, ANYTHING, HOSTILE, st.tuples(HOSTILE, ANYTHING).map("".join))
LABELS = st.sampled_from(["cluster", "namespace", "pod", "tenant", "model_name"])


@pytest.fixture(scope="module")
def parse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parse]:
    """The syntax tree that Prometheus makes of a query."""
    server = OwnPrometheus(ensure() / "prometheus", tmp_path_factory.mktemp("parser"))
    server.start()
    with requests.Session() as session:

        def ask(promql: str) -> dict[str, Any]:
            answer = session.post(f"{server.url}/api/v1/parse_query", data={"query": promql}, timeout=10).json()
            assert answer["status"] == "success", answer
            tree: dict[str, Any] = answer["data"]
            return tree

        yield ask
    server.stop()


def selectors(tree: Any) -> list[dict[str, Any]]:
    """Every selector of a syntax tree, in order."""
    if isinstance(tree, list):
        return [found for each in tree for found in selectors(each)]
    if not isinstance(tree, dict):
        return []
    own = [tree] if tree.get("type") in ("vectorSelector", "matrixSelector") else []
    return own + [found for each in tree.values() for found in selectors(each)]


def _marked(tree: Any, labels: set[str]) -> Any:
    """The tree with the values of these matchers replaced, so that only the structure is compared."""
    for selector in selectors(tree):
        for matcher in selector["matchers"]:
            if matcher["name"] in labels:
                matcher["value"] = MARK
    return tree


@FUZZ
@given(st.dictionaries(LABELS, VALUES, min_size=1, max_size=3))
@example({"cluster": 'm"} or vector(9999) or x{y="'})
def test_whatever_a_matcher_holds_the_query_is_the_same(parse: Parse, matchers: dict[str, str]) -> None:
    plain = queries(METRICS, matchers=dict.fromkeys(matchers, "x"))
    for asked, harmless in zip(queries(METRICS, matchers=matchers), plain, strict=True):
        tree = parse(asked.promql)
        for selector in selectors(tree):
            said = [(each["name"], each["type"], each["value"]) for each in selector["matchers"]]
            own = [each for each in said if each[0] not in matchers]
            users = [each for each in said if each[0] in matchers]
            assert own[0][:2] == ("__name__", "=")
            assert own[1] in ((TIER_LABEL, "!=", ""), (ROUTE_LABEL, "!=", ""))
            others = {each for each in own[2:] if each[:2] != (BOUND_LABEL, "=~")}
            assert others <= {("tier", "!=", ""), ("reason", "=~", NO_ROOM)}
            assert users == [(name, "=", value) for name, value in sorted(matchers.items())]
        assert _marked(tree, set(matchers)) == _marked(parse(harmless.promql), set(matchers))


@FUZZ
@given(VALUES)
@example("\\\n\r\"'`")
def test_a_quoted_value_is_one_string_with_that_value(parse: Parse, value: str) -> None:
    assert parse(f"up{{x={quote(value)}}}")["matchers"][0]["value"] == value
    assert parse(quote(value)) == {"type": "stringLiteral", "val": value}


def test_a_value_without_quoting_would_change_the_query(parse: Parse) -> None:
    """That the comparison can fail."""
    injected = parse('sum(up{x="m"} or vector(9999) or x{y=""})')
    assert len(selectors(injected)) == 2
    assert "vector" in json.dumps(injected)


def test_nothing_of_a_tier_or_route_is_asked_for_by_name(parse: Parse) -> None:
    """However many there are: the same questions, whose selectors name metrics, and labels that need only be there."""
    for query in (*queries(METRICS), *route_queries()):
        for selector in selectors(parse(query.promql)):
            named = {each["name"] for each in selector["matchers"] if each["value"]}
            assert named <= {"__name__", "reason", "part", "purpose", "why", BOUND_LABEL}
