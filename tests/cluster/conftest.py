"""One playground for all cluster tests: starting it takes longer than most of them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import cast

import pytest

from playground.handle import Playground, start
from tests.cluster.elsewhere import elsewhere

__all__ = ["Playground"]

SCRAPE_SECONDS = 2
# Engines that load in two seconds, on the GPU that their tier asks for; and some that end when they have.
ENGINE = {
    "load_seconds": 2,
    "models": {
        "*32B*": {"gpu": "NVIDIA-H100-80GB-HBM3"},
        # Says other things than the others, in fewer and larger pieces: many streams of it need little of a processor.
        "*1.7B*": {"seed": 17, "tick_seconds": 0.25},
        "*/too-large": {"fail": "oom"},
        "*/never-ready": {"load_seconds": 3600},
        "*/too-much-memory": {"fail": "OOMKilled", "fail_exit_code": 137},
        "*/bad-arguments": {
            "fail": "vllm serve: error: argument --reasoning-parser: invalid choice: 'nobody'",
            "fail_exit_code": 2,
        },
    },
}


def started() -> Playground:
    """A control plane as the tests want it; whoever called stops it."""
    return start(
        scrape_interval=SCRAPE_SECONDS,
        engine=ENGINE,
        progress=lambda text: print(f"playground: {text}", file=sys.__stderr__, flush=True),
    )


@pytest.fixture(scope="session")
def playground() -> Iterator[Playground]:
    """A running control plane, shared; what a test stops it must start again. Or the cluster that is named."""
    other = elsewhere()
    if other is not None:
        yield cast(Playground, other)
        return
    with started() as running:
        yield running
