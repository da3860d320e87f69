"""Defines the settings of the process, with the reason for each default.

Every setting is a flag of `tierwise run` and an environment variable (the chart uses those); the flag wins. Settings
are read once and frozen: a change is a restart, which loses nothing (what must survive is in the tiers' status).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from tierwise.errors import Invalid
from tierwise.types import RouterPod

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LOG_FORMATS = ("text", "json")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_HUB_URL = re.compile(r"https?://[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?(/(?!\.)[A-Za-z0-9._~-]+)*/?")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. Durations are seconds."""

    # () means all namespaces. With names, a Role in each is enough: no cluster-wide right is needed.
    namespaces: tuple[str, ...] = ()
    kubeconfig: Path | None = None
    context: str | None = None

    # Nodes are cluster-wide: an operator with Roles in some namespaces only may have to do without them.
    watch_nodes: bool = True
    # So are GPUPools, and what others hold of their GPUs is counted on the pods of all namespaces.
    watch_pools: bool = True

    # Where hf:// models are described (config.json), as the engines that load them reach it. "" asks nobody.
    hub_url: str = "https://huggingface.co"

    # The Service that the Prometheus operator (kube-prometheus-stack) makes.
    prometheus_url: str = "http://prometheus-operated.monitoring.svc:9090"
    prometheus_bearer_file: Path | None = None
    prometheus_ca_file: Path | None = None
    prometheus_tenant: str = ""
    # The PodMonitor's interval: the sampler asks as often, and a sample older than three of them is stale.
    scrape_seconds: float = 10.0
    # Half an interval: an answer that takes longer would be old before it is used.
    query_timeout_seconds: float = 5.0

    # HPA looks every 15 s; the metrics are new every 10 s, looking more often sees nothing new.
    tick_seconds: float = 10.0
    # Events come in bursts (a scale-up changes a Deployment, its pods and its endpoints within a second): wait until
    # half a second is quiet, but never longer than two.
    coalesce_seconds: float = 0.5
    coalesce_limit_seconds: float = 2.0

    metrics_host: str = "0.0.0.0"  # noqa: S104  (Prometheus and the kubelet reach it from outside the pod)
    metrics_port: int = 8080

    # client-go's proportions: 15 s to hand over, a leader stops writing 5 s before another may begin.
    lease_name: str = "tierwise"
    lease_namespace: str = "tierwise-system"
    lease_seconds: float = 15.0
    lease_renew_deadline_seconds: float = 10.0
    lease_retry_seconds: float = 2.0
    identity: str = ""

    # How the routers of ModelRoutes run. Without an image each route says that it is missing.
    router_image: str = ""
    router_pull_policy: str = "IfNotPresent"
    router_pull_secrets: tuple[str, ...] = ()
    router_resources: str = "{}"
    router_body_memory_mib: int = 128
    router_env: str = "[]"
    router_role: str = "tierwise-router"

    log_level: str = "INFO"
    log_format: str = "text"

    @property
    def router(self) -> RouterPod | None:
        """How routers run here; None without an image. Raises Invalid for resources that are no JSON object, and for
        variables that are no list of them."""
        if not self.router_image:
            return None
        resources, env = _json(self.router_resources), _json(self.router_env)
        if not isinstance(resources, dict):
            raise Invalid('the router\'s resources are a JSON object, such as {"requests": {"cpu": "100m"}}')
        if not isinstance(env, list) or not all(isinstance(one, dict) and one.get("name") for one in env):
            raise Invalid('the router\'s variables are a JSON list, such as [{"name": "A", "value": "b"}]')
        if self.router_body_memory_mib < 1:
            raise Invalid("the memory for bodies in a router is at least 1 MiB")
        return RouterPod(
            self.router_image,
            self.router_role,
            self.router_pull_policy,
            self.router_pull_secrets,
            resources,
            self.router_body_memory_mib,
            tuple(env),
        )

    def __post_init__(self) -> None:
        if not 0 < self.lease_retry_seconds < self.lease_renew_deadline_seconds < self.lease_seconds:
            raise Invalid("lease: retry must be shorter than the renew deadline, and that shorter than the duration")
        if not 0 < self.coalesce_seconds <= self.coalesce_limit_seconds < self.tick_seconds:
            raise Invalid("coalescing must be shorter than the tick: events would otherwise be slower than waiting")
        if self.scrape_seconds <= 0 or self.query_timeout_seconds <= 0:
            raise Invalid("the scrape interval and the query timeout must be above 0")
        if self.hub_url and not _HUB_URL.fullmatch(self.hub_url):
            raise Invalid("the hub URL is http(s)://HOST[:PORT][/PATH], without user, query or '..'; empty: none")
        if self.router_pull_policy not in PULL_POLICIES:
            raise Invalid(f"the router's pull policy is one of {', '.join(PULL_POLICIES)}")
        _ = self.router
        if self.log_level not in LOG_LEVELS or self.log_format not in LOG_FORMATS:
            raise Invalid(f"log level is one of {', '.join(LOG_LEVELS)}; log format one of {', '.join(LOG_FORMATS)}")


