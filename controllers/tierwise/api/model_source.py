"""Describes which weights a tier serves, where they are, and what is known of their sizes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from tierwise.api.base import DataKey, DNSName, Model, Rule, SwitchState, unique

PARAMETERS_PATTERN = r"^[0-9]{1,15}(\.[0-9]{1,6})?[KMBT]?$"


# What a person may call a model.
MODEL_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._/:-]*$"
ModelName = Annotated[str, StringConstraints(pattern=MODEL_NAME_PATTERN, max_length=128)]


class SecretKeyRef(Model):
    """One key of a Secret in the tier's own namespace. The operator never reads it: the pod does."""

    name: DNSName = Field(description="Name of the Secret, in the namespace of the tier.")
    key: DataKey = Field(default="token", description="Key in the Secret.")


ParameterCount = Annotated[str, StringConstraints(pattern=PARAMETERS_PATTERN, max_length=20)]


class Architecture(Model):
    """Sizes of the model, for weights whose config.json the operator cannot read. Where it can, it uses the file."""

    parameters: ParameterCount | None = Field(
        default=None, description='All weights, e.g. "8B", "8.03B" or "8030261248"; decides what fits on a GPU.'
    )
    layers: int | None = Field(default=None, ge=1, le=10000, description="Layers: num_hidden_layers.")
    full_attention_layers: int | None = Field(
        default=None,
        ge=0,
        le=10000,
        description="Layers whose KV cache grows with the whole context, when the others use a sliding window or keep "
        "a fixed state. Without it the KV cache is not checked.",
    )
    hidden_size: int | None = Field(
        default=None, ge=1, le=1048576, description="Width of a layer: hidden_size; gives headDim when that is not set."
    )
    attention_heads: int | None = Field(
        default=None, ge=1, le=65536, description="Query heads: num_attention_heads; parallelism.tensor must divide it."
    )
    key_value_heads: int | None = Field(
        default=None,
        ge=1,
        le=65536,
        description="KV heads: num_key_value_heads. Without it (or latentSize) the KV cache is not checked.",
    )
    head_dim: int | None = Field(default=None, ge=1, le=65536, description="Elements of one head: head_dim.")
    latent_size: int | None = Field(
        default=None,
        ge=1,
        le=65536,
        description="Of multi-head latent attention (DeepSeek): kv_lora_rank plus qk_rope_head_dim.",
    )
    vocabulary_size: int | None = Field(
        default=None, ge=1, le=100000000, description="Tokens: vocab_size; a draft_model must have the same."
    )
    context_length: int | None = Field(
        default=None,
        ge=1,
        le=100000000,
        description="Longest contextLength that the engine takes: max_position_embeddings, RoPE scaling included.",
    )
    experts: int | None = Field(
        default=None, ge=0, le=65536, description="Experts of a mixture-of-experts model; 0 means a dense model."
    )


class DraftArchitecture(Model):
    """Sizes of the draft model, where the operator cannot read its config.json."""

    parameters: ParameterCount | None = Field(
        default=None, description='All weights, e.g. "0.6B"; they need memory in addition to the model.'
    )
    attention_heads: int | None = Field(
        default=None, ge=1, le=65536, description="Query heads: num_attention_heads; parallelism.tensor must divide it."
    )
    vocabulary_size: int | None = Field(
        default=None,
        ge=1,
        le=100000000,
        description="Tokens: vocab_size; with the method draft_model as many as the model has.",
    )


class ChatTemplate(Model):
    """A Jinja template that makes one text of the messages of a chat; in a ConfigMap of the tier's namespace."""

    config_map_name: DNSName = Field(description="Name of the ConfigMap.")
    key: DataKey = Field(default="template.jinja", description="Key with the template.")


