"""Checks specs of the largest size, and many tiers: what is refused, what works, and what it costs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.e2e.tiers import cheap, external
from tests.cluster.kubectl import Refused, eventually, has, ready
from tests.cluster.process import Operator, service
from tests.faults.results import Sheet
from tests.faults.stage import Stage

pytestmark = pytest.mark.cluster
WAIT = 90.0
HALF_MEGABYTE = 500_000
ANNOTATIONS_LIMIT = 262_144  # of Kubernetes, all annotations of one object together
MANY = 500
AT_ZERO = 20
MEMORY_MIB = 400
QUIET_SECONDS = 45


def too_large() -> dict[str, dict[str, Any]]:
    """Half a megabyte in every place that takes text or a list."""
    long = "x" * HALF_MEGABYTE
    return {
        "string": {"model": {"name": "big", "uri": f"hf://org/{long}"}},
        "list": {"extraArgs": [f"--seed={number}" for number in range(HALF_MEGABYTE // 12)]},
        "item": {"extraArgs": [f"--seed={long}"]},
        "map": {"placement": {"nodeSelector": {f"key-{number}": "v" * 60 for number in range(HALF_MEGABYTE // 70)}}},
        "map value": {"placement": {"nodeSelector": {"key": long}}},
        "nested": {"placement": {"tolerations": [{"key": "k" * 63, "operator": "Exists"}] * (HALF_MEGABYTE // 90)}},
    }


def largest() -> dict[str, Any]:
    """As much as the schema lets through, of fields that KServe and Kubernetes accept as well."""
    labels = [f"{'d' * 61}.{'e' * 61}.{'f' * 61}.{'g' * 55}.{number:02d}/{'n' * 63}" for number in range(15)]
    taints = [f"{'d' * 61}.{'e' * 61}.{'f' * 60}.{number:02d}/{'n' * 60}" for number in range(15)]
    return cheap(
        "largest",
        model={"name": "m" * 60, "uri": f"hf://{'o' * 90}/{'r' * 90}"},
        placement={
            "nodeSelector": dict.fromkeys(labels, "v" * 63),
            "tolerations": [
                {"key": key, "operator": "Equal", "value": "t" * 63, "effect": "NoSchedule"} for key in taints
            ],
            "imagePullSecrets": [f"{'s' * 60}-{number}" for number in range(8)],
        },
        replicas=0,
    )


def test_half_a_megabyte_of_spec_is_refused_and_the_largest_spec_works(
    stage: Stage, operator: Operator, faults: Sheet
) -> None:
    stage.ledger.restart()
    refused: list[float] = []
    for where, spec in too_large().items():
        asked = time.monotonic()
        with pytest.raises(Refused) as refusal:
            stage.kubectl.apply(cheap("big", **spec))
        refused.append(time.monotonic() - asked)
        assert "big" in str(refusal.value), where
        assert len(str(refusal.value)) < 3 * HALF_MEGABYTE
    assert stage.kubectl.get("modeltier", "big") is None
    spec = largest()
    began = time.monotonic()
    stage.kubectl.apply(spec)
    child = service(stage.kubectl, "largest")
    eventually(
        lambda: stage.kubectl.tier("largest"), lambda tier: has(tier, "Provisioned", "True"), WAIT, "it is provisioned"
    )
    seconds = time.monotonic() - began
    for found in (stage.kubectl.tier("largest"), child):
        annotations = found["metadata"].get("annotations", {})
        used = sum(len(key) + len(value) for key, value in annotations.items())
        assert used < ANNOTATIONS_LIMIT / 10, "nothing copies a spec into an annotation"
    wrong = stage.ledger.wrong()
    faults.record(
        row="20",
        fault="500 KB of spec, in six places",
        detect_seconds=max(refused),
        recover_seconds=seconds,
        wrong=wrong,
        note=f"all refused at apply; {len(json.dumps(spec['spec'])) // 1000} KB accepted and served",
    )


def resident(operator: Operator) -> float:
    """Memory of the process in MiB."""
    status = Path(f"/proc/{operator.process.pid}/status").read_text(encoding="utf-8")
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024


def test_many_tiers_are_accepted_and_cost_nothing_at_rest(stage: Stage, operator: Operator, faults: Sheet) -> None:
    kubectl = stage.kubectl
    before = resident(operator)
    stage.ledger.restart()
    began = time.monotonic()
    tiers = [external(f"many-{number:03d}") for number in range(MANY - AT_ZERO)]
    tiers += [cheap(f"zero-{number:03d}", replicas=0) for number in range(AT_ZERO)]
    for first in range(0, MANY, 50):
        kubectl.apply(*tiers[first : first + 50])
    applied = time.monotonic() - began

    def unfinished() -> int:
        found = kubectl.find("modeltiers")
        done = [tier for tier in found if has(tier, "Accepted", "True") and has(tier, "Provisioned", "True")]
        return MANY - len([tier for tier in done if tier["metadata"]["name"].startswith(("many-", "zero-"))])

    eventually(unfinished, lambda left: left == 0, 4 * WAIT, "all are accepted and provisioned")
    accepted = time.monotonic() - began
    memory = resident(operator)
    time.sleep(20)
    wrong = stage.ledger.wrong()
    stage.ledger.restart()
    time.sleep(QUIET_SECONDS)
    written = [str(write) for write in stage.ledger.all_written() if write.resource != "leases"]
    assert operator.probe("/healthz")[0] == 200
    kubectl.apply(cheap("one-more", replicas=1))
    ready(kubectl, "one-more", 1)
    faults.record(
        row="21",
        fault=f"{MANY} tiers at once",
        detect_seconds=None,
        recover_seconds=accepted,
        wrong=wrong,
        note=(
            f"{applied:.0f} s of that to apply them; {len(written)} writes in {QUIET_SECONDS} s at rest; "
            f"{before:.0f} to {memory:.0f} MiB"
        ),
    )
    assert written == []
    assert memory < MEMORY_MIB
