"""A cluster for the tests of commands; its context has the namespace "models"."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli import clusters


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[clusters.FakeCluster]:
    """A cluster that $KUBECONFIG names."""
    with clusters.cluster(tmp_path, namespace="models") as made:
        monkeypatch.setenv("KUBECONFIG", str(made.kubeconfig))
        yield made
