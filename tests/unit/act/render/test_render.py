"""What a tier becomes, field by field where a reason stands behind the field; the whole is in the golden files."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from tests.render.goldens import GOLDEN, REPO, UID, goldens, manifests, tier
from tests.render.strategies import specs
from tierwise.act.render import differences, render
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.engines import check
from tierwise.errors import Invalid
from tierwise.kube.objects import AUTOSCALER_CLASS
from tierwise.pod_template_hash import fingerprint
from tierwise.quantity import parse_quantity
from tierwise.types import TierKey, TierObject
from tierwise.types.capabilities import EngineRules

MODEL = {"name": "qwen3-8b", "uri": "hf://Qwen/Qwen3-8B"}


def rendered(**fields: Any) -> dict[str, Any]:
    return render(tier("chat", {"model": MODEL} | fields), scaler="external")


def predictor(**fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = rendered(**fields)["spec"]["predictor"]
    return found


def container(**fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = predictor(**fields)["containers"][0]
    return found


def env(**fields: Any) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container(**fields)["env"]}


def test_the_golden_files_are_what_is_rendered() -> None:
    kept = {path.relative_to(REPO): path.read_text(encoding="utf-8") for path in (REPO / GOLDEN).glob("*.yaml")}
    assert kept == goldens(), "run `make verify`, look at the difference, and commit it"


def test_metadata_is_fixed_but_for_the_scaler() -> None:
    metadata = rendered()["metadata"]
    assert metadata["labels"] == {
        "app.kubernetes.io/managed-by": "tierwise",
        "networking.kserve.io/visibility": "cluster-local",
        "tierwise.io/tier": "chat",
    }
    assert metadata["annotations"] == {
        AUTOSCALER_CLASS: "external",
        "serving.kserve.io/deploymentMode": "Standard",
    }
    owner = metadata["ownerReferences"][0]
    assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (UID, True, False)
    created, after = manifests()["plain-created"], manifests()["plain"]
    assert differences(created, after) == (f"metadata.annotations.{AUTOSCALER_CLASS}",)


def test_a_tier_without_a_model_is_refused() -> None:
    broken = TierObject(TierKey("ns", "chat"), UID, 1, "1", None, ModelTierStatus(), invalid="spec.model is missing")
    with pytest.raises(Invalid, match=r"tier ns/chat has no model to serve: spec\.model is missing"):
        render(broken, scaler="none")
    with pytest.raises(Invalid, match=r"tier ns/chat has no model to serve$"):
        render(TierObject(TierKey("ns", "chat"), UID, 1, "1", ModelTierSpec(), ModelTierStatus()), scaler="none")


def test_the_grace_period_holds_pre_stop_drain_and_teardown() -> None:
    assert predictor(drainSeconds=100)["terminationGracePeriodSeconds"] == 140
    assert container()["lifecycle"] == {"preStop": {"sleep": {"seconds": 10}}}


def test_the_startup_probe_lasts_at_least_the_deadline() -> None:
    probe = container(startupTimeoutSeconds=3601)["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] == 3605
    assert env(startupTimeoutSeconds=3601)["VLLM_ENGINE_READY_TIMEOUT_S"] == "3601"


def test_offloaded_memory_is_added_to_the_pod() -> None:
    resources = container(caching={"kvOffloadGiB": 16})["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"] == "32Gi"


def test_gpus_are_requested_under_their_resource_name_or_not_at_all() -> None:
    assert container(resources={"gpus": 1, "resourceName": "amd.com/gpu"})["resources"]["limits"]["amd.com/gpu"] == "1"
    assert set(container(resources={"gpus": 0})["resources"]["limits"]) == {"cpu", "memory"}


def test_the_cpu_has_a_limit_since_kserve_would_set_a_lower_one() -> None:
    assert container(resources={"cpu": 6})["resources"]["limits"]["cpu"] == "6"


def test_a_token_comes_from_the_secret_and_never_as_a_value() -> None:
    assert env(model=MODEL | {"tokenSecretRef": {"name": "hub", "key": "t"}})["HF_TOKEN"] == {
        "secretKeyRef": {"key": "t", "name": "hub"}
    }
    assert "HF_TOKEN" not in env()


def test_what_kserve_fetches_is_named_in_the_environment() -> None:
    assert env(model=MODEL | {"uri": "pvc://claim/folder"})["STORAGE_URI"] == "pvc://claim/folder"
    assert "STORAGE_URI" not in env()


def test_the_hub_cache_is_a_claim_when_there_is_one() -> None:
    kept = {volume["name"]: volume for volume in predictor(model=MODEL | {"cachePVC": "cache"})["volumes"]}
    assert kept["huggingface"] == {"name": "huggingface", "persistentVolumeClaim": {"claimName": "cache"}}
    assert {volume["name"]: volume for volume in predictor()["volumes"]}["huggingface"]["emptyDir"] == {}


def test_without_a_user_of_ours_the_cluster_gives_one() -> None:
    fixed = predictor()["securityContext"]
    assert (fixed["runAsUser"], fixed["fsGroup"]) == (2000, 2000)
    free = predictor(securityContext="Namespace")["securityContext"]
    assert free == {name: value for name, value in fixed.items() if name not in ("runAsUser", "fsGroup")}
    assert free["runAsNonRoot"] is True
    before, after = rendered(), rendered(securityContext="Namespace")
    paths = ("spec.predictor.securityContext.fsGroup", "spec.predictor.securityContext.runAsUser")
    assert differences(after, before) == paths, "what is there still must go"
    assert fingerprint(predictor()) != fingerprint(predictor(securityContext="Namespace"))


def test_nobody_in_the_pod_has_a_user_of_ours_then() -> None:
    """Nor do the containers that fetch adapters."""
    lora = {"name": "a", "uri": "hf://org/lora", "revision": "b" * 40}
    free = predictor(securityContext="Namespace", model=MODEL | {"adapters": [lora]})
    assert [each["name"] for each in free["initContainers"]] == ["adapter-0"]
    everybody = [free, *free["initContainers"], *free["containers"]]
    assert not [each for each in everybody if {"runAsUser", "runAsGroup", "fsGroup"} & each["securityContext"].keys()]


def test_a_restart_reaches_the_replicas_in_every_pool() -> None:
    asked = replace(tier("chat", {"model": MODEL}), restarted_at="2026-11-30T09:00:00Z")
    for name in ("chat", "chat-h100"):
        found = render(asked, scaler="external", name=name)
        assert (found["metadata"]["name"], list(found["spec"]["predictor"]["annotations"])) == (
            name,
            ["kubectl.kubernetes.io/restartedAt"],
        )


def test_a_restart_changes_the_pod_template_and_nothing_else() -> None:
    asked = replace(tier("chat", {"model": MODEL}), restarted_at="2026-11-30T09:00:00Z")
    restarted = render(asked, scaler="external")
    assert differences(restarted, rendered()) == ("spec.predictor.annotations",)
    assert restarted["spec"]["predictor"].pop("annotations") == {
        "kubectl.kubernetes.io/restartedAt": "2026-11-30T09:00:00Z"
    }
    assert restarted == rendered()
    assert differences(rendered(), render(asked, scaler="external")) == (), "taking it away restarts nothing"


def test_engines_listen_on_ipv6_when_told_to() -> None:
    asked = render(
        tier("chat", {"model": MODEL, "extraArgs": ["--seed=7"]}),
        scaler="external",
        engine_rules=EngineRules(ipv6=True),
    )
    plain = rendered(extraArgs=["--seed=7"])
    (container,) = asked["spec"]["predictor"]["containers"]
    assert container.pop("args") == [*plain["spec"]["predictor"]["containers"][0].pop("args"), "--host=::"]
    assert asked == plain


def test_rollouts() -> None:
    assert predictor()["deploymentStrategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert predictor(rollout="Replace")["deploymentStrategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_placement_is_passed_on_and_absent_when_unset() -> None:
    placed = predictor(
        placement={
            "nodeSelector": {"zone": "a"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "runtimeClassName": "nvidia",
            "priorityClassName": "serving",
            "imagePullSecrets": ["mirror"],
        },
        model=MODEL | {"serviceAccountName": "reader"},
    )
    assert placed["nodeSelector"] == {"zone": "a"}
    assert placed["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert (placed["runtimeClassName"], placed["priorityClassName"]) == ("nvidia", "serving")
    assert (placed["imagePullSecrets"], placed["serviceAccountName"]) == ([{"name": "mirror"}], "reader")
    assert not set(predictor()) & {"nodeSelector", "tolerations", "runtimeClassName", "serviceAccountName"}


@settings(max_examples=60)
@given(written=specs())
def test_every_servable_spec_becomes_a_confined_pod_and_the_same_bytes(written: dict[str, Any]) -> None:
    one = tier("chat", written)
    assert one.spec is not None
    if any(problem.fatal for problem in check(one.spec)):
        with pytest.raises(Invalid):
            render(one, scaler="none")
        return
    manifest = render(one, scaler="none")
    assert json.dumps(manifest) == json.dumps(render(tier("chat", json.loads(json.dumps(written))), scaler="none"))
    assert differences(manifest, json.loads(json.dumps(manifest))) == ()

    pod = manifest["spec"]["predictor"]
    engine = pod["containers"][0]
    assert len(pod["containers"]) == 1
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert engine["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert engine["securityContext"]["allowPrivilegeEscalation"] is False
    assert pod["automountServiceAccountToken"] is False
    assert not set(pod) & {"hostNetwork", "hostPID", "hostIPC"}
    for fetching in pod.get("initContainers", ()):
        assert fetching["command"] == ["hf"]
        assert fetching["securityContext"] == engine["securityContext"]
        assert not {each["name"] for each in fetching["volumeMounts"]} - {each["name"] for each in pod["volumes"]}
    volumes = {kind for volume in pod["volumes"] for kind in volume}
    assert volumes <= {"name", "emptyDir", "persistentVolumeClaim", "ephemeral", "configMap", "hostPath"}
    on_the_node = one.spec.model_cache is not None and one.spec.model_cache.host_path is not None
    assert ("hostPath" in volumes) == on_the_node
    assert engine["command"] == ["vllm", "serve"]
    (timeout,) = [each for each in engine["args"] if each.startswith("--shutdown-timeout=")]
    pause = engine["lifecycle"]["preStop"]["sleep"]["seconds"]
    # Past its own deadline vLLM may hang until its clients leave: only SIGKILL ends it, and not before it could end.
    teardown = pod["terminationGracePeriodSeconds"] - pause - int(timeout.partition("=")[2])
    assert (int(timeout.partition("=")[2]), pause, teardown) == (one.spec.drain_seconds, 10, 30)
    probe = engine["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] >= one.spec.startup_timeout_seconds
    requests, limits = engine["resources"]["requests"], engine["resources"]["limits"]
    assert requests.keys() == limits.keys()
    for name in requests.keys() - {"cpu", "memory"}:
        assert requests[name] == limits[name]
    for name in ("cpu", "memory"):
        assert (parse_quantity(requests[name]) or 0) <= (parse_quantity(limits[name]) or 0)
    memory, asked = parse_quantity(engine["resources"]["limits"]["memory"]), parse_quantity(one.spec.resources.memory)
    assert memory is not None
    assert asked is not None
    assert memory >= asked + one.spec.caching.kv_offload_gib * 1024**3
    names = [each["name"] for each in engine["env"]]
    assert names == sorted(set(names))
    mounts = {each["name"] for each in engine["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}
