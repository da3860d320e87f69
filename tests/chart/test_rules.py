"""Checks with Prometheus' own promtool that the chart's alerts fire when they should and are silent otherwise."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from playground.binaries import ensure
from tests.chart.helm import CHART

TIER = 'tier_namespace="chat", tier="small"'
CONDITION = 'tierwise_tier_condition{{{}, type="{}", status="false"}}'
READY, METRICS = CONDITION.format(TIER, "Ready"), CONDITION.format(TIER, "MetricsAvailable")
DESIRED = f"tierwise_tier_desired_replicas{{{TIER}}}"
DECISIONS = f'tierwise_decisions_total{{{TIER}, reason="MaxReplicas"}}'
ROUTE = 'tierwise_route_condition{{route_namespace="chat", route="chat", type="{}", status="false"}}'
AGE = 'tierwise_cycle_age_seconds{namespace="tierwise-system", pod="tierwise-0"}'

FIRES: dict[str, tuple[str, str, dict[str, str]]] = {
    "a loop that stands still": ("TierwiseStalled", "5m", {AGE: "0+60x60"}),
    "a tier that is not ready": ("TierwiseTierNotReady", "20m", {READY: "1x60", DESIRED: "2x60"}),
    "a route that answers nobody": ("TierwiseRouteNotReady", "15m", {ROUTE.format("Ready"): "1x60"}),
    "a route whose new routers do not start": (
        "TierwiseRouteNotProvisioned",
        "20m",
        {ROUTE.format("Provisioned"): "1x60"},
    ),
    "a tier that is not measured": ("TierwiseMetricsUnavailable", "15m", {METRICS: "1x60"}),
    "a tier that wants more than its maximum": ("TierwiseTierAtMaximum", "40m", {DECISIONS: "0+6x60"}),
}
SILENT: dict[str, tuple[str, str, dict[str, str]]] = {
    "a loop that turns": ("TierwiseStalled", "20m", {AGE: "3x60"}),
    "a route that was away for a moment": ("TierwiseRouteNotReady", "40m", {ROUTE.format("Ready"): "1x5 0x55"}),
    "a route that is rolled out": ("TierwiseRouteNotProvisioned", "10m", {ROUTE.format("Provisioned"): "1x60"}),
    "a tier at zero by intent": ("TierwiseTierNotReady", "40m", {READY: "1x60", DESIRED: "0x60"}),
    "a tier that has just started": ("TierwiseTierNotReady", "10m", {READY: "1x60", DESIRED: "2x60"}),
    "a tier that once touched its maximum": ("TierwiseTierAtMaximum", "59m", {DECISIONS: "0+6x10 60x50"}),
}


def _promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(ensure() / "promtool"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": yaml.safe_load((CHART / "files/rules.yaml").read_text())}))
    return path


def test_every_rule_is_valid(rules: Path) -> None:
    done = _promtool("check", "rules", rules)
    assert done.returncode == 0, done.stderr + done.stdout


def _alerts(rules: Path, alert: str, at: str, series: dict[str, str]) -> bool:
    """Whether the alert fires at this moment, given the series."""
    case: dict[str, Any] = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": at, "alertname": alert, "exp_alerts": []}],
    }
    path = rules.with_name("test.yaml")
    path.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [case]}))
    done = _promtool("test", "rules", path)
    output = done.stdout + done.stderr
    assert done.returncode == 0 or "got:[" in output.replace("\n", "").replace(" ", ""), output
    return done.returncode != 0


@pytest.mark.parametrize(("alert", "at", "series"), FIRES.values(), ids=FIRES)
def test_it_fires_for(rules: Path, alert: str, at: str, series: dict[str, str]) -> None:
    assert _alerts(rules, alert, at, series)


@pytest.mark.parametrize(("alert", "at", "series"), SILENT.values(), ids=SILENT)
def test_it_is_silent_for(rules: Path, alert: str, at: str, series: dict[str, str]) -> None:
    assert not _alerts(rules, alert, at, series)
