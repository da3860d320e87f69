"""Checks with Prometheus' own promtool what the chart records, and that its alerts fire when they should."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from playground.binaries import ensure
from tests.chart.helm import CHART, REPO, template
from tests.chart.rule_cases import FIRES, RECORDED, SILENT
from tools.metrics_page import families

GROUPS: list[dict[str, Any]] = yaml.safe_load((CHART / "files/rules.yaml").read_text(encoding="utf-8"))
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDS = {rule["record"]: rule for rule in RULES if "record" in rule}
VLLM = REPO / "tests/unit/simulator/vllm_metrics.json"
PAGE = (REPO / "docs/alerts.md").read_text(encoding="utf-8")


def _promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(ensure() / "promtool"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_every_rule_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": GROUPS}))
    done = _promtool("check", "rules", path)
    assert done.returncode == 0, done.stderr + done.stdout


# --- what promtool says of series ------------------------------------------------------------------------------------


def _judge(folder: Path, tests: Mapping[str, Mapping[str, Any]], interval: str) -> tuple[bool, str]:
    """Whether promtool finds all as expected, and what it printed; one call for all, since each takes half a second."""
    rules, path = folder / "rules.yaml", folder / "test.yaml"
    rules.write_text(yaml.safe_dump({"groups": GROUPS}))
    listed = [{"name": name, "interval": "1m", **test} for name, test in tests.items()]
    path.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": interval, "tests": listed}))
    done = _promtool("test", "rules", path)
    return done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def firing(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """The cases in which their alert fires: promtool is told that none does."""
    found: list[str] = []
    for long, interval in ((False, "1m"), (True, "4m")):
        tests = {
            name: {
                "input_series": _series(case.series),
                "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": []}],
            }
            for name, case in {**FIRES, **SILENT}.items()
            if case.at.endswith("h") is long
        }
        _, output = _judge(tmp_path_factory.mktemp("alerts"), tests, interval)
        names = re.findall(r"^ *name: (.*),$", output, re.MULTILINE)
        assert output.count("alertname: ") == output.count("got:[") == len(names), output
        found += names
    return frozenset(found)


@pytest.mark.parametrize("name", FIRES)
def test_it_fires_for(firing: frozenset[str], name: str) -> None:
    assert name in firing


@pytest.mark.parametrize("name", SILENT)
def test_it_is_silent_for(firing: frozenset[str], name: str) -> None:
    assert name not in firing


def test_what_is_recorded_is_what_was_counted(tmp_path: Path) -> None:
    tests = {}
    for record, at, series, expected in RECORDED:
        samples = [{"labels": record + labels, "value": value} for labels, value in expected.items()]
        asked = {"expr": record, "eval_time": at, "exp_samples": samples}
        tests[record] = {"input_series": _series(series), "promql_expr_test": [asked]}
    right, output = _judge(tmp_path, tests, "5m")
    assert right, output


def _series(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"series": name, "values": text} for name, text in values.items()]


def test_every_rule_has_its_cases() -> None:
    assert {case.alert for case in FIRES.values()} == {case.alert for case in SILENT.values()} == set(ALERTS)
    assert {row[0] for row in RECORDED} == set(RECORDS)


# --- what people read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_it_is_and_leads_to_its_runbook(name: str) -> None:
    said = ALERTS[name]["annotations"]
    assert set(said) == {"summary", "description", "runbook_url"}
    assert said["runbook_url"] == f"docs/alerts.md#{name.lower()}"
    assert f"\n### {name}\n" in PAGE
    assert ALERTS[name]["labels"]["severity"] in ("critical", "warning", "info")
    used = set(re.findall(r"\$labels\.(\w+)", said["summary"] + said["description"]))
    by = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", _expanded(ALERTS[name]["expr"])))))
    assert used <= by, "a label that the expression drops is printed as nothing"


def _expanded(expression: str) -> str:
    """The expression with those of the recorded series that it names behind it."""
    return " ".join([expression, *(RECORDS[name]["expr"] for name in re.findall(r"tierwise:[\w:]+", expression))])


def test_the_page_tells_of_every_alert_and_series_and_of_no_other() -> None:
    assert set(re.findall(r"^### (Tierwise\w+)$", PAGE, re.MULTILINE)) == set(ALERTS)
    rows = re.findall(r"^\| `(tierwise:[^|]*) \|", PAGE, re.MULTILINE)
    listed = {row.partition("`")[0] for row in rows}
    more = {f"tierwise:route_errors:ratio_rate{window}" for window in ("30m", "1h", "6h")}
    assert listed | more == set(RECORDS)


def test_the_runbooks_are_where_the_installer_keeps_them() -> None:
    image = ("--set", "image.repository=registry.example.com/tierwise/operator", "--set", "prometheusRule.enabled=true")
    done = template(*image, "--set", "prometheusRule.runbookURL=https://wiki.example.com/tierwise")
    (made,) = [each for each in yaml.safe_load_all(done.stdout) if each and each["kind"] == "PrometheusRule"]
    links = [
        rule["annotations"]["runbook_url"]
        for group in made["spec"]["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    assert links == [f"https://wiki.example.com/tierwise#{name.lower()}" for name in ALERTS]


# --- the metrics that there are --------------------------------------------------------------------------------------


def _of_vllm() -> set[str]:
    """vLLM's series, by the list that was taken from its source."""
    metrics = json.loads(VLLM.read_text(encoding="utf-8"))["metrics"]
    ends = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    return {each["name"] + end for each in metrics for end in ends[each["type"]]}


def test_every_metric_in_a_rule_is_one_that_somebody_exports() -> None:
    known = {name: set(each.labels) for each in families() for name in each.series}
    known |= {name: set[str]() for name in _of_vllm()}
    for rule in RULES:
        for name in re.findall(r"\b(?:tierwise_(?!io_)\w+|vllm:\w+)", rule["expr"]):
            assert name in known, f"{rule.get('alert') or rule['record']} asks for {name}"
        for name in re.findall(r"\btierwise:[\w:]+", rule["expr"]):
            assert name in RECORDS


def test_every_label_in_a_matcher_is_one_that_the_metric_has() -> None:
    added = {"namespace", "pod", "tierwise_io_route", "tierwise_io_tier", "le"}
    known = {name: set(each.labels) for each in families() for name in each.series}
    for rule in RULES:
        for name, matchers in re.findall(r"\b(tierwise_(?!io_)\w+)\{([^}]*)\}", rule["expr"]):
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            assert asked <= known[name] | added, f"{name} has no {asked - known[name]}"