class Adapter(Model):
    """A LoRA adapter: a model of its own name that shares the tier's weights."""

    cel = (
        Rule(
            expression="!self.uri.startsWith('hf://') || self.uri.matches('^hf://[^/:@]+/[^/:@]+$')",
            message="the uri of an adapter is hf://ORG/REPO or pvc://CLAIM/PATH; a branch or commit goes into revision",
            field_path=".uri",
        ),
        Rule(
            expression="!self.uri.contains('..') && (!has(self.revision) || !self.revision.contains('..'))",
            message="the uri and the revision of an adapter must not contain '..'",
            field_path=".uri",
        ),
        Rule(
            expression="!has(self.revision) || self.uri.startsWith('hf://')",
            message="the revision of an adapter has an effect only with an hf:// URI; remove it",
            field_path=".revision",
        ),
    )

    name: ModelName = Field(description="The name clients send as `model` to get this adapter.")
    uri: Annotated[str, StringConstraints(pattern=r"^(hf|pvc)://[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=512)] = Field(
        description="Where the adapter is: hf://ORG/REPO is downloaded when a pod starts, pvc://CLAIM/PATH is mounted."
    )
    revision: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=128)] | None = (
        Field(default=None, description="Branch, tag or commit of an hf:// adapter. Pin a commit in production.")
    )
    rank: int = Field(
        default=16,
        ge=1,
        le=512,
        description="The adapter's rank (r in its adapter_config.json). The highest of a tier takes memory for all.",
    )


class RopeOverride(Model):
    """Position embeddings other than config.json's, to serve a longer context. Whole and exact: the engine takes these
    values instead of the file's, also where they are wrong for the model."""

    type: Literal["yarn", "linear", "dynamic"] = Field(description="How positions are stretched (rope_type).")
    factor: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,2}(\.[0-9]{1,3})?$", max_length=7)] = Field(
        description='By how much, e.g. "4.0".'
    )
    original_context_length: int = Field(
        ge=128, le=10485760, description="What the model was trained for, in tokens (original_max_position_embeddings)."
    )
    theta: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,11}(\.[0-9]{1,3})?$", max_length=16)] = Field(
        description='The rope_theta of config.json, e.g. "1000000": the engine forgets the file\'s.'
    )


class Overrides(Model):
    """What is said instead of the model's config.json: a closed list."""

    rope: RopeOverride | None = Field(default=None, description="Position embeddings for a longer context.")


def _adapters_once(adapters: list[Adapter]) -> list[Adapter]:
    unique([adapter.name for adapter in adapters])
    return adapters


