"""Checks that the chart renders what it promises, and refuses the rest with a sentence that helps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.helm import APIS, CHART, REPO, goldens, helm, template
from tierwise_operator.options import OPTIONS

GOLDENS = list(goldens().items())
WITH_IMAGE = ("--set", "image.repository=registry.example.com/tierwise/operator")


@pytest.mark.parametrize(("path", "rendered"), GOLDENS, ids=[path.stem for path, _ in GOLDENS])
def test_the_chart_renders_as_its_golden_file_says(path: Path, rendered: str) -> None:
    assert (REPO / path).read_text() == rendered, "run `make verify` and look at the difference"


def _objects(rendered: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(rendered) if document]


def _of(kind: str, rendered: str) -> list[dict[str, Any]]:
    return [document for document in _objects(rendered) if document["kind"] == kind]


ALL = [pytest.param(rendered, id=path.stem) for path, rendered in GOLDENS]


@pytest.mark.parametrize("rendered", ALL)
def test_no_rule_reaches_secrets_or_uses_a_wildcard(rendered: str) -> None:
    roles = _of("Role", rendered) + _of("ClusterRole", rendered)
    assert roles
    for role in roles:
        for rule in role["rules"]:
            assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
            assert not [resource for resource in rule["resources"] if resource.startswith("secrets")]


def _pod_specs(rendered: str) -> Iterator[Mapping[str, Any]]:
    for document in _objects(rendered):
        if document["kind"] == "Pod":
            yield document["spec"]
        elif document["kind"] == "Deployment":
            yield document["spec"]["template"]["spec"]


@pytest.mark.parametrize("rendered", ALL)
def test_every_pod_is_restricted(rendered: str) -> None:
    pods = list(_pod_specs(rendered))
    assert len(pods) == 2
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["readOnlyRootFilesystem"]
            assert not context["allowPrivilegeEscalation"]
            assert container["resources"]["limits"]["memory"]


def test_every_variable_that_the_chart_sets_is_one_that_the_operator_reads() -> None:
    read = {option.variable for option in OPTIONS}
    for _, rendered in GOLDENS:
        (deployment,) = _of("Deployment", rendered)
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert {variable["name"] for variable in container["env"]} <= read


def test_the_deployment_names_replicas_only_when_told_to() -> None:
    assert "replicas" not in _of("Deployment", template(*WITH_IMAGE).stdout)[0]["spec"]
    two = template(*WITH_IMAGE, "--set", "replicas=2").stdout
    assert _of("Deployment", two)[0]["spec"]["replicas"] == 2
    none = template(*WITH_IMAGE, "--set", "replicas=0").stdout
    assert _of("Deployment", none)[0]["spec"]["replicas"] == 0


def test_without_namespaces_one_cluster_role_with_them_one_role_in_each() -> None:
    everywhere = template(*WITH_IMAGE).stdout
    assert [role["metadata"]["name"] for role in _of("ClusterRoleBinding", everywhere)] == [
        "tierwise",
        "tierwise-pools",
        "tierwise-nodes",
    ]
    some = template(*WITH_IMAGE, "--set", "watch.namespaces={b,a}").stdout
    assert _of("ClusterRoleBinding", some) == []
    bound = [binding["metadata"]["namespace"] for binding in _of("RoleBinding", some)]
    assert bound == ["tierwise-system", "a", "b"]


@pytest.mark.parametrize(
    ("settings", "served", "pods"),
    [
        ((), True, False),
        (("watch.pools=false",), False, False),
        (("watch.namespaces={a}",), False, False),
        (("watch.namespaces={a}", "watch.pools=true"), True, True),
    ],
)
def test_pools_are_served_with_the_rights_for_it_or_not_at_all(
    settings: tuple[str, ...], served: bool, pods: bool
) -> None:
    rendered = template(*WITH_IMAGE, *(part for each in settings for part in ("--set", each))).stdout
    roles = {role["metadata"]["name"]: role["rules"] for role in _of("ClusterRole", rendered)}
    rules = [
        {"apiGroups": ["tierwise.io"], "resources": ["gpupools"], "verbs": ["list", "watch"]},
        {"apiGroups": ["tierwise.io"], "resources": ["gpupools/status"], "verbs": ["patch"]},
        *([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}] if pods else []),
    ]
    assert roles.get("tierwise-pools") == (rules if served else None)
    assert _environment(rendered)["TIERWISE_WATCH_POOLS"] == ("true" if served else "false")
    events = [role["metadata"]["name"] for role in _of("Role", rendered) if role["metadata"]["namespace"] == "default"]
    assert events == (["tierwise-pools"] if pods else [])


def _environment(rendered: str) -> dict[str, str]:
    (deployment,) = _of("Deployment", rendered)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable.get("value", "") for variable in container["env"]}


@pytest.mark.parametrize(
    ("settings", "watched"),
    [
        ((), True),
        (("watch.nodes=false",), False),
        (("watch.namespaces={a}",), False),
        (("watch.namespaces={a}", "watch.nodes=true"), True),
    ],
)
def test_nodes_are_watched_with_the_right_to_it_or_not_at_all(settings: tuple[str, ...], watched: bool) -> None:
    rendered = template(*WITH_IMAGE, *(part for each in settings for part in ("--set", each))).stdout
    rules = [rule for role in _of("ClusterRole", rendered) for rule in role["rules"] if "nodes" in rule["resources"]]
    assert rules == ([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch"]}] if watched else [])
    assert _environment(rendered)["TIERWISE_WATCH_NODES"] == ("true" if watched else "false")


def test_the_hub_is_asked_or_not_and_the_policy_lets_it_through() -> None:
    policy = ("--set", "networkPolicy.enabled=true", "--set", "networkPolicy.hubPorts={4443}")
    asked = template(*WITH_IMAGE, *policy).stdout
    assert _environment(asked)["TIERWISE_HUB_URL"] == "https://huggingface.co"
    silent = template(*WITH_IMAGE, *policy, "--set", "hub.url=").stdout
    assert _environment(silent)["TIERWISE_HUB_URL"] == "none"
    ports = [
        [port["port"] for rule in _of("NetworkPolicy", each)[0]["spec"]["egress"] for port in rule["ports"]]
        for each in (asked, silent)
    ]
    assert ports == [[53, 53, 443, 6443, 9090, 4443], [53, 53, 443, 6443, 9090]]


def test_a_pod_monitor_is_made_where_the_kind_exists() -> None:
    assert _of("PodMonitor", template(*WITH_IMAGE, apis=()).stdout) == []
    assert len(_of("PodMonitor", template(*WITH_IMAGE, "--set", "podMonitor.enabled=true", apis=()).stdout)) == 2
    assert _of("PodMonitor", template(*WITH_IMAGE, "--set", "podMonitor.enabled=false", apis=APIS).stdout) == []


def test_rules_are_made_where_they_are_asked_for_or_the_kind_exists() -> None:
    kind = ("monitoring.coreos.com/v1/PrometheusRule",)
    for enabled, apis, made in (("false", kind, 0), ("auto", (), 0), ("auto", kind, 1), ("true", (), 1)):
        rendered = template(*WITH_IMAGE, "--set", f"prometheusRule.enabled={enabled}", apis=apis).stdout
        assert len(_of("PrometheusRule", rendered)) == made, (enabled, apis)


def test_the_routers_run_the_operators_image_unless_another_is_named() -> None:
    usual = _environment(template(*WITH_IMAGE, "--set", "image.tag=v9").stdout)
    assert usual["TIERWISE_ROUTER_IMAGE"] == "registry.example.com/tierwise/operator:v9"
    assert usual["TIERWISE_ROUTER_PULL_POLICY"] == "IfNotPresent"
    assert json.loads(usual["TIERWISE_ROUTER_RESOURCES"])["limits"] == {"memory": "1Gi"}
    assert usual["TIERWISE_ROUTER_BODY_MEMORY_MIB"] == "128"
    assert "TIERWISE_ROUTER_ENV" not in usual
    named = ("router.image.repository=r.example.com/router", "router.image.tag=v2", "router.image.pullSecrets={b,a}")
    other = _environment(template(*WITH_IMAGE, *(part for each in named for part in ("--set", each))).stdout)
    assert other["TIERWISE_ROUTER_IMAGE"] == "r.example.com/router:v2"
    assert other["TIERWISE_ROUTER_PULL_SECRETS"] == "a,b"
    traced = ("--set", "router.env[0].name=OTEL_EXPORTER_OTLP_ENDPOINT", "--set", "router.env[0].value=http://c:4318")
    assert json.loads(_environment(template(*WITH_IMAGE, *traced).stdout)["TIERWISE_ROUTER_ENV"]) == [
        {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://c:4318"}
    ]


def test_the_operator_binds_the_role_of_the_routers_and_writes_no_role() -> None:
    rendered = template(*WITH_IMAGE).stdout
    name = _environment(rendered)["TIERWISE_ROUTER_ROLE"]
    (role,) = [role for role in _of("ClusterRole", rendered) if role["metadata"]["name"] == name]
    assert [(rule["resources"], rule["verbs"]) for rule in role["rules"]] == [
        (["modelroutes"], ["list", "watch"]),
        (["endpointslices"], ["list", "watch"]),
    ]
    rules = [rule for each in _of("ClusterRole", rendered) + _of("Role", rendered) for rule in each["rules"]]
    about_roles = [rule for rule in rules if {"roles", "clusterroles"} & set(rule["resources"])]
    assert [(rule["resourceNames"], rule["verbs"]) for rule in about_roles] == [([name], ["bind"])]


ROUTERS: dict[str, Any] = {
    "matchLabels": {"app.kubernetes.io/managed-by": "tierwise"},
    "matchExpressions": [{"key": "tierwise.io/route", "operator": "Exists"}],
}


def test_the_routers_of_each_named_namespace_have_a_policy_that_selects_what_the_operator_makes() -> None:
    on = ("--set", "router.networkPolicy.enabled=true")
    policies = _of("NetworkPolicy", template(*WITH_IMAGE, *on, "--set", "watch.namespaces={b,a,b}").stdout)
    assert [policy["metadata"]["namespace"] for policy in policies] == ["a", "b"]
    for policy in policies:
        assert policy["spec"]["podSelector"] == ROUTERS
        assert [rule["ports"][0]["port"] for rule in policy["spec"]["ingress"]] == ["http", "metrics"]
        assert "from" not in policy["spec"]["ingress"][0]
        ports = [[port["port"] for port in rule["ports"]] for rule in policy["spec"]["egress"]]
        assert ports == [[53, 53], [443, 6443], [8000], [443]]
    named = ("--set", "watch.namespaces={a}", "--set", "router.networkPolicy.namespaces={c}")
    (one,) = _of("NetworkPolicy", template(*WITH_IMAGE, *on, *named).stdout)
    assert one["metadata"]["namespace"] == "c"
    refused = template(*WITH_IMAGE, *on)
    assert "router.networkPolicy.namespaces is required" in refused.stderr
    assert _of("NetworkPolicy", template(*WITH_IMAGE).stdout) == []


def test_the_policies_fit_the_pods_that_are_rendered() -> None:
    """They select by labels and ports: those of the routers and engines that the operator renders."""
    objects = yaml.safe_load_all((REPO / "tests/golden/route/06-route-by-rules-chat.yaml").read_text())
    (routers,) = [each for each in objects if each["kind"] == "Deployment"]
    pod = routers["spec"]["template"]
    assert pod["metadata"]["labels"].items() >= ROUTERS["matchLabels"].items()
    assert "tierwise.io/route" in pod["metadata"]["labels"]
    assert [port["name"] for port in pod["spec"]["containers"][0]["ports"]] == ["http", "metrics"]
    engine = yaml.safe_load((REPO / "tests/golden/render/example-06-route-by-rules-fast.yaml").read_text())
    assert engine["metadata"]["labels"].items() >= ROUTERS["matchLabels"].items()
    assert "tierwise.io/tier" in engine["metadata"]["labels"]
    (container,) = engine["spec"]["predictor"]["containers"]
    assert [(port["name"], port["containerPort"]) for port in container["ports"]] == [("http", 8000)]


def test_the_default_values_say_what_is_required_and_how_to_get_it() -> None:
    done = template()
    assert done.returncode != 0
    assert "image.repository is required" in done.stderr
    assert "make image" in done.stderr


REFUSED = {
    "imagee.tag=1": "additional properties 'imagee' not allowed",
    "prometheus.adress=x": "additional properties 'adress' not allowed",
    "prometheus.url=prometheus:9090": "does not match pattern",
    "prometheus.scrapeIntervalSeconds=0": "minimum: got 0, want 1",
    "prometheus.scrapeIntervalSeconds=ten": "got string, want integer",
    "watch.nodes=perhaps": "got string, want",
    "hub.url=huggingface.co": "does not match pattern",
    "hub.url=https://user@hub.example.com": "does not match pattern",
    "hub.engineURL=hub.example.com": "does not match pattern",
    "hub.offline=maybe": "got string, want boolean",
    "engines.hostPaths={mnt}": "does not match pattern",
    "engines.trustRemoteCode=always": "got string, want boolean",
    "prometheus.matchers.a-b=c": "additional properties 'a-b' not allowed",
    "watch.namespaces=default": "got string, want array",
    "watch.namespaces={Team_A}": "does not match pattern",
    "podMonitor.enabled=maybe": "value must be one of",
    "prometheusRule.enabled=maybe": "value must be one of",
    "prometheusRule.runbookURL=two words": "does not match pattern",
    "operator.logLevel=loud": "value must be one of",
    "operator.tickSeconds=2": "minimum: got 2, want 3",
    "image.digest=sha256:12": "does not match pattern",
    "image.pullPolicy=Sometimes": "value must be one of",
    "replicas=6": "maximum: got 6, want 5",
    "serviceAccount.create=no": "got string, want boolean",
}


@pytest.mark.parametrize(("setting", "message"), REFUSED.items())
def test_a_wrong_value_is_refused_with_its_place(setting: str, message: str) -> None:
    done = template(*WITH_IMAGE, "--set", setting)
    assert done.returncode != 0
    assert message in done.stderr
    place = setting.partition("=")[0].split(".")[0]
    assert place in done.stderr


def test_users_and_addresses_are_left_to_the_cluster_where_it_says_so() -> None:
    """On OpenShift no number is named; in a cluster of IPv6 alone everything listens there."""
    plain, told = (
        template(*WITH_IMAGE, *values).stdout
        for values in ((), ("--set", "securityContext=Namespace", "--set", "ipFamily=IPv6"))
    )
    numbers = {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532}
    for spec in _pod_specs(plain):
        assert spec["securityContext"].items() >= numbers.items()
    for spec in _pod_specs(told):
        assert not numbers.keys() & spec["securityContext"].keys()
        assert spec["securityContext"]["runAsNonRoot"] is True
    environment = _environment(told)
    assert environment["TIERWISE_ROUTER_SECURITY_CONTEXT"] == "Namespace"
    assert (environment["TIERWISE_IP_FAMILY"], environment["TIERWISE_METRICS_HOST"]) == ("IPv6", "::")
    assert not {"TIERWISE_IP_FAMILY", "TIERWISE_METRICS_HOST"} & _environment(plain).keys()


def test_two_sources_of_one_token_are_refused() -> None:
    both = ("--set", "prometheus.bearerTokenSecret.name=a", "--set", "prometheus.bearerTokenFile=/b")
    done = template(*WITH_IMAGE, *both)
    assert "not both" in done.stderr


def test_a_login_and_a_token_are_refused_together() -> None:
    both = ("--set", "prometheus.bearerTokenSecret.name=a", "--set", "prometheus.basicAuthSecret.name=b")
    assert "prometheus.basicAuthSecret.name or a bearer token, not both" in template(*WITH_IMAGE, *both).stderr


@pytest.mark.parametrize(
    ("settings", "hub"),
    [
        ((), ""),
        (("hub.url=https://huggingface.co/",), ""),
        (("hub.url=",), ""),
        (("hub.url=https://mirror.example.com",), "https://mirror.example.com"),
        (("hub.url=https://mirror.example.com", "hub.engineURL="), ""),
        (("hub.engineURL=http://mirror.models:8080",), "http://mirror.models:8080"),
    ],
)
def test_engines_are_told_of_a_mirror(settings: tuple[str, ...], hub: str) -> None:
    rendered = template(*WITH_IMAGE, *(part for each in settings for part in ("--set", each))).stdout
    assert _environment(rendered).get("TIERWISE_ENGINE_HUB_URL", "") == hub


def test_a_login_is_mounted_as_files() -> None:
    rendered = template(*WITH_IMAGE, "--set", "prometheus.basicAuthSecret.name=login").stdout
    environment, (deployment,) = _environment(rendered), _of("Deployment", rendered)
    (volume,) = (
        each for each in deployment["spec"]["template"]["spec"]["volumes"] if each["name"] == "prometheus-login"
    )
    assert [item["path"] for item in volume["secret"]["items"]] == ["username", "password"]
    assert environment["TIERWISE_PROMETHEUS_USERNAME_FILE"] == "/etc/tierwise/prometheus-login/username"
    assert environment["TIERWISE_PROMETHEUS_PASSWORD_FILE"] == "/etc/tierwise/prometheus-login/password"


SUBCHART = {
    "enabled": (("--set", "tierwise.enabled=true"), True),
    "not enabled": (("--set", "tierwise.enabled=false"), False),
    "by a tag": (("--set", "tags.serving=true"), True),
    "with global values": (
        ("--set", "tierwise.enabled=true", "--set", "global.imageRegistry=registry.example.com"),
        True,
    ),
}


@pytest.mark.parametrize("case", SUBCHART)
def test_the_chart_is_rendered_as_part_of_another(case: str, tmp_path: Path) -> None:
    """With the condition and the tags that helm knows; what helm hands down does not stop it."""
    settings, there = SUBCHART[case]
    dependency = {"name": "tierwise", "version": ">=0.0.0-0", "condition": "tierwise.enabled", "tags": ["serving"]}
    parent = {"apiVersion": "v2", "name": "platform", "version": "1.0.0", "dependencies": [dependency]}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(parent))
    (tmp_path / "values.yaml").write_text(
        yaml.safe_dump({"tierwise": {"image": {"repository": "a/tierwise/operator"}}})
    )
    shutil.copytree(CHART, tmp_path / "charts/tierwise")
    done = helm("template", "release", tmp_path, *settings)
    assert done.returncode == 0, done.stderr
    deployments = [each["metadata"]["name"] for each in _of("Deployment", done.stdout)]
    assert deployments == (["release-tierwise"] if there else [])


def test_under_another_name_and_beside_the_crds_the_chart_is_a_part_as_well(tmp_path: Path) -> None:
    """An alias changes the name of the values and of the objects; each part has a switch of its own."""
    dependencies = [
        {"name": "tierwise", "version": ">=0.0.0-0", "alias": "llm", "condition": "llm.enabled"},
        {"name": "tierwise-crds", "version": ">=0.0.0-0", "condition": "tierwise-crds.enabled"},
    ]
    parent = {"apiVersion": "v2", "name": "platform", "version": "1.0.0", "dependencies": dependencies}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(parent))
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"llm": {"image": {"repository": "a/tierwise/operator"}}}))
    for chart in ("tierwise", "tierwise-crds"):
        shutil.copytree(CHART.parent / chart, tmp_path / "charts" / chart)
    for operator, crds in ((True, True), (True, False), (False, True)):
        switches = (f"llm.enabled={str(operator).lower()}", f"tierwise-crds.enabled={str(crds).lower()}")
        done = helm("template", "release", tmp_path, *(part for each in switches for part in ("--set", each)))
        assert done.returncode == 0, done.stderr
        assert [each["metadata"]["name"] for each in _of("Deployment", done.stdout)] == ["release-llm"] * operator
        assert bool(_of("CustomResourceDefinition", done.stdout)) is crds


def test_lint_is_content() -> None:
    done = helm("lint", CHART, "--strict", *WITH_IMAGE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_notes_say_what_is_missing_and_what_to_do_next() -> None:
    done = helm("install", "tierwise", CHART, "--namespace", "tierwise-system", "--dry-run=client", *WITH_IMAGE)
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:")[2]
    assert "MISSING: the kind ModelTier" in notes
    assert "MISSING: KServe" in notes
    assert "No PodMonitor was made: the cluster does not have that kind" in notes
    assert "helm test tierwise -n tierwise-system" in notes
    assert "kubectl apply -f examples/01" in notes
