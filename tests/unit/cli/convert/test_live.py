"""Checks what becomes of objects as the API server gives them out, with all that it fills in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tierwise_cli.convert.documents import of_text
from tierwise_cli.convert.draft import Conversion
from tierwise_cli.main import main

ADDED = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
FILLED_IN: dict[str, Any] = {
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "securityContext": {},
    "terminationGracePeriodSeconds": 30,
}
CONTAINER: dict[str, Any] = {
    "name": "vllm",
    "image": "vllm/vllm-openai:v0.33.0",
    "imagePullPolicy": "IfNotPresent",
    "args": ["--model=org/m"],
    "resources": {"limits": {"nvidia.com/gpu": "1"}, "requests": {"nvidia.com/gpu": "1"}},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
DEPLOYMENT: dict[str, Any] = {
    "progressDeadlineSeconds": 600,
    "replicas": 1,
    "revisionHistoryLimit": 10,
    "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
}
BOOKKEEPING = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}


def only(kind: str, spec: dict[str, Any], **metadata: Any) -> Conversion:
    (made,) = of_text(json.dumps({"kind": kind, "metadata": {"name": "a", **metadata}, "spec": spec}))
    return made


def of_template(pod: dict[str, Any], **spec: Any) -> Conversion:
    metadata = {"creationTimestamp": None, "annotations": {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}}
    return only("Deployment", {**spec, "template": {"metadata": metadata, "spec": pod}})


def where(made: Conversion) -> list[str]:
    return [each.where for each in made.dropped]


def test_nothing_is_said_of_what_the_api_server_fills_into_a_deployment() -> None:
    made = of_template({**FILLED_IN, "containers": [CONTAINER]}, **DEPLOYMENT)
    assert where(made) == []
    assert not {"placement", "drainSeconds"} & set(made.manifest["spec"])


def test_nothing_is_said_of_what_the_api_server_fills_into_a_pod() -> None:
    mounted = {**CONTAINER, "volumeMounts": [{"name": "kube-api-access-x2x9q", "mountPath": "/var/run/secrets"}]}
    spec = {
        **FILLED_IN,
        "containers": [mounted],
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 0,
        "serviceAccount": "default",
        "serviceAccountName": "default",
        "tolerations": [{"key": f"node.kubernetes.io/{each}", **ADDED} for each in ("not-ready", "unreachable")],
        "volumes": [{"name": "kube-api-access-x2x9q", "projected": {"sources": []}}],
    }
    made = only("Pod", spec, uid="u", annotations=BOOKKEEPING, ownerReferences=[{"kind": "Job"}])
    assert where(made) == []
    assert "placement" not in made.manifest["spec"]


def test_an_inference_service_as_kubectl_gets_it_is_converted_strictly(tmp_path: Path) -> None:
    model = {"modelFormat": {"name": "huggingface"}, "storageUri": "hf://org/m", "resources": CONTAINER["resources"]}
    body = {
        "kind": "InferenceService",
        "metadata": {"name": "a", "uid": "u", "generation": 1, "annotations": BOOKKEEPING},
        "spec": {"predictor": {**FILLED_IN, "model": {"name": "", **model}}},
        "status": {"url": "http://a"},
    }
    (tmp_path / "a.yaml").write_text(json.dumps(body))
    assert main(["convert", "--strict", "-f", str(tmp_path / "a.yaml")]) == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dnsPolicy", "None"),
        ("restartPolicy", "Never"),
        ("enableServiceLinks", "{{ x }}"),
        ("securityContext", {"runAsUser": 0}),
    ],
)
def test_what_somebody_chose_is_in_the_list(key: str, value: Any) -> None:
    made = of_template({**FILLED_IN, key: value, "containers": [CONTAINER]}, **DEPLOYMENT)
    assert where(made) == [f"spec.template.spec.{key}"]


def test_what_somebody_chose_is_in_the_tier() -> None:
    chosen = {**FILLED_IN, "schedulerName": "volcano", "terminationGracePeriodSeconds": 60}
    found = of_template({**chosen, "containers": [CONTAINER]}, **DEPLOYMENT).manifest["spec"]
    assert (found["placement"], found["drainSeconds"]) == ({"schedulerName": "volcano"}, 60)


def test_a_pull_policy_that_the_image_does_not_have_by_itself_is_in_the_list() -> None:
    made = of_template({"containers": [{**CONTAINER, "imagePullPolicy": "Always"}]})
    assert where(made) == ["spec.template.spec.containers[0].imagePullPolicy"]


def cached(path: str, volume: dict[str, Any], **mount: Any) -> Conversion:
    container = {**CONTAINER, "volumeMounts": [{"name": "cache", "mountPath": path, **mount}]}
    return of_template({"containers": [container], "volumes": [{"name": "cache", **volume}]})


CLAIM = {"persistentVolumeClaim": {"claimName": "hub"}}


@pytest.mark.parametrize("path", ["/root/.cache/huggingface", "/home/vllm/.cache/huggingface/", "/.cache/huggingface"])
def test_a_claim_with_the_hubs_cache_is_carried_over(path: str) -> None:
    made = cached(path, CLAIM)
    assert made.manifest["spec"]["model"]["cachePVC"] == "hub"
    assert where(made) == []


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/root/.cache", "move what is in there to the root of the claim"),
        ("/root/.cache/huggingface/hub", "into a folder hub of the claim"),
        ("/models", "if it holds the model's files"),
    ],
)
def test_a_claim_in_which_the_files_lie_elsewhere_is_in_the_list(path: str, why: str) -> None:
    made = cached(path, CLAIM)
    assert "cachePVC" not in made.manifest["spec"]["model"]
    assert [(each.where, why in each.reason) for each in made.dropped] == [("volume hub", True)]


@pytest.mark.parametrize(
    ("path", "below", "cache"),
    [
        ("/root/.cache", "", "/mnt/nvme/huggingface"),
        ("/root/.cache", "team", "/mnt/nvme/team/huggingface"),
        ("/root/.cache/huggingface", "team", "/mnt/nvme/team"),
    ],
)
def test_a_folder_of_the_node_is_named_where_the_files_lie(path: str, below: str, cache: str) -> None:
    made = cached(path, {"hostPath": {"path": "/mnt/nvme/", "type": ""}}, subPath=below)
    assert made.manifest["spec"]["modelCache"] == {"hostPath": cache}
    assert where(made) == []


def test_tolerations_of_all_models_come_before_those_of_one() -> None:
    both = {
        "servingEngineSpec": {
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "modelSpec": [{"name": "m", "modelURL": "org/m", "tolerations": [{"key": "b", "operator": "Exists"}]}],
        }
    }
    (made,) = of_text(json.dumps(both))
    assert [each["key"] for each in made.manifest["spec"]["placement"]["tolerations"]] == ["a", "b"]
