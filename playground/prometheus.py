"""Defines what the playground's Prometheus scrapes, and under which labels.

The first two jobs yield what the Prometheus operator makes of Tierwise's PodMonitors (port `http`, path /metrics,
podTargetLabels [tierwise.io/tier]; port `metrics`, [tierwise.io/route]), relabelling rule by rule, so that a query that
works here works on a cluster with kube-prometheus-stack. The third scrapes annotated pods, as the operator's own is.
"""

from __future__ import annotations

from typing import Any

from playground.layout import Layout

ENGINE_JOB = "tierwise-system/tierwise"
ROUTER_JOB = "tierwise-system/tierwise-routers"
ANNOTATED_JOB = "annotated-pods"
_POD = "__meta_kubernetes_pod"
_MANAGED_BY = f"{_POD}_label_app_kubernetes_io_managed_by"

Rule = dict[str, Any]


def configuration(layout: Layout, scrape_interval: float) -> dict[str, Any]:
    """Return Prometheus' configuration; `scrape_interval` in seconds."""
    interval = f"{round(scrape_interval * 1000)}ms"
    discovery = [{"role": "pod", "kubeconfig_file": str(layout.kubeconfig("prometheus"))}]
    return {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "evaluation_interval": interval,
        },
        "scrape_configs": [
            {
                "job_name": f"podMonitor/{ENGINE_JOB}/0",
                "metrics_path": "/metrics",
                "kubernetes_sd_configs": discovery,
                "relabel_configs": _pod_rules(ENGINE_JOB, "http", "tierwise_io_tier"),
            },
            {
                "job_name": f"podMonitor/{ROUTER_JOB}/0",
                "metrics_path": "/metrics",
                "kubernetes_sd_configs": discovery,
                "relabel_configs": _pod_rules(ROUTER_JOB, "metrics", "tierwise_io_route"),
            },
            {
                "job_name": ANNOTATED_JOB,
                "kubernetes_sd_configs": discovery,
                "relabel_configs": _annotated_rules(),
            },
        ],
    }


def _pod_rules(job: str, port: str, label: str) -> list[Rule]:
    """What a PodMonitor does that selects the pods with this label, and makes it one of their series."""
    return [
        _drop(f"{_POD}_phase", "(Failed|Succeeded)"),
        _keep(_MANAGED_BY, "tierwise"),
        _keep(f"{_POD}_labelpresent_{label}", "true"),
        _keep(f"{_POD}_container_port_name", port),
        _copy("__meta_kubernetes_namespace", "namespace"),
        _copy(f"{_POD}_container_name", "container"),
        _copy(f"{_POD}_name", "pod"),
        _copy(f"{_POD}_label_{label}", label, "(.+)"),
        {"target_label": "job", "replacement": job},
        {"target_label": "endpoint", "replacement": port},
    ]


def _annotated_rules() -> list[Rule]:
    annotation = f"{_POD}_annotation_prometheus_io"
    return [
        _drop(f"{_POD}_phase", "(Failed|Succeeded)"),
        _keep(f"{annotation}_scrape", "true"),
        _drop(_MANAGED_BY, "tierwise"),
        _copy(f"{annotation}_path", "__metrics_path__", "(.+)"),
        {
            "source_labels": [f"{_POD}_ip", f"{annotation}_port"],
            "separator": ":",
            "regex": r"([^:]+:\d+)",
            "target_label": "__address__",
        },
        _copy("__meta_kubernetes_namespace", "namespace"),
        _copy(f"{_POD}_name", "pod"),
    ]


def _keep(label: str, value: str) -> Rule:
    return {"action": "keep", "source_labels": [label], "regex": value}


def _drop(label: str, value: str) -> Rule:
    return {"action": "drop", "source_labels": [label], "regex": value}


def _copy(source: str, target: str, pattern: str = "(.*)") -> Rule:
    return {"source_labels": [source], "regex": pattern, "target_label": target}
