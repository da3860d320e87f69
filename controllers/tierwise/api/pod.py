"""Describes what the pods of a tier have besides the engine: labels, variables, certificates, a place for weights.

None of these is a raw pod field: what Tierwise or KServe set themselves is refused with a word about what to use
instead, since a tier that overrode it would be another one than the operator believes.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from tierwise.api.base import DataKey, DNSName, Model, Quantity, Rule
from tierwise.api.placement import LabelKey, LabelValue, label_names

# Labels and annotations by which Tierwise, KServe or Kubernetes know the pods; whole domains, and single keys.
RESERVED_DOMAINS = r"^([-a-z0-9.]*[.])?(tierwise|kserve)[.]io/"
RESERVED_KEYS = (
    "app",
    "app.kubernetes.io/managed-by",
    "component",
    "controller.kubernetes.io/pod-deletion-cost",
    "isvc.generation",
    "modelFormat",
    "multinode/executor-backend",
    "pod-template-hash",
)
# Variables that Tierwise sets, and other names of the same setting.
OWN_VARIABLES = (
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_TOKEN",
    "HOME",
    "HUGGINGFACE_HUB_CACHE",
    "HUGGING_FACE_HUB_TOKEN",
    "INFERENCE_SERVICE_NAME",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "STORAGE_URI",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRANSFORMERS_CACHE",
    "USER",
    "VLLM_ENGINE_READY_TIMEOUT_S",
    "VLLM_HTTP_TIMEOUT_KEEP_ALIVE",
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS",
    "VLLM_NO_USAGE_STATS",
)
# Variables by which the engine listens elsewhere, asks for a key, or opens what no request should reach.
OPENING_VARIABLES = (
    "VLLM_ALLOW_INSECURE_SERIALIZATION",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING",
    "VLLM_API_KEY",
    "VLLM_DEBUG_LOG_API_SERVER_RESPONSE",
    "VLLM_HOST_IP",
    "VLLM_PORT",
    "VLLM_SERVER_DEV_MODE",
)


def _names(names: tuple[str, ...]) -> str:
    return f"[{', '.join(repr(name) for name in names)}]"


def _free(field: str) -> str:
    reserved = f"k.matches('{RESERVED_DOMAINS}') || k in {_names(RESERVED_KEYS)}"
    return f"!has(self.{field}) || self.{field}.all(k, !({reserved}))"


AnnotationValue = Annotated[str, StringConstraints(max_length=4096)]


class PodMetadata(Model):
    """Labels and annotations that the pods get besides those of Tierwise and KServe."""

    cel = (
        Rule(
            expression=label_names("labels"),
            message="podMetadata.labels has a key that is not a label name",
            field_path=".labels",
        ),
        Rule(
            expression=label_names("annotations"),
            message="podMetadata.annotations has a key that is not the name of an annotation",
            field_path=".annotations",
        ),
        Rule(
            expression=_free("labels"),
            message="podMetadata.labels: keys of tierwise.io and kserve.io, app, component and the like tell Tierwise "
            "and KServe whose a pod is: choose a key of your own, such as example.com/team",
            field_path=".labels",
        ),
        Rule(
            expression=_free("annotations"),
            message="podMetadata.annotations: keys of tierwise.io and kserve.io, and pod-deletion-cost, belong to "
            "Tierwise and KServe: use the tier's field that says the same, or leave it out",
            field_path=".annotations",
        ),
    )

    labels: dict[LabelKey, LabelValue] = Field(
        default_factory=dict,
        max_length=16,
        description="Labels of the pods and of their Deployment, e.g. a cost centre, or kueue.x-k8s.io/queue-name.",
    )
    annotations: dict[LabelKey, AnnotationValue] = Field(
        default_factory=dict,
        max_length=16,
        description="Annotations of the pods and of their Deployment, e.g. sidecar.istio.io/inject or "
        "karpenter.sh/do-not-disrupt.",
    )


class KeyRef(Model):
    """One key of a Secret or ConfigMap in the tier's own namespace. The operator never reads it: the pod does."""

    name: DNSName = Field(description="Name of the object, in the namespace of the tier.")
    key: DataKey = Field(description="Key in the object.")


