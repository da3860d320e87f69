"""Puts a known load on tiers, and takes it away."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from playground.handle import Playground

FOREVER = 3600.0


def service_address(playground: Playground, namespace: str, tier: str) -> str:
    """The ClusterIP of a tier's Service: what a client in the cluster connects to."""
    path = ("--namespace", namespace, f"{tier}-predictor", "-o", "jsonpath={.spec.clusterIP}")
    return playground.kubectl("get", "service", *path)


@contextmanager
def closed_loop(playground: Playground, namespace: str, users: Mapping[str, int]) -> Iterator[None]:
    """So many users per tier, each asking again as soon as it is answered, while the block runs."""
    tiers = [
        {"url": f"http://{service_address(playground, namespace, tier)}", "model": tier, "users": count}
        for tier, count in sorted(users.items())
    ]
    order = json.dumps({"seconds": FOREVER, "tiers": tiers})
    process = playground.start(sys.executable, "-m", "tests.cluster.e2e.users", order)
    try:
        yield
        assert process.poll() is None, f"the load ended by itself with code {process.returncode}"
    finally:
        process.kill()
        process.wait()
