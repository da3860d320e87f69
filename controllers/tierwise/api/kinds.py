"""Lists the kinds of the API: a new kind is one entry here.

CRDs, reference pages, watches, the command line and the writer of statuses read this table, so that none of them names
a kind by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tierwise.api.base import API_VERSION, GROUP, Model
from tierwise.api.gpupool import GPUPool
from tierwise.api.modelroute_status import ModelRoute
from tierwise.api.modeltier_status import ModelTier


@dataclass(frozen=True, slots=True)
class Column:
    """One printer column of `kubectl get`: its header, the path below the object, whether only `-o wide` shows it."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind: how the API server names it, the model of the whole object, and what `kubectl get` shows.

    `scale` holds the paths of the scale subresource (spec replicas, status replicas, selector), if it has one."""

    name: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    model: type[Model]
    columns: tuple[Column, ...] = ()
    namespaced: bool = True
    scale: Mapping[str, str] = field(default_factory=dict)
    api_version: str = API_VERSION

    @property
    def crd_name(self) -> str:
        """The name of its CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


MODEL_TIER = Kind(
    name="ModelTier",
    plural="modeltiers",
    singular="modeltier",
    short_names=("mt",),
    model=ModelTier,
    columns=(
        Column("Model", ".status.model"),
        Column("Ready", ".status.ready"),
        Column("Desired", ".status.desiredReplicas", "integer"),
        Column("Waiting", ".status.waiting", "integer"),
        Column("KV", ".status.kvCachePercent", "integer"),
        Column("$/H", ".status.costPerHour"),
        Column("Limited", ".status.limitedBy"),
        Column("Status", ".status.state"),
        Column("Engine", ".status.engine", wide=True),
        Column("Quantization", ".status.quantization", wide=True),
        Column("Pools", ".status.placed", wide=True),
        Column("Prefix-Hit", ".status.prefixHitPercent", "integer", wide=True),
        Column("Accepted", ".status.acceptedPercent", "integer", wide=True),
        Column("$/Mtok", ".status.costPerMillionTokens", wide=True),
        Column("Reason", ".status.reason", wide=True),
        Column("URL", ".status.url", wide=True),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    scale={
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    },
)

MODEL_ROUTE = Kind(
    name="ModelRoute",
    plural="modelroutes",
    singular="modelroute",
    short_names=("mr",),
    model=ModelRoute,
    columns=(
        Column("URL", ".status.url"),
        Column("Tiers", ".status.tiers"),
        Column("Req/s", ".status.requestsPerSecond"),
        Column("Share", ".status.share"),
        Column("Saved", ".status.saved"),
        Column("Quality", ".status.qualityPercent"),
        Column("$/H", ".status.costPerHour"),
        Column("Spent", ".status.spent"),
        Column("Status", ".status.state"),
        Column("Model Names", ".status.modelNames", wide=True),
        Column("Waiting", ".status.waiting", "integer", wide=True),
        Column("Spilled", ".status.spilled", "integer", wide=True),
        Column("Fallbacks", ".status.fallbacks", "integer", wide=True),
        Column("P95 TTFT", ".status.ttftP95Seconds", wide=True),
        Column("Saved At Least", ".status.savings.lowerBoundPercent", "integer", wide=True),
        Column("Pressed", ".status.pressed", wide=True),
        Column("Routers", ".status.ready", wide=True),
        Column("Reason", ".status.reason", wide=True),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)

GPU_POOL = Kind(
    name="GPUPool",
    plural="gpupools",
    singular="gpupool",
    short_names=("gpool",),
    model=GPUPool,
    columns=(
        Column("Capacity", ".status.capacity", "integer"),
        Column("Used", ".status.used", "integer"),
        Column("Others", ".status.others", "integer"),
        Column("Free", ".status.free", "integer"),
        Column("Budget", ".status.budget"),
        Column("$/H", ".status.costPerHour"),
        Column("Status", ".status.state"),
        Column("Pending", ".status.pending", "integer", wide=True),
        Column("Nodes", ".status.nodes", wide=True),
        Column("Tiers", ".status.tiers", "integer", wide=True),
        Column("GPU", ".status.gpu.product", wide=True),
        Column("$/GPU-H", ".status.pricePerGPUHour", wide=True),
        Column("Reason", ".status.reason", wide=True),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    namespaced=False,
)

KINDS: tuple[Kind, ...] = (MODEL_TIER, MODEL_ROUTE, GPU_POOL)
