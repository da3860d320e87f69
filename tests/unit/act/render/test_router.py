"""What a route is made of: names, rights, Secrets, and what restarts routers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.builders.routes import EXTERNAL, POD, external, route, snapshot, spec, tier
from tests.render import route_goldens
from tests.render.goldens import REPO
from tierwise.act.render import RouterParts, lacking, render_router
from tierwise.act.render.digest import digest
from tierwise.api.modelroute import ModelRouteSpec
from tierwise.api.modeltier import ModelTierSpec
from tierwise.decide.routes import plan_routes
from tierwise.kube.objects import ROUTER_CHILDREN

TIERS = [external("bought"), tier("small")]


def rendered(given: ModelRouteSpec | None = None, account: str = "account-1", **pod: Any) -> dict[str, Any]:
    given = spec("small") if given is None else given
    seen = route(given=given)
    (plan,) = plan_routes(snapshot(TIERS, seen))
    parts = RouterParts(seen, given, plan.ladder, replace(POD, **pod), account)
    return {plural: render_router(parts, plural) for plural in ROUTER_CHILDREN}


def pod_of(manifests: dict[str, Any]) -> dict[str, Any]:
    return dict(manifests["deployments"]["spec"]["template"]["spec"])


GOLDENS = route_goldens.files()


@pytest.mark.parametrize("path", GOLDENS, ids=[path.stem for path in GOLDENS])
def test_a_route_renders_as_its_golden_file_says(path: Path) -> None:
    assert (REPO / path).read_text() == GOLDENS[path], "run `make verify` and look at the difference"


def test_every_object_belongs_to_the_route_and_says_so() -> None:
    found = rendered()
    assert list(found) == ["serviceaccounts", "rolebindings", "services", "poddisruptionbudgets", "deployments"]
    for plural, manifest in found.items():
        metadata = manifest["metadata"]
        assert metadata["name"] == {"services": "chat", "rolebindings": "chat-router.tierwise-router"}.get(
            plural, "chat-router"
        )
        assert metadata["namespace"] == "team"
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "tierwise"
        assert metadata["labels"]["tierwise.io/route"] == "chat"
        assert "tierwise.io/tier" not in metadata["labels"]
        (owner,) = metadata["ownerReferences"]
        assert (owner["kind"], owner["uid"], owner["controller"]) == ("ModelRoute", "uid-chat", True)


def test_the_pod_meets_the_restricted_profile() -> None:
    pod = pod_of(rendered())
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
    }
    assert container["resources"] == POD.resources
    assert container["image"] == POD.image


def test_without_a_user_of_ours_the_cluster_gives_one() -> None:
    context = pod_of(rendered(namespace_user=True))["securityContext"]
    assert context == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_a_router_listens_on_ipv6_when_told_to() -> None:
    (plain,), (told,) = pod_of(rendered())["containers"], pod_of(rendered(ipv6=True))["containers"]
    assert [each for each in told["args"] if each not in plain["args"]] == ["--host=::"]
    assert "--host=0.0.0.0" in plain["args"]


def test_the_selectors_find_the_pods() -> None:
    found = rendered()
    labels = found["deployments"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        found["services"]["spec"]["selector"],
        found["deployments"]["spec"]["selector"]["matchLabels"],
        found["poddisruptionbudgets"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()


def test_a_router_has_time_to_drain() -> None:
    found = rendered(spec("small", drainSeconds=120, replicas=3))
    pod = pod_of(found)
    assert pod["terminationGracePeriodSeconds"] == 150
    assert pod["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert "--drain-seconds=120" in pod["containers"][0]["args"]
    assert "--route=team/chat" in pod["containers"][0]["args"]
    assert found["deployments"]["spec"]["replicas"] == 3
    assert found["deployments"]["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_the_probes_ask_the_port_of_the_metrics() -> None:
    (container,) = pod_of(rendered())["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": 8080, "metrics": 9090}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics", "scheme": "HTTP"}
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_of_a_providers_secret_only_its_key_is_mounted_and_a_missing_one_must_show() -> None:
    pod = pod_of(rendered(spec("small", "bought", clients={"secretName": "keys"})))
    assert pod["volumes"][1:] == [
        {"name": "provider-bought", "secret": {"items": [{"key": "token", "path": "token"}], "secretName": "provider"}},
        {"name": "clients", "secret": {"secretName": "keys"}},
    ]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts == {
        "tmp": "/tmp",
        "provider-bought": "/etc/tierwise/providers/bought",
        "clients": "/etc/tierwise/clients",
    }
    assert [volume["name"] for volume in pod_of(rendered())["volumes"]] == ["tmp"]


def test_of_a_provider_without_a_key_nothing_is_mounted() -> None:
    keyless = {name: value for name, value in EXTERNAL["external"].items() if name != "apiKeySecretRef"}
    given = spec("open")
    seen = route(given=given)
    (plan,) = plan_routes(
        snapshot([tier("open", ModelTierSpec.model_validate({"external": keyless}), ready=False)], seen)
    )
    (rung,) = plan.ladder
    assert rung.provider is not None
    assert (rung.provider.secret_name, rung.provider.secret_key) == (None, None)
    parts = RouterParts(seen, given, plan.ladder, POD, "account-1")
    pod = pod_of({plural: render_router(parts, plural) for plural in ROUTER_CHILDREN})
    assert [volume["name"] for volume in pod["volumes"]] == ["tmp"]


def test_with_tls_the_service_is_https_and_only_certificate_and_key_are_mounted() -> None:
    plain, secure = rendered(), rendered(spec("small", tls={"secretName": "chat-tls"}))
    port = {"port": 80, "protocol": "TCP", "targetPort": "http"}
    assert plain["services"]["spec"]["ports"] == [{**port, "name": "http"}]
    assert secure["services"]["spec"]["ports"] == [{**port, "name": "https", "port": 443}]
    (volume,) = pod_of(secure)["volumes"][1:]
    items = [{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.key"}]
    assert volume == {"name": "tls", "secret": {"items": items, "secretName": "chat-tls"}}
    (container,) = pod_of(secure)["containers"]
    assert container["volumeMounts"][1] == {"mountPath": "/etc/tierwise/tls", "name": "tls", "readOnly": True}
    assert container["readinessProbe"]["httpGet"]["scheme"] == "HTTP", "the probes' port has no TLS"


def test_the_rights_are_one_cluster_role_bound_in_the_namespace() -> None:
    binding = rendered(cluster_role="tw-router")["rolebindings"]
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "tw-router"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "chat-router", "namespace": "team"}]


def test_pull_secrets_are_named_where_there_are_any() -> None:
    assert pod_of(rendered(pull_secrets=("registry",)))["imagePullSecrets"] == [{"name": "registry"}]
    assert "imagePullSecrets" not in pod_of(rendered())


def template(**fields: Any) -> str:
    return digest(rendered(spec("small", **fields))["deployments"]["spec"]["template"])


def test_only_what_a_router_does_not_read_by_itself_restarts_it() -> None:
    plain = template()
    assert template(policy={"rules": [{"name": "r", "match": {"tools": True}, "tier": "small"}]}) == plain
    assert template(queue={"maxRequests": 7}, deadlines={"requestSeconds": 9}, modelNames=["x"]) == plain
    assert template(overflow={"startPercent": 120}, directAccess=False, replicas=4) == plain
    assert template(budget={"amount": "10"}) == plain
    assert template(drainSeconds=1) != plain
    assert template(tls={"secretName": "a"}) != plain


def test_another_service_account_replaces_the_pods_since_their_token_is_of_the_old_one() -> None:
    one, two = rendered(account="a"), rendered(account="b")
    assert one["deployments"] != two["deployments"]
    assert {k: v for k, v in one.items() if k != "deployments"} == {k: v for k, v in two.items() if k != "deployments"}


def test_what_is_rendered_no_longer_shows_in_the_digest() -> None:
    more, less = rendered(spec("small", "bought")), rendered(spec("small"))
    assert lacking(less["deployments"], more["deployments"]) == ("metadata.annotations.tierwise.io/rendered",)
    assert lacking(less["services"], more["services"]) == ()


def test_defaults_of_the_api_server_are_no_difference_and_an_edit_is() -> None:
    wanted = rendered()["services"]
    live = {**wanted, "spec": {**wanted["spec"], "clusterIP": "10.0.0.1", "sessionAffinity": "None"}}
    live["spec"]["ports"] = [{**wanted["spec"]["ports"][0], "nodePort": 30000}]
    assert lacking(wanted, live) == ()
    live["spec"]["ports"] = [{**wanted["spec"]["ports"][0], "targetPort": 9}]
    assert lacking(wanted, live) == ("spec.ports[80].targetPort",)
    deployment, edited = rendered()["deployments"], rendered()["deployments"]
    edited["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Always"
    edited["spec"]["template"]["spec"]["containers"].append({"name": "beside"})
    assert lacking(deployment, edited) == ("spec.template.spec.containers[router].imagePullPolicy",)


def test_a_router_knows_whose_lease_is_its_own_and_keeps_what_it_spent_with_its_pod() -> None:
    pod = pod_of(rendered())
    (container,) = pod["containers"]
    assert {"--router-id=$(POD_UID)", "--spending-file=/tmp/spending.json"} <= set(container["args"])
    field = {"apiVersion": "v1", "fieldPath": "metadata.uid"}
    assert container["env"] == [{"name": "POD_UID", "valueFrom": {"fieldRef": field}}]
    assert {"emptyDir": {}, "name": "tmp"} in pod["volumes"]


CLASSIFIED = {"type": "Classifier", "classifier": {"configMapName": "chat-classifier"}}


def test_the_config_map_of_a_classifier_is_mounted_and_may_be_missing() -> None:
    pod = pod_of(rendered(spec("small", policy=CLASSIFIED)))
    source = {
        "items": [{"key": "classifier.bin", "path": "classifier.bin"}],
        "name": "chat-classifier",
        "optional": True,
    }
    assert {"configMap": source, "name": "classifier"} in pod["volumes"]
    (container,) = pod["containers"]
    mount = {"mountPath": "/etc/tierwise/classifier", "name": "classifier", "readOnly": True}
    assert mount in container["volumeMounts"]


def test_only_another_config_map_replaces_the_routers() -> None:
    plain, given = pod_of(rendered(spec("small"))), pod_of(rendered(spec("small", policy=CLASSIFIED)))
    assert plain != given
    for other in (
        {**CLASSIFIED, "mode": "Shadow"},
        {**CLASSIFIED, "type": "Rules"},
        {**CLASSIFIED, "classifier": {"configMapName": "chat-classifier", "qualityPercent": 90}},
    ):
        assert pod_of(rendered(spec("small", policy=other))) == given
    assert pod_of(rendered(spec("small", policy={"type": "Cascade", "cascade": {}}))) == plain
    assert pod_of(rendered(spec("small", conversation="Free", referenceTier="small"))) == plain
