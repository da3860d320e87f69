"""Shares the releases, tiny models and one playground with Tierwise among the tests with the real engine.

Everything that takes more than two seconds says so on stderr: the whole takes a good part of an hour on two cores.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from playground.handle import Playground, start
from playground.release import Release
from tests.cluster.kubectl import Kubectl, Object, ready
from tests.vllm.environment import RELEASES, image_row, make_models
from tests.vllm.tiers import CLAIM, READY_SECONDS, claim, namespace

SCRAPE_SECONDS = 2
VALUES = {
    "operator": {"tickSeconds": 3, "logFormat": "text"},
    "prometheus": {"scrapeIntervalSeconds": SCRAPE_SECONDS, "queryTimeoutSeconds": 5},
}


def say(text: str) -> None:
    """A line for whoever waits."""
    print(f"\n{time.strftime('%H:%M:%S')} {text}", file=sys.__stderr__, flush=True)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Says that something begins, and how long it took."""
    began = time.monotonic()
    say(f"{what} ...")
    yield
    say(f"{what}: {time.monotonic() - began:.0f} s")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All tiny models, a folder each."""
    folder = tmp_path_factory.mktemp("models")
    with told("making the models"):
        make_models(folder)
    return folder


@pytest.fixture(scope="session")
def playground() -> Iterator[Playground]:
    """A running control plane whose images include the real engine."""
    rows = [image_row(release) for release in RELEASES]
    with start(
        scrape_interval=SCRAPE_SECONDS, images=rows, progress=lambda text: say(f"playground: {text}")
    ) as running:
        yield running


@pytest.fixture(scope="session")
def release(playground: Playground) -> Release:
    """Tierwise, installed with helm."""
    made = Release(playground)
    with told("installing Tierwise"):
        made.install_crds()
        made.install(VALUES)
    return made


@pytest.fixture(scope="module")
def serve(release: Release, models: Path) -> Iterator[Callable[..., Kubectl]]:
    """Makes a namespace for restricted pods, with the models in a claim, in which these tiers serve; deleted after the
    module, engines too."""
    playground = release.playground
    admin = Kubectl(playground.binaries / "kubectl", playground.kubeconfig)
    made: list[str] = []

    def make(name: str, *tiers: Object) -> Kubectl:
        admin.apply(namespace(name))
        made.append(name)
        kubectl = admin.within(name)
        kubectl.apply(claim())
        claims = playground.state / "pvc" / name
        claims.mkdir(parents=True)
        (claims / CLAIM).symlink_to(models)
        if tiers:
            kubectl.apply(*tiers)
        for tier in (each["metadata"]["name"] for each in tiers):
            with told(f"waiting for tier {tier}"):
                ready(kubectl, tier, 1, READY_SECONDS)
        return kubectl

    yield make
    for name in made:
        with told(f"ending what runs in {name}"):
            admin("delete", "modeltiers", "--all", "--namespace", name)
            admin("delete", "pods", "--all", "--namespace", name, "--grace-period=1", "--wait=true", timeout=120)
            admin("delete", "namespace", name, "--wait=false")
