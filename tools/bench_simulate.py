"""Measures how fast `tierwise simulate` is: seconds of a trace per second of one core.

Three tiers with eight replicas behind two routers, at four loads: nearly idle, and about a third, two thirds and nearly
all of what the replicas carry. Requests are as long as those of a conversation, and are drawn from a seed.

    python -m tools.bench_simulate [SECONDS]
"""

from __future__ import annotations

import sys
import time
from functools import partial
from random import Random
from typing import Any

from tierwise_sim.replay.manifests import Assumed, read
from tierwise_sim.replay.run import Simulation
from tierwise_sim.replay.scenario import Scenario
from tierwise_sim.replay.summary import summary
from tierwise_sim.step_source import step_source
from tierwise_sim.traces.arrival import Arrival, Trace
from tierwise_sim.traces.lengths import CONVERSATION

SECONDS = 600.0
LOADS = (("nearly idle", 0.01), ("a third", 0.5), ("two thirds", 1.0), ("nearly full", 1.5))
# Name, model, GPU, GPUs of a replica, replicas, requests at a time, requests per second at load 1.
TIERS = (
    ("small", "Meta-Llama-3.1-8B-FP8", "NVIDIA-L40S", 1, 4, 64, 16.0),
    ("medium", "Qwen3-32B-FP8", "NVIDIA-H100-80GB-HBM3", 1, 2, 64, 5.0),
    ("large", "Meta-Llama-3.1-70B-FP8", "NVIDIA-H100-80GB-HBM3", 2, 2, 48, 4.0),
)


def manifests() -> list[dict[str, Any]]:
    """The tiers, and a route over them."""
    api = "tierwise.io/v1alpha1"
    route = {"tiers": [{"name": name} for name, *_ in TIERS]}
    objects = [{"apiVersion": api, "kind": "ModelRoute", "metadata": {"name": "chat"}, "spec": route}]
    for name, model, gpu, gpus, replicas, sequences, _ in TIERS:
        spec = {
            "model": {"name": name, "uri": f"hf://bench/{model}"},
            "contextLength": 16384,
            "batching": {"maxSequences": sequences},
            "resources": {"gpus": gpus},
            "parallelism": {"tensor": gpus},
            "placement": {"nodeSelector": {"nvidia.com/gpu.product": gpu}},
            "scaling": {"minReplicas": replicas, "maxReplicas": replicas},
            "price": {"gpuHour": "2"},
        }
        objects.append({"apiVersion": api, "kind": "ModelTier", "metadata": {"name": name}, "spec": spec})
    return objects


def trace(load: float, seconds: float) -> Trace:
    """Requests for each tier by its name, at random times."""
    rng = Random(1)  # noqa: S311 - repeatable requests, no secret
    arrivals = []
    for name, *_, rate in TIERS:
        at = rng.expovariate(rate * load)
        while at < seconds:
            prompt, output = CONVERSATION.draw(rng)
            arrivals.append(Arrival(at, prompt, output, model=name))
            at += rng.expovariate(rate * load)
    return Trace("bench", tuple(sorted(arrivals, key=lambda arrival: arrival.at)), seconds, "bench")


def main(arguments: list[str]) -> int:
    """Print one line for each load."""
    seconds = float(arguments[0]) if arguments else SECONDS
    steps = partial(step_source, measured_kernels=False)
    found = read(manifests(), Assumed(steps=lambda tier, settings: steps(settings)))
    for said, load in LOADS:
        requests = trace(load, seconds)
        simulation = Simulation(Scenario(found.tiers, found.route_name, found.route, requests))
        began = time.process_time()
        for _ in simulation.run():
            pass
        took = time.process_time() - began
        met = summary(simulation, "tierwise").total.attainment or 0.0
        rate = len(requests.arrivals) / seconds
        print(
            f"{said:12} {rate:6.1f} requests/s  {seconds / took:6.0f} x real time  {100 * met:5.1f} % met both targets"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
