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
LABELS = ("tierwise_io_tier", "tierwise_io_route")
UNLABELLED_PORT = 9191


@pytest.fixture(scope="module")
def place(new_namespace: Callable[[str], Kubectl], release: Release) -> Kubectl:
    """A namespace with a healthy tier of two replicas."""
    kubectl = new_namespace("surroundings")
    kubectl.apply(tier("fine", replicas=2))
    eventually(lambda: kubectl.tier("fine"), lambda seen: has(seen, "Ready", "True"), 180, "the healthy tier is ready")
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
        lambda: place.tier("fine"), lambda seen: has(seen, "MetricsAvailable", "True"), 180, "measured again afterwards"
    )


def _says(kubectl: Kubectl, type_: str, reason: str) -> str:
    seen = eventually(
        lambda: kubectl.tier("fine"), lambda tier: has(tier, type_, "False", reason), 180, f"{type_}=False {reason}"
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
        job["relabel_configs"] = [rule for rule in rules if rule.get("target_label") not in LABELS]
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


def _with_budget() -> list[dict[str, Any]]:
    """A route over an external tier that nobody asks."""
    external = {
        "apiKeySecretRef": {"name": "api-key", "key": "token"},
        "baseURL": "http://nobody.invalid/v1",
        "model": "frontier",
        "prices": {"input": "1", "output": "2"},
    }
    about = {"apiVersion": "tierwise.io/v1alpha1"}
    budget = {"tiers": [{"name": "bought"}], "budget": {"amount": "1"}, "replicas": 1, "drainSeconds": 5}
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "api-key"}, "stringData": {"token": "sk-nobody"}},
        {**about, "kind": "ModelTier", "metadata": {"name": "bought"}, "spec": {"external": external}},
        {**about, "kind": "ModelRoute", "metadata": {"name": "poor"}, "spec": budget},
    ]


def test_routers_that_a_prometheus_does_not_know_are_reported_since_nothing_more_is_spent(
    place: Kubectl, configured: Callable[..., None], unlabelled: str
) -> None:
    def route() -> dict[str, Any]:
        return place.get("modelroute", "poor") or {}

    place.apply(*_with_budget())
    try:
        eventually(route, lambda seen: has(seen, "MetricsAvailable", "True", "MetricsFound"), 120, "it is measured")
        configured(unlabelled)
        seen = eventually(
            route, lambda seen: has(seen, "MetricsAvailable", "False", "RoutersNotMeasured"), 150, "it is not"
        )
        assert conditions(seen)["MetricsAvailable"]["message"].startswith("no fresh metrics from poor-router-")
        assert (seen["status"]["state"], seen["status"]["reason"]) == ("Degraded", "RoutersNotMeasured")
    finally:
        place("delete", "modelroute/poor", "modeltier/bought", "secret/api-key")
