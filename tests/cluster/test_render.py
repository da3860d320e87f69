"""Every rendered InferenceService passes the real KServe webhooks and comes back as it was rendered, so that an
operator that compares before it writes never writes twice; and what a hand has changed is named."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from playground.handle import Playground
from tests.render.goldens import cases, manifests, tier
from tierwise.act.render import Scaler, differences, render
from tierwise.pod_template_hash import fingerprint

pytestmark = pytest.mark.cluster
NAMESPACE = "models"  # the golden files'
Object = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def namespace(playground: Playground) -> Iterator[None]:
    playground.kubectl("create", "namespace", NAMESPACE)
    playground.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
    yield
    playground.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def _apply(playground: Playground, manifest: Object) -> Object:
    text = playground.kubectl(
        "apply", "--server-side", "--field-manager=tierwise", "-f", "-", "-o", "json", stdin=json.dumps(manifest)
    )
    made: Object = json.loads(text)
    return made


def _get(playground: Playground, kind: str, name: str) -> Object | None:
    text = playground.kubectl("-n", NAMESPACE, "get", kind, name, "--ignore-not-found", "-o", "json")
    found: Object | None = json.loads(text) if text.strip() else None
    return found


def _rendered(name: str, scaler: Scaler, **changes: Any) -> Object:
    """A case as it is rendered, without its owner: that does not exist here, and the children would be collected."""
    manifest = render(tier(name, cases()[name] | changes), scaler=scaler)
    del manifest["metadata"]["ownerReferences"]
    return manifest


def test_every_golden_passes_the_webhooks_and_comes_back_as_rendered(playground: Playground) -> None:
    rendered = manifests()
    for name, manifest in rendered.items():
        manifest["metadata"]["name"] = f"golden-{list(rendered).index(name)}"
    items = {"apiVersion": "v1", "kind": "List", "items": list(rendered.values())}
    text = playground.kubectl("create", "--dry-run=server", "-f", "-", "-o", "json", stdin=json.dumps(items))
    made = {item["metadata"]["name"]: item for item in _documents(text)}
    found = {name: differences(manifest, made[manifest["metadata"]["name"]]) for name, manifest in rendered.items()}
    assert {name: paths for name, paths in found.items() if paths} == {}
    # The webhooks were really called: KServe's own defaulter would have added limits to a container without any.
    bare = json.loads(json.dumps(rendered["plain"]))
    del bare["spec"]["predictor"]["containers"][0]["resources"]
    text = playground.kubectl("create", "--dry-run=server", "-f", "-", "-o", "json", stdin=json.dumps(bare))
    assert json.loads(text)["spec"]["predictor"]["containers"][0]["resources"]["limits"]["cpu"]


def test_created_at_none_then_external_there_is_a_deployment_and_never_a_pod(playground: Playground) -> None:
    created = _rendered("everything", "none")
    assert differences(created, _apply(playground, created)) == ()
    deployment = _deployment(playground, "everything-predictor")
    assert deployment["spec"]["replicas"] == 0
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    wanted = created["spec"]["predictor"]["containers"][0]
    assert (container["command"], container["args"]) == (wanted["command"], wanted["args"])
    assert deployment["spec"]["template"]["metadata"]["labels"]["tierwise.io/tier"] == "everything"

    external = _rendered("everything", "external")
    assert differences(external, _apply(playground, external)) == ()
    time.sleep(3)  # KServe's own reconcile of the change
    live = _get(playground, "inferenceservice", "everything")
    assert live is not None
    assert differences(external, live) == ()
    assert _deployment(playground, "everything-predictor")["spec"]["replicas"] == 0
    pods = json.loads(playground.kubectl("-n", NAMESPACE, "get", "pods", "-o", "json"))["items"]
    assert pods == []


def test_the_deployment_of_every_golden_is_known_by_the_fingerprint_of_what_was_rendered(
    playground: Playground,
) -> None:
    """What a spec has come to is judged only when its Deployment has reached it: KServe must not blur that."""
    rendered = {name: _rendered(name, "none") for name in cases()}
    for name, manifest in rendered.items():
        manifest["metadata"]["name"] = f"reached-{list(rendered).index(name)}"
    items = {"apiVersion": "v1", "kind": "List", "items": list(rendered.values())}
    playground.kubectl("-n", NAMESPACE, "apply", "--server-side", "-f", "-", stdin=json.dumps(items))
    found = {
        name: _deployment(playground, f"{manifest['metadata']['name']}-predictor")["spec"]["template"]
        for name, manifest in rendered.items()
    }
    wanted = {name: fingerprint(manifest["spec"]["predictor"]) for name, manifest in rendered.items()}
    reached = {name: {**each["spec"], "annotations": each["metadata"]["annotations"]} for name, each in found.items()}
    assert {name: fingerprint(pod) for name, pod in reached.items()} == wanted
    playground.kubectl("-n", NAMESPACE, "delete", "isvc", "--all", "--wait=false")


def test_what_a_hand_changed_is_named_and_one_apply_restores_it(playground: Playground) -> None:
    rendered = _rendered("placement", "none")
    _apply(playground, rendered)
    edits = [
        {"op": "replace", "path": "/spec/predictor/containers/0/image", "value": "elsewhere/vllm:1"},
        {"op": "add", "path": "/spec/predictor/containers/0/env/-", "value": {"name": "DEBUG", "value": "1"}},
        {"op": "add", "path": "/spec/predictor/containers/0/args/-", "value": "--trust-remote-code"},
        {"op": "replace", "path": "/metadata/labels/tierwise.io~1tier", "value": "other"},
        {"op": "remove", "path": "/spec/predictor/tolerations"},
        {"op": "add", "path": "/spec/predictor/minReplicas", "value": 3},
        {"op": "add", "path": "/metadata/labels/team", "value": "search"},
    ]
    playground.kubectl("-n", NAMESPACE, "patch", "isvc", "placement", "--type=json", "-p", json.dumps(edits))
    edited = _get(playground, "inferenceservice", "placement")
    assert edited is not None
    container = "spec.predictor.containers[kserve-container]"
    assert differences(rendered, edited) == (
        "metadata.labels.tierwise.io/tier",
        f"{container}.args",
        f"{container}.env[DEBUG]",
        f"{container}.image",
        "spec.predictor.minReplicas",
        "spec.predictor.tolerations",
    )
    playground.kubectl(
        "apply", "--server-side", "--field-manager=tierwise", "--force-conflicts", "-f", "-", stdin=json.dumps(rendered)
    )
    healed = _get(playground, "inferenceservice", "placement")
    assert healed is not None
    assert differences(rendered, healed) == ()
    assert healed["metadata"]["labels"]["team"] == "search"  # beside our fields, and not ours


def test_what_leaves_the_spec_leaves_the_object(playground: Playground) -> None:
    _apply(playground, _rendered("model-hf-revision-token-cache", "none", placement={"nodeSelector": {"zone": "a"}}))
    plain = _rendered("model-hf-revision-token-cache", "none")
    live = _get(playground, "inferenceservice", "model-hf-revision-token-cache")
    assert live is not None
    assert differences(plain, live) == ("spec.predictor.nodeSelector",)
    assert differences(plain, _apply(playground, plain)) == ()


def test_pods_pass_the_restricted_profile_and_kserve_gives_them_their_model(playground: Playground) -> None:
    plain = _pod(playground, "model-hf-revision-token-cache")
    assert "initContainers" not in plain["spec"]

    claim = _pod(playground, "model-pvc")
    volume = next(each for each in claim["spec"]["volumes"] if each.get("persistentVolumeClaim"))
    assert volume["persistentVolumeClaim"]["claimName"] == "models"
    mounted = _mounts(claim)["/mnt/models"]
    assert (mounted["name"], mounted["subPath"], mounted["readOnly"]) == (volume["name"], "qwen/qwen3-8b", True)

    # KServe's own initializer, as it is shipped, does not meet the profile: its ClusterStorageContainer would have to.
    playground.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce-")
    bucket = _pod(playground, "model-s3-service-account")
    assert bucket["spec"]["serviceAccountName"] == "model-reader"
    assert bucket["spec"]["initContainers"][0]["args"] == ["s3://models/qwen3-8b", "/mnt/models"]
    assert _mounts(bucket)["/mnt/models"]["name"] == bucket["spec"]["initContainers"][0]["volumeMounts"][0]["name"]


def _pod(playground: Playground, case: str) -> Object:
    """The first pod of a case as the API server would admit it, KServe's pod mutator included."""
    rendered = _rendered(case, "none")
    account = rendered["spec"]["predictor"].get("serviceAccountName")
    if account:
        playground.kubectl("-n", NAMESPACE, "create", "serviceaccount", account)
    _apply(playground, rendered)
    template = _deployment(playground, f"{case}-predictor")["spec"]["template"]
    template["metadata"] |= {"name": case, "namespace": NAMESPACE}
    pod = {"apiVersion": "v1", "kind": "Pod", **template}
    text = playground.kubectl("create", "--dry-run=server", "-f", "-", "-o", "json", stdin=json.dumps(pod))
    made: Object = json.loads(text)
    return made


def _mounts(pod: Object) -> dict[str, Object]:
    return {each["mountPath"]: each for each in pod["spec"]["containers"][0]["volumeMounts"]}


def _documents(text: str) -> Iterator[Object]:
    """The JSON documents that kubectl prints one after the other."""
    decoder, position = json.JSONDecoder(), 0
    while position < len(text.rstrip()):
        document, end = decoder.raw_decode(text, position)
        yield document
        position = end + 1


def _deployment(playground: Playground, name: str) -> Object:
    deadline = time.monotonic() + 30
    while (found := _get(playground, "deployment", name)) is None:
        assert time.monotonic() < deadline, f"KServe has not made the Deployment {name} within 30 s"
        time.sleep(0.5)
    return found