class Variable(Model):
    """A variable of the engine's environment: its value, or the key of a Secret or ConfigMap that has it."""

    cel = (
        Rule(
            expression="[has(self.value), has(self.secretKeyRef), has(self.configMapKeyRef)].filter(x, x).size() == 1",
            message="a variable needs exactly one of value, secretKeyRef and configMapKeyRef",
        ),
        Rule(
            expression="!has(self.value) || !self.value.contains('$(')",
            message="Kubernetes would put another variable, perhaps of a Secret, in the place of $(NAME): write out "
            "the value, or take it from a key",
            field_path=".value",
        ),
        Rule(
            expression=f"!(self.name in {_names(OWN_VARIABLES)})",
            message="Tierwise sets this variable: use model.tokenSecretRef for HF_TOKEN, modelCache for HF_HOME, "
            "certificates for SSL_CERT_FILE, the chart value hub.url for HF_ENDPOINT; leave out others",
            field_path=".name",
        ),
        Rule(
            expression=f"!(self.name in {_names(OPENING_VARIABLES)})",
            message="this variable moves the engine to another address, asks for a key that no router knows, or opens "
            "what no request may reach: leave it out; keys are a gateway's business",
            field_path=".name",
        ),
    )

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)] = Field(
        description="Name of the variable."
    )
    value: Annotated[str, StringConstraints(max_length=4096)] | None = Field(default=None, description="Its value.")
    secret_key_ref: KeyRef | None = Field(default=None, description="Key of a Secret. It must exist.")
    config_map_key_ref: KeyRef | None = Field(default=None, description="Key of a ConfigMap. It must exist.")


def _once(variables: list[Variable]) -> list[Variable]:
    names = [variable.name for variable in variables]
    if len(set(names)) != len(names):
        raise ValueError("each variable may stand here once")
    return variables


Environment = Annotated[list[Variable], AfterValidator(_once)]


class ScratchCache(Model):
    """A folder of the node that lives as long as the pod."""

    size_limit: Quantity | None = Field(
        default=None,
        description="How much it may hold; a pod that keeps more is evicted. Without it, what the node has.",
    )


class EphemeralCache(Model):
    """A volume that is made for each pod and goes with it, e.g. of the node's own NVMe disks."""

    storage_class_name: DNSName | None = Field(
        default=None, description="StorageClass of the volume. Without it, the cluster's default."
    )
    size: Quantity = Field(description="Size of the volume.")


class ModelCache(Model):
    """Where the engine keeps the hf:// weights that it downloads. Exactly one of the fields."""

    cel = (
        Rule(
            expression="[has(self.emptyDir), has(self.pvc), has(self.ephemeral), has(self.hostPath)]"
            ".filter(x, x).size() == 1",
            message="modelCache needs exactly one of emptyDir, pvc, ephemeral and hostPath",
        ),
        Rule(
            expression="!has(self.hostPath) || !self.hostPath.split('/').exists(part, part == '..')",
            message="modelCache.hostPath must not contain '..'",
            field_path=".hostPath",
        ),
        Rule(
            expression="!has(self.ephemeral) || !isQuantity(string(self.ephemeral.size)) || "
            "quantity(string(self.ephemeral.size)).isGreaterThan(quantity('0'))",
            message="modelCache.ephemeral.size must be above zero",
            field_path=".ephemeral.size",
        ),
    )

    empty_dir: ScratchCache | None = Field(
        default=None, description="A folder of the node that goes with the pod: every new replica downloads again."
    )
    pvc: DNSName | None = Field(
        default=None,
        description="PersistentVolumeClaim that keeps the weights across pods; with more than one replica it must be "
        "ReadWriteMany.",
    )
    ephemeral: EphemeralCache | None = Field(
        default=None, description="A volume of its own for each pod: every new replica downloads again."
    )
    host_path: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._/-]+$", max_length=255)] | None = Field(
        default=None,
        description="Folder of the node that all replicas on it share. It must exist, belong to the user 2000, and lie "
        "in one that the chart value engines.hostPaths allows.",
    )


class Certificates(Model):
    """Certificates of the authorities that the engine trusts when it downloads; a ConfigMap in the tier's namespace."""

    config_map_name: DNSName = Field(description="Name of the ConfigMap.")
    key: DataKey = Field(
        default="ca.crt",
        description="Key with the certificates in PEM form. They are trusted instead of the image's own: add the "
        "public ones where public hosts are needed.",
    )
