"""Checks that the operator reports a wrong installation around it and goes on running.

Prometheus elsewhere, or a Prometheus without the tier's label: a condition on every tier says so, the operator goes on
running, and no replica is taken away. (Without KServe: test_without_kserve.)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from playground.handle import Playground
from playground.layout import HOST_ADDRESS, Layout
from playground.release import Release
from tests.cluster.e2e.tiers import tier
from tests.cluster.kubectl import Kubectl, conditions, eventually, has

pytestmark = pytest.mark.cluster
UNLABELLED_PORT = 9191


@pytest.fixture(scope="module")
def place(new_namespace: Callable[[str], Kubectl], release: Release) -> Kubectl:
    """A namespace with a healthy tier of two replicas."""
    kubectl = new_namespace("surroundings")
    kubectl.apply(tier("fine", replicas=2))
    eventually(lambda: kubectl.tier("fine"), lambda seen: has(seen, "Ready", "True"), 60, "the healthy tier is ready")
    return kubectl


@pytest.fixture(autouse=True)
def no_replica_is_lost_and_the_operator_lives(place: Kubectl, operator: Kubectl) -> Iterator[None]:
    before = sorted(pod["metadata"]["uid"] for pod in place.pods("fine"))
    yield
    assert sorted(pod["metadata"]["uid"] for pod in place.pods("fine")) == before
    for pod in operator.find("pods", "app.kubernetes.io/name=tierwise"):
        assert [status["restartCount"] for status in pod["status"]["containerStatuses"]] == [0]


@pytest.fixture
def configured(release: Release, values: dict[str, Any], place: Kubectl) -> Iterator[Callable[..., None]]:
    """Upgrades the operator with another Prometheus; puts the right one back and waits until it is used."""

    def upgrade(url: str) -> None:
        release.install({**values, "prometheus": {**values["prometheus"], "url": url}})

    yield upgrade
    release.install(values)
    eventually(
        lambda: place.tier("fine"), lambda seen: has(seen, "MetricsAvailable", "True"), 60, "measured again afterwards"
    )


def _says(kubectl: Kubectl, type_: str, reason: str) -> str:
    seen = eventually(
        lambda: kubectl.tier("fine"), lambda tier: has(tier, type_, "False", reason), 60, f"{type_}=False {reason}"
    )
    return str(conditions(seen)[type_]["message"])


def test_a_wrong_prometheus_url_is_named(place: Kubectl, configured: Callable[..., None]) -> None:
    configured("http://prometheus.nowhere.svc:9090")
    message = _says(place, "MetricsAvailable", "PrometheusError")
    assert "prometheus.nowhere.svc:9090" in message


@pytest.fixture
def unlabelled(playground: Playground) -> Iterator[str]:
    """A second real Prometheus that scrapes the same pods and drops the tier's label, as one that does not select the
    PodMonitor's labels would; its URL."""
    layout = Layout(playground.state)
    configuration = json.loads((layout.config / "prometheus.json").read_text())
    for job in configuration["scrape_configs"]:
        rules = job["relabel_configs"]
        job["relabel_configs"] = [rule for rule in rules if rule.get("target_label") != "tierwise_io_tier"]
    path = layout.config / "unlabelled.json"
    path.write_text(json.dumps(configuration))
    address = f"{HOST_ADDRESS}:{UNLABELLED_PORT}"
    storage = f"--storage.tsdb.path={layout.data / 'unlabelled'}"
    process = playground.start(
        str(playground.binaries / "prometheus"), f"--config.file={path}", storage, f"--web.listen-address={address}"
    )
    yield f"http://{address}"
    process.terminate()
    process.wait()


def test_a_prometheus_that_does_not_keep_the_label_is_reported(
    place: Kubectl, configured: Callable[..., None], unlabelled: str
) -> None:
    configured(unlabelled)
    message = _says(place, "MetricsAvailable", "MetricsMissing")
    assert "tierwise_io_tier" in message
