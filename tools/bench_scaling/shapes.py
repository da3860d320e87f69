"""Makes the tiers of a comparison: what would be applied to a cluster, the same for whoever decides.

A replica decodes as many requests together as keep the mean time between tokens under four fifths of its target, by the
closed form of the engine model: a rule that a person would follow, and that no autoscaler is favoured by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from tierwise.api.kinds import MODEL_ROUTE, MODEL_TIER
from tierwise.gpus import prices_of
from tierwise_sim.capacity import Workload, at_running, max_running
from tierwise_sim.replay import manifests
from tierwise_sim.replay.result import Targets
from tierwise_sim.replay.scenario import ServedTier
from tierwise_sim.settings import EngineSettings
from tierwise_sim.step_source import step_source
from tierwise_sim.step_time import StepSource
from tools.bench_scaling.cases import LARGE, MEDIUM, PAIR, POOL, SMALL

H100, L40S, L4 = "NVIDIA-H100-80GB-HBM3", "NVIDIA-L40S", "NVIDIA-L4"
PROVIDER = "AWS"
HEADROOM = 0.8
PERCENTILE = 99
"""Of the requests are to meet each target."""
BATCHES = (2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
MOST_REPLICAS = 10
"""As in the guides that the KEDA blueprint comes from."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of replica: the model, and the GPUs that it runs on."""

    name: str
    model: str
    gpu: str
    gpus: int


_SMALL = Kind(SMALL, "meta-llama/Llama-3.1-8B-Instruct", L4, 1)
_MEDIUM = Kind(MEDIUM, "Qwen/Qwen3-32B", L40S, 1)
_LARGE = Kind(LARGE, "meta-llama/Llama-3.1-70B-Instruct", H100, 2)
KINDS: Mapping[str, tuple[Kind, ...]] = {
    SMALL: (_SMALL,),
    MEDIUM: (_MEDIUM,),
    LARGE: (_LARGE,),
    PAIR: (_SMALL, _MEDIUM),
    POOL: (_MEDIUM, replace(_LARGE, gpu=L40S)),
}
"""By shape. The tiers of a pool have one product, and so share its GPUs."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What the tiers are for: the mean request, the service level, the longest prompt (tokens), and seconds until a
    replica answers."""

    mean: Workload
    targets: Targets
    context: int
    startup: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """Replicas that a tier may have, and has when the load begins."""

    least: int = 1
    most: int = MOST_REPLICAS
    initial: int = 1


def price(gpu: str) -> Decimal:
    """US dollars per GPU-hour: a list price, on demand."""
    return next(found.usd for found in prices_of(gpu) if found.provider == PROVIDER)


def read(shape: str, ask: Ask, bounds: Mapping[str, Bounds] | None = None) -> manifests.Manifests:
    """The tiers of a shape with the route over them. Raises Invalid where an engine would not start."""
    given = bounds or {}
    documents = [_tier(kind, ask, given.get(kind.name, Bounds())) for kind in KINDS[shape]]
    refs = [{"name": kind.name} for kind in KINDS[shape]]
    documents.append(_object(MODEL_ROUTE.name, "chat", {"tiers": refs}))
    initial = {name: each.initial for name, each in given.items()}
    return manifests.read(documents, manifests.Assumed(startup_seconds=ask.startup, steps=_steps, initial=initial))


def rates(shape: str, ask: Ask) -> dict[str, float]:
    """Requests per second that a full replica of each tier answers, by the closed form."""
    return {
        tier.name: at_running(
            tier.settings, ask.mean, max_running(tier.settings, ask.mean), tier.steps.step_time
        ).requests_per_second
        for tier in read(shape, ask).tiers
        if isinstance(tier, ServedTier)
    }


def _tier(kind: Kind, ask: Ask, bounds: Bounds) -> Mapping[str, Any]:
    spec = _spec(kind, ask, bounds, BATCHES[-1])
    (probe,) = manifests.read([_object(MODEL_TIER.name, kind.name, spec)], manifests.Assumed(steps=_steps)).tiers
    assert isinstance(probe, ServedTier)  # noqa: S101
    return _object(MODEL_TIER.name, kind.name, _spec(kind, ask, bounds, _sequences(probe, ask)))


def _sequences(probe: ServedTier, ask: Ask) -> int:
    """The largest batch whose mean time between tokens stays under `HEADROOM` of the target."""
    allowed = [
        batch
        for batch in BATCHES
        if at_running(probe.settings, ask.mean, batch, probe.steps.step_time).token_seconds
        <= HEADROOM * ask.targets.inter_token
    ]
    return allowed[-1] if allowed else BATCHES[0]


def _spec(kind: Kind, ask: Ask, bounds: Bounds, sequences: int) -> dict[str, Any]:
    return {
        "model": {"name": kind.name, "uri": f"hf://{kind.model}"},
        "quantization": {"method": "fp8_per_tensor", "kvCacheDtype": "fp8"},
        "batching": {"maxSequences": sequences},
        "contextLength": ask.context,
        "resources": {"gpus": kind.gpus},
        "parallelism": {"tensor": kind.gpus},
        "placement": {"nodeSelector": {"nvidia.com/gpu.product": kind.gpu}},
        "scaling": {
            "minReplicas": bounds.least,
            "maxReplicas": bounds.most,
            "targets": {
                "ttft": _target(ask.targets.ttft),
                "interToken": _target(ask.targets.inter_token),
            },
        },
        "price": {"gpuHour": str(price(kind.gpu))},
    }


def _target(seconds: float) -> dict[str, int]:
    """What everybody is judged by; autoscalers that know a service level are told the same."""
    return {"percentile": PERCENTILE, "milliseconds": round(1000 * seconds)}


def described(shape: str) -> Sequence[str]:
    """One sentence per tier."""
    return [
        f"{kind.name}: {kind.model.rsplit('/', 1)[-1]} fp8 on {kind.gpus} {kind.gpu}, ${price(kind.gpu)} per GPU-hour"
        for kind in KINDS[shape]
    ]


def _steps(tier: str, settings: EngineSettings) -> StepSource:
    """Without measured kernels, so that the result depends on nothing that is installed."""
    return step_source(settings, measured_kernels=False)


def _object(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "tierwise.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
