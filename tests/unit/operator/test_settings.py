"""Checks that flags, variables and defaults become settings, in this order, and that a wrong value is refused by
name."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

import pytest

from tierwise.errors import Invalid
from tierwise.types.capabilities import EngineRules
from tierwise_operator.options import OPTIONS
from tierwise_operator.settings import Settings, add_options, resolve


def test_every_setting_has_one_flag_and_one_variable() -> None:
    internal = {"coalesce_seconds", "coalesce_limit_seconds"}
    assert {option.field for option in OPTIONS} == {field.name for field in fields(Settings)} - internal
    assert len({option.flag for option in OPTIONS}) == len({option.variable for option in OPTIONS}) == len(OPTIONS)


def test_the_flag_wins_over_the_variable_and_the_variable_over_the_default() -> None:
    environ = {"TIERWISE_TICK_SECONDS": "20", "TIERWISE_PROMETHEUS_URL": "http://p:1", "TIERWISE_LOG_LEVEL": "debug"}
    settings = resolve({"tick_seconds": "30"}, environ)
    assert settings.tick_seconds == 30.0
    assert settings.prometheus_url == "http://p:1"
    assert settings.log_level == "DEBUG"
    assert settings.scrape_seconds == Settings().scrape_seconds


def test_kinds_of_values() -> None:
    settings = resolve({"namespaces": " b, a ,,b", "kubeconfig": "/k", "metrics_port": "0"}, {})
    assert settings.namespaces == ("a", "b")
    assert settings.kubeconfig == Path("/k")
    assert settings.metrics_port == 0
    assert [resolve({}, {"TIERWISE_WATCH_NODES": each}).watch_nodes for each in ("true", "False")] == [True, False]


def test_no_hub_is_said_by_a_word_since_an_empty_variable_is_no_value() -> None:
    assert resolve({}, {"TIERWISE_HUB_URL": ""}).hub_url == Settings().hub_url == "https://huggingface.co"
    assert resolve({}, {"TIERWISE_HUB_URL": "none"}).hub_url == resolve({"hub_url": ""}, {}).hub_url == ""
    assert resolve({"hub_url": "http://mirror.ai:8080/api/hf/"}, {}).hub_url == "http://mirror.ai:8080/api/hf/"


def test_an_empty_variable_is_no_value() -> None:
    assert resolve({}, {"TIERWISE_NAMESPACES": "", "POD_NAMESPACE": ""}) == resolve({}, {})


def test_the_identity_is_the_pod_or_this_process() -> None:
    assert resolve({}, {"POD_NAME": "op-1"}).identity == "op-1"
    assert resolve({}, {}).identity


def test_what_tiers_may_ask_for_is_nothing_unless_it_is_said() -> None:
    assert resolve({}, {}).engine_rules == EngineRules()
    said = {"TIERWISE_HOST_PATHS": "/b,/a", "TIERWISE_ALLOW_REMOTE_CODE": "true", "TIERWISE_HUB_OFFLINE": "yes"}
    told = resolve({}, {**said, "TIERWISE_ENGINE_HUB_URL": "https://mirror.example.com"}).engine_rules
    assert told == EngineRules("https://mirror.example.com", offline=True, remote_code=True, host_paths=("/a", "/b"))


def test_matchers_are_labels_with_values() -> None:
    assert resolve({"prometheus_matchers": "cluster=eu-1,expr=a=b,empty="}, {}).matchers == {
        "cluster": "eu-1",
        "expr": "a=b",
        "empty": "",
    }
    assert resolve({}, {}).matchers == {}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"tick_seconds": "soon"}, "--tick-seconds .*'soon' is not a number"),
        ({"metrics_port": "1.5"}, "TIERWISE_METRICS_PORT"),
        ({"lease_retry_seconds": "12"}, "renew deadline"),
        ({"lease_seconds": "9"}, "renew deadline"),
        ({"tick_seconds": "1"}, "coalescing"),
        ({"scrape_seconds": "0"}, "scrape interval"),
        ({"scrape_seconds": "nan"}, "--scrape-seconds .*'nan' is not a number"),
        ({"query_timeout_seconds": "inf"}, "--query-timeout-seconds .*'inf' is not a number"),
        ({"tick_seconds": "inf"}, "--tick-seconds .*'inf' is not a number"),
        ({"lease_seconds": "Infinity"}, "'Infinity' is not a number"),
        ({"log_format": "xml"}, "log format"),
        ({"log_level": "loud"}, "log level"),
        ({"watch_nodes": "maybe"}, "--watch-nodes .*neither true nor false"),
        ({"hub_url": "huggingface.co"}, "hub URL"),
        ({"hub_url": "file:///etc"}, "hub URL"),
        ({"hub_url": "https://user:word@hub.example.com"}, "hub URL"),
        ({"hub_url": "https://hub.example.com/?x="}, "hub URL"),
        ({"hub_url": "https://hub.example.com/a/../b"}, "hub URL"),
        ({"engine_hub_url": "hub.example.com"}, "hub URL"),
        ({"host_paths": "mnt"}, "begin with /"),
        ({"host_paths": "/mnt,/mnt/../etc"}, "begin with /"),
        ({"prometheus_username_file": "/u"}, "needs a password"),
        ({"prometheus_key_file": "/k"}, "needs its key"),
        (
            {"prometheus_username_file": "/u", "prometheus_password_file": "/p", "prometheus_bearer_file": "/b"},
            "not both",
        ),
        ({"prometheus_matchers": "cluster"}, "LABEL=VALUE"),
        ({"prometheus_matchers": "a-b=c"}, "LABEL=VALUE"),
        ({"prometheus_matchers": "cluster=eu-1,cluster=eu-2"}, "cluster is given as 'eu-1' and 'eu-2'"),
    ],
)
def test_nonsense_is_refused_by_name(flags: dict[str, str], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        resolve(flags, {})


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
def test_times_about_prometheus_are_finite(seconds: float) -> None:
    for name in ("scrape_seconds", "query_timeout_seconds"):
        with pytest.raises(Invalid, match="finite"):
            Settings(**{name: seconds})  # type: ignore[arg-type]


def test_the_help_names_variables_and_defaults() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    text = parser.format_help()
    for option in OPTIONS:
        assert option.flag in text
        assert option.variable in text.replace("\n", "").replace(" ", "") or option.variable in text


def test_how_routers_run_is_known_once_their_image_is() -> None:
    assert resolve({}, {}).router is None
    variables = {
        "TIERWISE_ROUTER_IMAGE": "r.example.com/router:1",
        "TIERWISE_ROUTER_PULL_SECRETS": "b, a",
        "TIERWISE_ROUTER_RESOURCES": '{"limits": {"memory": "1Gi"}}',
        "TIERWISE_ROUTER_BODY_MEMORY_MIB": "64",
        "TIERWISE_ROUTER_ENV": '[{"name": "A", "value": "b"}]',
        "TIERWISE_ROUTER_ROLE": "tw-router",
    }
    router = resolve({}, variables).router
    assert router is not None
    assert (router.image, router.cluster_role, router.pull_policy) == (
        "r.example.com/router:1",
        "tw-router",
        "IfNotPresent",
    )
    assert (router.pull_secrets, router.resources) == (("a", "b"), {"limits": {"memory": "1Gi"}})
    assert (router.body_memory_mib, router.env) == (64, ({"name": "A", "value": "b"},))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"TIERWISE_ROUTER_RESOURCES": "[]"}, "JSON object"),
        ({"TIERWISE_ROUTER_RESOURCES": "{"}, "JSON object"),
        ({"TIERWISE_ROUTER_ENV": "{}"}, "JSON list"),
        ({"TIERWISE_ROUTER_ENV": '[{"value": "b"}]'}, "JSON list"),
        ({"TIERWISE_ROUTER_BODY_MEMORY_MIB": "0"}, "at least 1 MiB"),
    ],
)
def test_what_no_router_can_run_with_is_refused_at_the_start(variables: dict[str, str], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        resolve({}, {"TIERWISE_ROUTER_IMAGE": "r:1", **variables})


def test_a_pull_policy_that_nobody_knows_is_refused() -> None:
    with pytest.raises(Invalid, match="pull policy"):
        resolve({}, {"TIERWISE_ROUTER_PULL_POLICY": "Sometimes"})


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("TIERWISE_ROUTER_SECURITY_CONTEXT", "Mine", "security context is one of Fixed, Namespace"),
        ("TIERWISE_IP_FAMILY", "ipv6", "the IP family is one of IPv4, IPv6"),
    ],
)
def test_a_word_that_nobody_knows_is_refused_at_the_start(variable: str, value: str, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        resolve({}, {"TIERWISE_ROUTER_IMAGE": "r:1", variable: value})


def test_engines_and_routers_listen_on_one_family() -> None:
    plain = resolve({}, {"TIERWISE_ROUTER_IMAGE": "r:1"})
    assert plain.router is not None
    assert (plain.engine_rules.ipv6, plain.router.ipv6, plain.router.namespace_user) == (False, False, False)
    told = {"TIERWISE_IP_FAMILY": "IPv6", "TIERWISE_ROUTER_SECURITY_CONTEXT": "Namespace"}
    settings = resolve({}, {"TIERWISE_ROUTER_IMAGE": "r:1", **told})
    assert settings.router is not None
    assert (settings.engine_rules.ipv6, settings.router.ipv6, settings.router.namespace_user) == (True, True, True)