@dataclass(frozen=True, slots=True)
class Option:
    """One setting as a flag and as an environment variable."""

    field: str
    flag: str
    variable: str
    text: str
    metavar: str = "TEXT"


OPTIONS = (
    Option("namespaces", "--namespaces", "TIERWISE_NAMESPACES", "namespaces to serve, by comma; empty: all", "NS,NS"),
    Option("kubeconfig", "--kubeconfig", "TIERWISE_KUBECONFIG", "API server to use; in a pod: its own", "FILE"),
    Option("context", "--context", "TIERWISE_CONTEXT", "context of the kubeconfig"),
    Option("watch_nodes", "--watch-nodes", "TIERWISE_WATCH_NODES", "whether to look at the nodes' GPUs", "BOOL"),
    Option("watch_pools", "--watch-pools", "TIERWISE_WATCH_POOLS", "whether to serve GPUPools", "BOOL"),
    Option("hub_url", "--hub-url", "TIERWISE_HUB_URL", "hub that describes hf:// models; none: asks nobody", "URL"),
    Option("prometheus_url", "--prometheus-url", "TIERWISE_PROMETHEUS_URL", "where Prometheus answers", "URL"),
    Option(
        "prometheus_bearer_file",
        "--prometheus-bearer-file",
        "TIERWISE_PROMETHEUS_BEARER_FILE",
        "file with a bearer token for Prometheus",
        "FILE",
    ),
    Option(
        "prometheus_ca_file",
        "--prometheus-ca-file",
        "TIERWISE_PROMETHEUS_CA_FILE",
        "CA of an https Prometheus",
        "FILE",
    ),
    Option(
        "prometheus_tenant",
        "--prometheus-tenant",
        "TIERWISE_PROMETHEUS_TENANT",
        "sent as X-Scope-OrgID (Mimir, Thanos)",
    ),
    Option("scrape_seconds", "--scrape-seconds", "TIERWISE_SCRAPE_SECONDS", "scrape interval of the engines", "S"),
    Option(
        "query_timeout_seconds",
        "--query-timeout-seconds",
        "TIERWISE_QUERY_TIMEOUT_SECONDS",
        "how long one query may take",
        "S",
    ),
    Option("tick_seconds", "--tick-seconds", "TIERWISE_TICK_SECONDS", "between two decisions without events", "S"),
    Option("metrics_host", "--metrics-host", "TIERWISE_METRICS_HOST", "address of /metrics, /healthz, /readyz", "ADDR"),
    Option("metrics_port", "--metrics-port", "TIERWISE_METRICS_PORT", "port of the same; 0: any free one", "PORT"),
    Option("lease_name", "--lease-name", "TIERWISE_LEASE_NAME", "the Lease that lets one process write"),
    Option("lease_namespace", "--lease-namespace", "POD_NAMESPACE", "namespace of the Lease"),
    Option("lease_seconds", "--lease-seconds", "TIERWISE_LEASE_SECONDS", "after how long another may take over", "S"),
    Option(
        "lease_renew_deadline_seconds",
        "--lease-renew-deadline-seconds",
        "TIERWISE_LEASE_RENEW_DEADLINE_SECONDS",
        "after how long without renewal this process stops writing",
        "S",
    ),
    Option("lease_retry_seconds", "--lease-retry-seconds", "TIERWISE_LEASE_RETRY_SECONDS", "between two renewals", "S"),
    Option("identity", "--identity", "POD_NAME", "name of this process in the Lease and in Events"),
    Option("router_image", "--router-image", "TIERWISE_ROUTER_IMAGE", "image of the routers of ModelRoutes", "IMAGE"),
    Option(
        "router_pull_policy",
        "--router-pull-policy",
        "TIERWISE_ROUTER_PULL_POLICY",
        f"when it is pulled: {', '.join(PULL_POLICIES)}",
    ),
    Option(
        "router_pull_secrets",
        "--router-pull-secrets",
        "TIERWISE_ROUTER_PULL_SECRETS",
        "Secrets in the namespace of a route to pull it with, by comma",
        "NAME,NAME",
    ),
    Option(
        "router_resources",
        "--router-resources",
        "TIERWISE_ROUTER_RESOURCES",
        "requests and limits of a router, as in a pod",
        "JSON",
    ),
    Option(
        "router_body_memory_mib",
        "--router-body-memory-mib",
        "TIERWISE_ROUTER_BODY_MEMORY_MIB",
        "what the bodies of all requests in a router may take together",
        "MIB",
    ),
    Option(
        "router_env",
        "--router-env",
        "TIERWISE_ROUTER_ENV",
        "further variables of a router's container, as in a pod",
        "JSON",
    ),
    Option("router_role", "--router-role", "TIERWISE_ROUTER_ROLE", "ClusterRole that is bound for the routers", "NAME"),
    Option("log_level", "--log-level", "TIERWISE_LOG_LEVEL", ", ".join(LOG_LEVELS)),
    Option("log_format", "--log-format", "TIERWISE_LOG_FORMAT", "text for people, json for machines"),
)


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Every setting as a flag whose help names its variable and its default."""
    defaults = {field.name: field.default for field in fields(Settings)}
    for option in OPTIONS:
        default = defaults[option.field]
        shown = f"; default {default}" if default not in ("", None, ()) else ""
        parser.add_argument(
            option.flag, dest=option.field, metavar=option.metavar, help=f"{option.text} [{option.variable}{shown}]"
        )


def resolve(flags: Mapping[str, str | None], environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from flags, then variables, then defaults. Raises Invalid with the name of what is wrong."""
    given: dict[str, object] = {}
    for option in OPTIONS:
        text = flags.get(option.field)
        if text is None:
            text = environ.get(option.variable) or None
        if text is not None:
            given[option.field] = _parsed(option, text)
    if not given.get("identity"):
        given["identity"] = f"{socket.gethostname()}-{os.getpid()}"
    return Settings(**given)  # type: ignore[arg-type]


def _parsed(option: Option, text: str) -> object:
    kinds = {field.name: str(field.type) for field in fields(Settings)}
    kind = kinds[option.field]
    try:
        if kind.startswith("tuple"):
            return tuple(sorted({part.strip() for part in text.split(",") if part.strip()}))
        if kind.startswith("Path"):
            return Path(text)
        if kind == "float":
            return float(text)
        if kind == "int":
            return int(text)
        if option.field == "hub_url" and text.lower() == "none":
            return ""
        if kind == "bool":
            return _BOOLEANS[text.lower()]
    except KeyError as error:
        raise Invalid(f"{option.flag} ({option.variable}): {text!r} is neither true nor false") from error
    except ValueError as error:
        raise Invalid(f"{option.flag} ({option.variable}): {text!r} is not a number") from error
    if option.field == "log_level":
        return text.upper()
    return text
