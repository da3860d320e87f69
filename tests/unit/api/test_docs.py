"""The pages name every field, every rule, every reason."""

from __future__ import annotations

import re

from tests.builders import pools
from tests.unit.api.structural import is_word, walk
from tierwise import reasons
from tierwise.api.crd import definition
from tierwise.api.kinds import KINDS, MODEL_TIER
from tierwise.report import ready_condition, report_pool
from tierwise.report.conditions import ConditionUpdate
from tools.api_docs import conditions_page, kind_page

ROOT = definition(MODEL_TIER)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def section(page: str, title: str) -> str:
    """The part of a page under one heading."""
    return page.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_every_field_stands_under_its_level_with_its_description() -> None:
    page = kind_page(MODEL_TIER)
    for path, node in walk(ROOT):
        level, _, name = path.lstrip(".").rpartition(".")
        if level.startswith(("spec", "status")) and name not in ("", "*") and not name.endswith("[]"):
            row = next(line for line in section(page, level).splitlines() if line.startswith(f"| `{name}` |"))
            assert node["description"].replace("|", "\\|") in row
            if "maximum" in node and "format" in node:
                assert f"≤ {node['maximum']}" in row


def test_every_rule_is_listed() -> None:
    page = kind_page(MODEL_TIER)
    for _, node in walk(ROOT):
        for rule in node.get("x-kubernetes-validations", ()):
            said = rule["message"].replace("|", "\\|")
            assert (said if is_word(node) else f"- `{rule['rule']}`: {said}.") in page


def test_every_reason_is_listed_where_it_occurs() -> None:
    page = conditions_page()
    for reason in reasons.table():
        assert reason.where
        for where in reason.where:
            title = {"Step": "Steps of a decision", "Event": "Events only"}.get(where, where)
            assert f"| {reason.word} | {reason.meaning} | {reason.remedy} |" in section(page, title)


def test_a_table_has_as_many_cells_in_every_row() -> None:
    for page in (*map(kind_page, KINDS), conditions_page()):
        for block in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_the_states_are_those_that_are_reported() -> None:
    page = section(conditions_page(), "The column STATUS")
    listed = set(re.findall(r"^\| ([A-Z][A-Za-z]+) \|", page, re.MULTILINE)) - {"STATUS"}
    fine = {
        reasons.ACCEPTED: ConditionUpdate(reasons.ACCEPTED, "True", reasons.VALID, ""),
        reasons.PROVISIONED: ConditionUpdate(reasons.PROVISIONED, "True", reasons.PROVISIONED_OK, ""),
        reasons.METRICS_AVAILABLE: ConditionUpdate(reasons.METRICS_AVAILABLE, "True", reasons.METRICS_OK, ""),
        reasons.READY: ConditionUpdate(reasons.READY, "True", reasons.SERVING, ""),
    }
    bad = [
        ConditionUpdate(reasons.ACCEPTED, "False", reasons.INVALID_SPEC, ""),
        ConditionUpdate(reasons.PROVISIONED, "False", reasons.DELETING, ""),
        ConditionUpdate(reasons.PROVISIONED, "False", reasons.IMAGE_PULL, ""),
        ConditionUpdate(reasons.METRICS_AVAILABLE, "False", reasons.PROMETHEUS_ERROR, ""),
        ConditionUpdate(reasons.READY, "True", reasons.DEGRADED, ""),
        ConditionUpdate(reasons.READY, "True", reasons.EXTERNAL_READY, ""),
        ConditionUpdate(reasons.READY, "False", reasons.STARTING, ""),
        ConditionUpdate(reasons.READY, "False", reasons.SCALED_TO_ZERO, ""),
        ConditionUpdate(reasons.READY, "False", reasons.IDLE, ""),
    ]
    told = {ready_condition.state(fine)[0]} | {ready_condition.state({**fine, each.type: each})[0] for each in bad}
    stuck = {**fine, reasons.PROVISIONED: bad[2], reasons.READY: bad[6]}
    of_pools = {report_pool(view, use, tiers=1, at=0.0).status.state for view, use, _ in pools.CASES.values()}
    assert told | {ready_condition.state(stuck)[0]} | of_pools == listed
