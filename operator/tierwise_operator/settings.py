"""Defines the settings of the process, with the reason for each default.

Every setting is a flag of `tierwise run` and an environment variable (the chart uses those); the flag wins. Settings
are read once and frozen: a change is a restart, which loses nothing (what must survive is in the tiers' status).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from tierwise.errors import Invalid
from tierwise.types import RouterPod
from tierwise.types.capabilities import EngineRules
from tierwise_operator.options import LOG_FORMATS, LOG_LEVELS, OPTIONS, PULL_POLICIES, Option

SECURITY_CONTEXTS = ("Fixed", "Namespace")
IP_FAMILIES = ("IPv4", "IPv6")
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
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
    hub_ca_file: Path | None = None
    # The same hub as engines reach it; "" leaves it to them. Offline, nobody asks it: weights come from claims.
    engine_hub_url: str = ""
    hub_offline: bool = False

    # What tiers may ask for, since it reaches beyond their pods.
    allow_remote_code: bool = False
    host_paths: tuple[str, ...] = ()

    # The Service that the Prometheus operator (kube-prometheus-stack) makes.
    prometheus_url: str = "http://prometheus-operated.monitoring.svc:9090"
    prometheus_bearer_file: Path | None = None
    prometheus_username_file: Path | None = None
    prometheus_password_file: Path | None = None
    prometheus_ca_file: Path | None = None
    prometheus_certificate_file: Path | None = None
    prometheus_key_file: Path | None = None
    prometheus_skip_verify: bool = False
    prometheus_tenant: str = ""
    # Labels that every series must have: one cluster among several in one Prometheus.
    prometheus_matchers: tuple[str, ...] = ()
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
    router_security_context: str = "Fixed"

    # What engines and routers listen on; this process has metrics_host.
    ip_family: str = "IPv4"

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
        if self.router_security_context not in SECURITY_CONTEXTS:
            raise Invalid(f"the router's security context is one of {', '.join(SECURITY_CONTEXTS)}")
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
            namespace_user=self.router_security_context == "Namespace",
            ipv6=self.ip_family == "IPv6",
        )

    @property
    def engine_rules(self) -> EngineRules:
        """What tiers may ask for here, and what their engines are told. Raises Invalid for an unknown IP family."""
        if self.ip_family not in IP_FAMILIES:
            raise Invalid(f"the IP family is one of {', '.join(IP_FAMILIES)}")
        ipv6 = self.ip_family == "IPv6"
        return EngineRules(self.engine_hub_url, self.hub_offline, self.allow_remote_code, self.host_paths, ipv6)

    @property
    def matchers(self) -> dict[str, str]:
        """The labels of `prometheus_matchers`. Raises Invalid for what is not LABEL=VALUE, and for a label that has
        two values."""
        found: dict[str, str] = {}
        for text in self.prometheus_matchers:
            label, equals, value = text.partition("=")
            if not equals or not _LABEL.fullmatch(label):
                raise Invalid(f"a Prometheus matcher is LABEL=VALUE, such as cluster=eu-1, not {text!r}")
            if label in found:
                raise Invalid(f"a Prometheus matcher has one value: {label} is given as {found[label]!r} and {value!r}")
            found[label] = value
        return found

    def __post_init__(self) -> None:
        if not 0 < self.lease_retry_seconds < self.lease_renew_deadline_seconds < self.lease_seconds:
            raise Invalid("lease: retry must be shorter than the renew deadline, and that shorter than the duration")
        if not 0 < self.coalesce_seconds <= self.coalesce_limit_seconds < self.tick_seconds:
            raise Invalid("coalescing must be shorter than the tick: events would otherwise be slower than waiting")
        if not all(0 < each < math.inf for each in (self.scrape_seconds, self.query_timeout_seconds)):
            raise Invalid("the scrape interval and the query timeout must be above 0, and finite")
        for url in filter(None, (self.hub_url, self.engine_hub_url)):
            if _HUB_URL.fullmatch(url):
                continue
            raise Invalid("the hub URL is http(s)://HOST[:PORT][/PATH], without user, query or '..'; empty: none")
        if self.router_pull_policy not in PULL_POLICIES:
            raise Invalid(f"the router's pull policy is one of {', '.join(PULL_POLICIES)}")
        if any(not path.startswith("/") or ".." in path.split("/") for path in self.host_paths):
            raise Invalid("the folders of nodes that tiers may use begin with / and have no '..'")
        if (self.prometheus_username_file is None) != (self.prometheus_password_file is None):
            raise Invalid("a user name for Prometheus needs a password, and a password a user name")
        if (self.prometheus_certificate_file is None) != (self.prometheus_key_file is None):
            raise Invalid("a client certificate for Prometheus needs its key, and a key its certificate")
        if self.prometheus_bearer_file is not None and self.prometheus_username_file is not None:
            raise Invalid("Prometheus is given a bearer token or a user name, not both")
        _ = self.router, self.matchers, self.engine_rules
        if self.log_level not in LOG_LEVELS or self.log_format not in LOG_FORMATS:
            raise Invalid(f"log level is one of {', '.join(LOG_LEVELS)}; log format one of {', '.join(LOG_FORMATS)}")


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
            number = float(text)
            if not math.isfinite(number):
                raise ValueError(text)
            return number
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
