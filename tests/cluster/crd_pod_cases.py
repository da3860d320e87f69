"""Lists what ModelTiers may say of their pods, and what the API server must refuse of it, as `crd_cases` does."""

from __future__ import annotations

from typing import Any

from tests.cluster.crd_spec import HF, PVC, Case, external, placed, served


def labelled(**metadata: Any) -> dict[str, Any]:
    """A tier with labels or annotations of its pods."""
    return served({"podMetadata": metadata})


def with_env(*variables: dict[str, Any]) -> dict[str, Any]:
    """A tier with variables."""
    return served({"env": list(variables)})


def cached(**cache: Any) -> dict[str, Any]:
    """A tier that keeps its weights somewhere."""
    return served({"modelCache": cache})


def selecting(**requirement: Any) -> dict[str, Any]:
    """A tier that asks one label of its nodes."""
    expressions = [{"key": "a", **requirement}]
    return placed(affinity={"required": [{"matchExpressions": expressions}]})


ACCEPTED = (
    Case("labels and annotations of pods", labelled(
        labels={"cost-centre": "4711", "kueue.x-k8s.io/queue-name": "inference", "app.kubernetes.io/part-of": "chat"},
        annotations={"sidecar.istio.io/inject": "true", "karpenter.sh/do-not-disrupt": "true",
                     "example.com/notice": "{\"a\": 1}\nand more"})),
    Case("variables", with_env(
        {"name": "HF_HUB_OFFLINE", "value": "1"}, {"name": "EMPTY", "value": ""},
        {"name": "LICENSE", "secretKeyRef": {"name": "licenses", "key": "vendor"}},
        {"name": "PROXY_HOST", "configMapKeyRef": {"name": "network", "key": "proxy.host"}})),
    Case("affinity, spread and scheduler", placed(
        affinity={"required": [{"matchExpressions": [
            {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["A100", "H100"]},
            {"key": "spot", "operator": "DoesNotExist"}, {"key": "gpus", "operator": "Gt", "values": ["7"]}]}],
            "preferred": [{"weight": 100, "matchExpressions": [{"key": "nvme", "operator": "Exists"}]}]},
        spread=[{"over": "Zones", "mode": "Required"}, {"over": "Hosts", "maxSkew": 3}], schedulerName="volcano")),
    Case("limits and disk", served({"resources": {
        "cpu": "500m", "cpuLimit": 2, "memory": "8Gi", "memoryLimit": "8192Mi", "ephemeralStorage": "50Gi"}})),
    Case("cache in a folder of the pod", cached(emptyDir={})),
    Case("cache in a volume of its own", cached(ephemeral={"size": "200Gi", "storageClassName": "local-nvme"})),
    Case("cache on the node", cached(hostPath="/mnt/nvme/..models")),
    Case("cache in a claim", cached(pvc="hub")),
    Case("certificates", served({"certificates": {"configMapName": "company-ca"}})),
)  # fmt: skip

REFUSED = (
    Case("label value with a space", labelled(labels={"team": "a b"}), says="spec.podMetadata.labels.team in body"),
    Case("too many pod labels", labelled(labels={f"k{n}": "v" for n in range(17)}), says="at most 16 items"),
    Case("annotation as a boolean", labelled(annotations={"a": True}), says="must be of type string"),
    Case("variable with a dash", with_env({"name": "A-B", "value": "1"}), says="spec.env[0].name in body should match"),
    Case("variable twice", with_env({"name": "A", "value": "1"}, {"name": "A", "value": "2"}), says="Duplicate value"),
    Case(
        "affinity without expressions",
        placed(affinity={"required": [{"matchExpressions": []}]}),
        says="should have at least 1 items",
    ),
    Case("label of nodes with a space", selecting(key="a b", operator="Exists"), says="key in body should match"),
    Case("unknown comparison", selecting(operator="Like", values=["a"]), says="Unsupported value"),
    Case("spread twice", placed(spread=[{"over": "Hosts"}, {"over": "Hosts"}]), says="Duplicate value"),
    Case("relative path", cached(hostPath="mnt/nvme"), says="hostPath in body should match"),
    Case("volume without a size", cached(ephemeral={}), says="size: Required value"),
    Case("certificates of nobody", served({"certificates": {}}), says="configMapName: Required value"),
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
    "a node requirement with operator In or NotIn needs values": Case("In nothing", selecting(operator="In")),
    "a node requirement with operator Exists or DoesNotExist has no values":
        Case("exists as", selecting(operator="Exists", values=["b"])),
    "a node requirement with operator Gt or Lt needs one whole number in values":
        Case("above a word", selecting(operator="Gt", values=["many"])),
    "resources.cpuLimit must not be below resources.cpu": Case("CPU", served({"resources": {"cpuLimit": "3999m"}})),
    "resources.memoryLimit must not be below resources.memory":
        Case("memory", served({"resources": {"memoryLimit": "16383Mi"}})),
    "resources.ephemeralStorage must be above zero": Case("no disk", served({"resources": {"ephemeralStorage": "0"}})),
    "modelCache needs exactly one of emptyDir, pvc, ephemeral and hostPath":
        Case("two caches", cached(pvc="a", hostPath="/b")),
    "modelCache.hostPath must not contain '..'": Case("out of the folder", cached(hostPath="/mnt/../etc")),
    "modelCache.ephemeral.size must be above zero": Case("no room", cached(ephemeral={"size": 0})),
    "modelCache has an effect only with an hf:// URI; remove it":
        Case("cache of a claim", served({"modelCache": {"pvc": "hub"}}, uri=PVC)),
    "set modelCache or model.cachePVC, not both: modelCache.pvc says the same as model.cachePVC":
        Case("cache twice", served({"modelCache": {"pvc": "hub"}}, uri=HF, cachePVC="hub")),
    "Tierwise sets this variable: use model.tokenSecretRef for HF_TOKEN, modelCache for HF_HOME, "
    "certificates for SSL_CERT_FILE, the chart value hub.url for HF_ENDPOINT; leave out others":
        Case("token in the open", with_env({"name": "HF_TOKEN", "value": "hf_x"})),
    "this variable moves the engine to another address, asks for a key that no router knows, or opens what no request "
    "may reach: leave it out; keys are a gateway's business":
        Case("development mode", with_env({"name": "VLLM_SERVER_DEV_MODE", "value": "1"})),
    "an external tier has no pods; remove podMetadata, env, modelCache and certificates":
        Case("pods of an API", external({"env": [{"name": "A", "value": "1"}]})),
}  # fmt: skip
