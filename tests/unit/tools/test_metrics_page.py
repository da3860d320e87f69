"""Checks that docs/metrics.md tells of every metric, and that its words are those that the router counts by."""

from __future__ import annotations

import re
from pathlib import Path

from tierwise_router.tier import REFUSALS
from tools.generated import stale
from tools.metrics_page import BOUNDS, OUTCOMES, families, files

REPO = Path(__file__).resolve().parents[3]
SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in sorted((REPO / "router/tierwise_router").glob("*.py")))


def test_the_page_is_fresh() -> None:
    assert stale(files(), REPO) == [], "run `make docs`"


def test_every_label_has_a_bound_and_every_bound_a_label() -> None:
    needed = {(each.process, label) for each in families() for label in each.labels}
    particular = {(each.name, label) for each in families() for label in each.labels} & BOUNDS.keys()
    assert {key for key in BOUNDS if key[0].startswith("tierwise_")} == particular
    general = {key for key in BOUNDS if key not in particular}
    assert general <= needed
    assert all(each.bound(label) for each in families() for label in each.labels)


def test_the_routers_words_are_those_in_its_code() -> None:
    assert set(re.findall(r'\.refuse\("(\w+)"\)', SOURCE)) == set(REFUSALS)
    said = re.findall(
        r"record\.outcome = (.*)|record\.\w+, record\.outcome = (.*)|record\.outcome, record\.\w+ = (.*)", SOURCE
    )
    words = {word for groups in said for text in groups for word in re.findall(r'"(\w+)"', text)}
    assert words == set(OUTCOMES)


def test_the_other_pages_name_no_router_metric_that_is_not_there() -> None:
    known = {name for each in families() for name in (each.name, *each.series)}
    for page in ("docs/routing.md", "docs/alerts.md"):
        text = (REPO / page).read_text(encoding="utf-8")
        assert set(re.findall(r"\btierwise_router_\w+", text)) <= known, page
