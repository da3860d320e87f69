"""Reads startable.yaml: which methods are tried with the real engine, and what must be seen of each.

A row says how one would know: one that serves names what the engine's log or metrics show only when the method is in
force, one that does not serve names the engine's own words. A row without is refused while it is read, because it
would pass whatever the engine does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.vllm.environment import KV_CACHE, image
from tierwise.api.modeltier import ModelTierSpec

H100_MIB = 81559
FILE = Path(__file__).parent / "startable.yaml"


@dataclass(frozen=True, slots=True)
class Row:
    """One method in one release. Its fields are those of startable.yaml."""

    name: str
    release: str
    model: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    kv_cache: str = KV_CACHE
    log: Sequence[str] = ()
    metrics: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    error: str = ""
    gpu_mib: int = H100_MIB

    @property
    def title(self) -> str:
        """What the test is called."""
        return f"{self.name}, {self.release}"

    @property
    def tier(self) -> ModelTierSpec:
        """The spec whose arguments the engine gets."""
        fields = {
            "model": {"name": "m", "uri": f"hf://tiny/{self.model}"},
            "engine": {"version": f"{self.release}.0", "image": image(self.release)},
            "resources": {"gpus": 0, "cpu": "1", "memory": "4Gi"},
            "contextLength": 2048,
            "batching": {"maxSequences": 8, "maxBatchedTokens": 2048},
            "drainSeconds": 30,
        }
        return ModelTierSpec.model_validate({**fields, **self.spec})

    def unproven(self, log: str, metrics: str) -> list[str]:
        """What of the proof is in neither the engine's log nor its metrics."""
        lines = [f"log: {line}" for line in self.log if line not in log]
        shown = [sample for family in text_string_to_metric_families(metrics) for sample in family.samples]
        series = [
            f"metrics: {name} {dict(labels)} above zero"
            for name, labels in self.metrics.items()
            if not any(
                sample.name == f"vllm:{name}" and sample.value > 0 and labels.items() <= sample.labels.items()
                for sample in shown
            )
        ]
        return lines + series


def rows(table: Mapping[str, Any], kind: str) -> list[Row]:
    """The rows of a kind (serves, breaks, fails), one per release.

    Raises TypeError for an unknown field, ValueError for a row that could not fail.
    """
    found = [_row(entry, release) for entry in table[kind] for release in entry["releases"]]
    for row in found:
        if kind == "serves" and not (row.log or row.metrics):
            raise ValueError(f"{row.title}: a row that serves needs log or metrics, proof that its method is in force")
        if kind != "serves" and not row.error:
            raise ValueError(f"{row.title}: a row that does not serve needs error, the engine's own words")
        if isinstance(row.log, str) or not all([*row.log, *row.metrics]):
            raise ValueError(f"{row.title}: log is a list of lines, metrics are names with labels; none is empty")
    return found


def _row(entry: Mapping[str, Any], release: str) -> Row:
    renamed = {"kvCache": "kv_cache", "gpuMiB": "gpu_mib"}
    fields = {renamed.get(name, name): value for name, value in entry.items() if name != "releases"}
    return Row(release=release, **fields)


TABLE: Mapping[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVES, BREAKS, FAILS = rows(TABLE, "serves"), rows(TABLE, "breaks"), rows(TABLE, "fails")
