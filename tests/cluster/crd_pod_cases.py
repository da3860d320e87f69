"""Lists what ModelTiers may say of their pods, and what the API server must refuse of it, as `crd_cases` does."""

from __future__ import annotations

from typing import Any

from tests.cluster.crd_spec import Case, external, served


def labelled(**metadata: Any) -> dict[str, Any]:
    """A tier with labels or annotations of its pods."""
    return served({"podMetadata": metadata})


def with_env(*variables: dict[str, Any]) -> dict[str, Any]:
    """A tier with variables."""
    return served({"env": list(variables)})


ACCEPTED = (
    Case("labels and annotations of pods", labelled(
        labels={"cost-centre": "4711", "kueue.x-k8s.io/queue-name": "inference", "app.kubernetes.io/part-of": "chat"},
        annotations={"sidecar.istio.io/inject": "true", "karpenter.sh/do-not-disrupt": "true",
                     "example.com/notice": "{\"a\": 1}\nand more"})),
    Case("variables", with_env(
        {"name": "HF_HUB_OFFLINE", "value": "1"}, {"name": "EMPTY", "value": ""},
        {"name": "LICENSE", "secretKeyRef": {"name": "licenses", "key": "vendor"}},
        {"name": "PROXY_HOST", "configMapKeyRef": {"name": "network", "key": "proxy.host"}})),
)  # fmt: skip

REFUSED = (
    Case("label value with a space", labelled(labels={"team": "a b"}), says="spec.podMetadata.labels.team in body"),
    Case("too many pod labels", labelled(labels={f"k{n}": "v" for n in range(17)}), says="at most 16 items"),
    Case("annotation as a boolean", labelled(annotations={"a": True}), says="must be of type string"),
    Case("variable with a dash", with_env({"name": "A-B", "value": "1"}), says="spec.env[0].name in body should match"),
    Case("variable twice", with_env({"name": "A", "value": "1"}, {"name": "A", "value": "2"}), says="Duplicate value"),
    Case("key without a name", with_env({"name": "A", "secretKeyRef": {"key": "a"}}), says="name: Required value"),
)

RULES: dict[str, Case] = {
    "podMetadata.labels has a key that is not a label name": Case("pod label", labelled(labels={"a b": "c"})),
    "podMetadata.annotations has a key that is not the name of an annotation":
        Case("pod annotation", labelled(annotations={"/a": "c"})),
    "podMetadata.labels: keys of tierwise.io and kserve.io, app, component and the like tell Tierwise and KServe whose "
    "a pod is: choose a key of your own, such as example.com/team":
        Case("label of KServe", labelled(labels={"serving.kserve.io/inferenceservice": "other"})),
    "podMetadata.annotations: keys of tierwise.io and kserve.io, and pod-deletion-cost, belong to Tierwise and KServe: "
    "use the tier's field that says the same, or leave it out":
        Case("annotation of ours", labelled(annotations={"controller.kubernetes.io/pod-deletion-cost": "1"})),
    "a variable needs exactly one of value, secretKeyRef and configMapKeyRef":
        Case("two values", with_env({"name": "A", "value": "1", "secretKeyRef": {"name": "a", "key": "b"}})),
    "Kubernetes would put another variable, perhaps of a Secret, in the place of $(NAME): write out the value, or take "
    "it from a key": Case("expansion", with_env({"name": "URL", "value": "http://$(HF_TOKEN)"})),
    "Tierwise sets this variable: use model.tokenSecretRef for HF_TOKEN, model.cachePVC for HF_HOME, "
    "startupTimeoutSeconds for a deadline, the chart value hub.url for HF_ENDPOINT; leave out others":
        Case("token in the open", with_env({"name": "HF_TOKEN", "value": "hf_x"})),
    "this variable moves the engine to another address, asks for a key that no router knows, or opens what no request "
    "may reach: leave it out; keys are a gateway's business":
        Case("development mode", with_env({"name": "VLLM_SERVER_DEV_MODE", "value": "1"})),
    "an external tier has no pods; remove spec.podMetadata and spec.env":
        Case("pods of an API", external({"env": [{"name": "A", "value": "1"}]})),
}  # fmt: skip
