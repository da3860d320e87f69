"""Makes scenarios for tests: small tiers on a known GPU, and traces whose every request is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

from tierwise_sim.replay.manifests import Assumed, Manifests, read
from tierwise_sim.replay.result import SimulationResult, Targets
from tierwise_sim.replay.run import Simulation
from tierwise_sim.replay.scaler import Scaler
from tierwise_sim.replay.scenario import Fault, Scenario
from tierwise_sim.replay.summary import summary
from tierwise_sim.traces.arrival import Arrival, Trace

GPU = "NVIDIA-L4"
STARTUP = 60.0


def tier(name: str = "small", *, replicas: int | None = None, **scaling: Any) -> dict[str, Any]:
    """A ModelTier as it is applied: an 8B model on an L4, at most four replicas."""
    spec: dict[str, Any] = {
        "model": {"name": name, "uri": "hf://Qwen/Qwen3-8B-AWQ"},
        "quantization": {"method": "awq"},
        "contextLength": 8192,
        "batching": {"maxSequences": 16},
        "placement": {"nodeSelector": {"nvidia.com/gpu.product": GPU}},
        "scaling": {"minReplicas": 1, "maxReplicas": 4, **scaling},
        "price": {"gpuHour": "0.80"},
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "tierwise.io/v1alpha1", "kind": "ModelTier", "metadata": {"name": name}, "spec": spec}


def hosted(name: str = "hosted") -> dict[str, Any]:
    """An external tier."""
    return {
        "apiVersion": "tierwise.io/v1alpha1",
        "kind": "ModelTier",
        "metadata": {"name": name},
        "spec": {
            "external": {
                "baseURL": "https://api.example/v1",
                "model": "m",
                "apiKeySecretRef": {"name": "key"},
                "prices": {"input": "0.40", "output": "1.60"},
            }
        },
    }


def route(*tiers: str | Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    """A ModelRoute over these tiers, with one router unless said otherwise."""
    refs = [{"name": each} if isinstance(each, str) else dict(each) for each in tiers]
    return {
        "apiVersion": "tierwise.io/v1alpha1",
        "kind": "ModelRoute",
        "metadata": {"name": "chat"},
        "spec": {"tiers": refs, "replicas": 1, **spec},
    }


def manifests(*documents: Mapping[str, Any], **assumed: Any) -> Manifests:
    """What these objects say; one small tier where none is given."""
    return read(documents or (tier(),), Assumed(**{"startup_seconds": STARTUP, **assumed}))


def even(rate: float, seconds: float, *, prompt: int = 400, output: int = 100, model: str = "", **fields: Any) -> Trace:
    """So many requests a second, all alike, at even distances."""
    count = int(rate * seconds)
    return trace((Arrival(each / rate, prompt, output, model=model, **fields) for each in range(count)), seconds)


def drawn(rate: float, seconds: float, seed: int = 1) -> Trace:
    """Requests as they come: Poisson, of many lengths."""
    rng = Random(seed)
    at, found = 0.0, []
    while (at := at + rng.expovariate(rate)) < seconds:
        found.append(Arrival(at, rng.randint(20, 1500), rng.randint(1, 300)))
    return trace(found, seconds)


def trace(arrivals: Iterable[Arrival], seconds: float) -> Trace:
    """A trace of these requests."""
    return Trace("test", tuple(arrivals), seconds, "test")


def scenario(of: Trace, *documents: Mapping[str, Any], faults: Iterable[Fault] = (), **fields: Any) -> Scenario:
    """A scenario of these objects. `startup`: seconds until a replica answers; further fields as in Scenario."""
    found = manifests(*documents, startup_seconds=fields.pop("startup", STARTUP))
    return Scenario(
        tiers=found.tiers,
        route_name=found.route_name,
        route=found.route,
        trace=of,
        targets=fields.pop("targets", Targets(2.5, 0.1)),
        faults=tuple(sorted(faults)),
        **fields,
    )


def ran(of: Scenario, scaler: Scaler | None = None) -> Simulation:
    """The scenario, run to its end."""
    simulation = Simulation(of, scaler)
    for _ in simulation.run():
        pass
    assert not simulation.operator.failures
    return simulation


def result(of: Scenario, scaler: Scaler | None = None) -> SimulationResult:
    """What came of it."""
    return summary(ran(of, scaler), "tierwise")