class ModelSource(Model):
    """Which weights to serve, and under which names clients ask for them."""

    cel = (
        Rule(
            expression="!self.uri.startsWith('hf://') || self.uri.matches('^hf://[^/:@]+(/[^/:@]+)?$')",
            message="an hf:// URI is hf://ORG/REPO; a branch, tag or commit goes into model.revision",
            field_path=".uri",
        ),
        Rule(
            expression="!self.uri.matches('^https://(www[.])?(huggingface[.]co|hf[.]co)/')",
            message="a page of the hub holds no weights: write hf://ORG/REPO",
            field_path=".uri",
        ),
        Rule(
            expression="!self.uri.contains('..')",
            message="model.uri must not contain '..'",
            field_path=".uri",
        ),
        Rule(
            expression="self.name != 'None' && (!has(self.revision) || self.revision != 'None')",
            message="the engine reads the name None as no name: choose another for model.name and model.revision",
        ),
        Rule(
            expression="!has(self.revision) || !self.revision.contains('..')",
            message="model.revision must not contain '..'",
            field_path=".revision",
        ),
        Rule(
            expression="!has(self.revision) || self.uri.startsWith('hf://')",
            message="model.revision has an effect only with an hf:// URI; remove it",
            field_path=".revision",
        ),
        Rule(
            expression="!has(self.tokenSecretRef) || self.uri.startsWith('hf://')",
            message="model.tokenSecretRef has an effect only with an hf:// URI; "
            "use model.serviceAccountName for the credentials of other stores",
            field_path=".tokenSecretRef",
        ),
        Rule(
            expression="!has(self.aliases) || "
            "!self.aliases.exists(a, a == self.name || a == 'tierwise' || a == 'None')",
            message="model.aliases are further names: leave out model.name, and tierwise and None, which are taken",
            field_path=".aliases",
        ),
        Rule(
            expression="!has(self.adapters) || !self.adapters.exists(a, a.name == self.name || a.name == 'tierwise' || "
            "a.name == 'None' || (has(self.aliases) && a.name in self.aliases))",
            message="the name of an adapter must differ from model.name, model.aliases, tierwise and None",
            field_path=".adapters",
        ),
        Rule(
            expression="!has(self.adapterSlots) || (has(self.adapters) && self.adapters.size() > 0)",
            message="model.adapterSlots has an effect only with model.adapters; remove it",
            field_path=".adapterSlots",
        ),
        Rule(
            expression="!has(self.cachePVC) || self.uri.startsWith('hf://')",
            message="model.cachePVC has an effect only with an hf:// URI; remove it",
            field_path=".cachePVC",
        ),
    )

    name: ModelName = Field(description="The name clients send as `model`, and the label of the engine's metrics.")
    aliases: Annotated[list[ModelName], AfterValidator(unique)] = Field(
        default_factory=list,
        max_length=16,
        description="Further names that clients may send as `model`.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    uri: Annotated[
        str,
        StringConstraints(pattern=r"^(hf|pvc|s3|gs|oci|https)://[A-Za-z0-9][A-Za-z0-9._/@:%-]*$", max_length=512),
    ] = Field(
        description="Where the weights are. hf://ORG/REPO is loaded by the engine itself; pvc://CLAIM/PATH is mounted; "
        "s3://, gs:// and https:// (a file, or a folder of Azure Blob Storage) go through KServe's storage initializer "
        "and oci:// through its model car, whose containers a namespace with the restricted Pod Security level refuses "
        "as KServe ships them."
    )
    revision: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=128)] | None = (
        Field(default=None, description="Branch, tag or commit of an hf:// repository. Pin a commit in production.")
    )
    token_secret_ref: SecretKeyRef | None = Field(
        default=None,
        description="Hugging Face token for a gated hf:// repository; becomes HF_TOKEN in the pod.",
    )
    cache_pvc: DNSName | None = Field(
        default=None,
        alias="cachePVC",
        description="PersistentVolumeClaim that keeps downloaded hf:// weights across pods. Without it every new "
        "replica downloads them again. With more than one replica its access mode must be ReadWriteMany.",
    )
    service_account_name: DNSName | None = Field(
        default=None,
        description="ServiceAccount of the pods, for example one that holds the credentials of an s3:// store.",
    )
    chat_template: ChatTemplate | None = Field(
        default=None,
        description="Template of chats, instead of the checkpoint's own. A change of the ConfigMap reaches pods that "
        "start later.",
    )
    adapters: Annotated[list[Adapter], AfterValidator(_adapters_once)] = Field(
        default_factory=list,
        max_length=32,
        description="LoRA adapters that are served besides the model, each under a name of its own.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    adapter_slots: int | None = Field(
        default=None,
        ge=1,
        le=32,
        description="Adapters that one batch may mix; each takes memory of the GPU. Default: all, at most 8.",
    )
    trust_remote_code: SwitchState = Field(
        default="Disabled",
        description="Enabled runs Python code that the checkpoint brings, with all that the pod may do. The chart "
        "value engines.trustRemoteCode must allow it.",
    )
    overrides: Overrides | None = Field(default=None, description="What is said instead of the model's config.json.")
    architecture: Architecture | None = Field(
        default=None,
        description="Sizes of the model, for weights that the operator cannot look into (a claim, a bucket, a private "
        "repository). With them a spec that cannot work is refused before a GPU is taken.",
    )
