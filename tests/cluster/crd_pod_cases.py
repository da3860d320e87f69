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


ROPE = {"type": "yarn", "factor": "4.0", "originalContextLength": 32768, "theta": "1000000"}


def adapted(**adapter: Any) -> dict[str, Any]:
    """A tier with an adapter."""
    return served(adapters=[{"name": "a", "uri": "hf://org/a", **adapter}])


def cached(**cache: Any) -> dict[str, Any]:
    """A tier that keeps its weights somewhere."""
    return served({"modelCache": cache})


def selecting(**requirement: Any) -> dict[str, Any]:
    """A tier that asks one label of its nodes."""
    expressions = [{"key": "a", **requirement}]
    return placed(affinity={"required": [{"matchExpressions": expressions}]})


def preferring(**requirement: Any) -> dict[str, Any]:
    """A tier that prefers nodes by one label."""
    return placed(affinity={"preferred": [{"matchExpressions": [{"key": "a", **requirement}]}]})


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
    Case("names", served(name="qwen3:8b", aliases=["gpt-4o-mini", "org/model:1"])),
    Case("https", served(uri="https://account.blob.core.windows.net/models/qwen3%20v2/")),
    Case("chat template", served(chatTemplate={"configMapName": "templates", "key": "llama.jinja"})),
    Case("adapters", served(adapterSlots=2, adapters=[
        {"name": "a", "uri": "hf://org/a", "revision": "b" * 40}, {"name": "b/c:1", "uri": "pvc://c/d", "rank": 512}])),
    Case("code of the checkpoint", served(trustRemoteCode="Enabled")),
    Case("longer context", served(overrides={"rope": ROPE})),
    Case("certificates", served({"certificates": {"configMapName": "company-ca"}})),
)  # fmt: skip

REFUSED = (
    Case("label value with a space", labelled(labels={"team": "a b"}), says="must be the value of a label"),
    Case("too many pod labels", labelled(labels={f"k{n}": "v" for n in range(17)}), says="at most 16 items"),
    Case("annotation as a boolean", labelled(annotations={"a": True}), says="must be of type string"),
    Case("variable with a dash", with_env({"name": "A-B", "value": "1"}), says="a variable has no dashes: write A_B"),
    Case("variable twice", with_env({"name": "A", "value": "1"}, {"name": "A", "value": "2"}), says="Duplicate value"),
    Case(
        "affinity without expressions",
        placed(affinity={"required": [{"matchExpressions": []}]}),
        says="should have at least 1 items",
    ),
    Case("label of nodes with a space", selecting(key="a b", operator="Exists"), says="must be the name of a label"),
    Case("unknown comparison", selecting(operator="Like", values=["a"]), says="Unsupported value"),
    Case("spread twice", placed(spread=[{"over": "Hosts"}, {"over": "Hosts"}]), says="Duplicate value"),
    Case("relative path", cached(hostPath="mnt/nvme"), says="must be the whole path of a folder"),
    Case("volume without a size", cached(ephemeral={}), says="size: Required value"),
    Case("certificates of nobody", served({"certificates": {}}), says="configMapName: Required value"),
    Case("alias twice", served(aliases=["a", "a"]), says="Duplicate value"),
    Case("adapter twice", served(adapters=[{"name": "a", "uri": "hf://o/a"}] * 2), says="Duplicate value"),
    Case("adapter from a bucket", adapted(uri="s3://bucket/a"), says="must be hf://ORG/REPO or pvc://CLAIM/PATH"),
    Case("rank of nothing", adapted(rank=0), says="greater than or equal to 1"),
    Case("position embeddings in part", served(overrides={"rope": {"type": "yarn"}}), says="theta: Required value"),
    Case("unknown override", served(overrides={"rope": ROPE, "architectures": ["X"]}), says="unknown field"),
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
    "model.aliases are further names: leave out model.name, and tierwise and None, which are taken":
        Case("own name again", served(aliases=["tierwise"])),
    "the name of an adapter must differ from model.name, model.aliases, tierwise and None":
        Case("adapter like the model", adapted(name="chat")),
    "model.adapterSlots has an effect only with model.adapters; remove it": Case("slots", served(adapterSlots=2)),
    "the uri of an adapter is hf://ORG/REPO or pvc://CLAIM/PATH; a branch or commit goes into revision":
        Case("adapter without an organisation", adapted(uri="hf://a")),
    "the uri and the revision of an adapter must not contain '..'": Case("adapter above", adapted(uri="pvc://a/../b")),
    "the revision of an adapter has an effect only with an hf:// URI; remove it":
        Case("revision of a claim's adapter", adapted(uri="pvc://a/b", revision="main")),
    **{
        f"a preferred node requirement with operator {message}": Case(f"preferring {name}", preferring(**requirement))
        for name, message, requirement in (
            ("nothing", "In or NotIn needs values", {"operator": "NotIn"}),
            ("more", "Exists or DoesNotExist has no values", {"operator": "DoesNotExist", "values": ["b"]}),
            ("a word", "Gt or Lt needs one whole number in values", {"operator": "Lt", "values": ["few"]}),
        )
    },
    "a required node requirement with operator In or NotIn needs values": Case("In nothing", selecting(operator="In")),
    "a required node requirement with operator Exists or DoesNotExist has no values":
        Case("exists as", selecting(operator="Exists", values=["b"])),
    "a required node requirement with operator Gt or Lt needs one whole number in values":
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
