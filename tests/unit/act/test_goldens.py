"""Checks that an upgrade of the operator leaves alone the InferenceServices that the release before has made.

The golden files are what earlier commits rendered. Each is put into the cluster as the live object of its tier: nothing
may be written, whatever the status of the tier lacks that this release keeps in it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from tests.builders.workloads import only
from tests.render import goldens
from tests.unit.act.store import Store
from tests.unit.act.worlds import kserve, look, plan, run
from tierwise.act.apply import WriteState
from tierwise.ports import ObjectRef
from tierwise.types import TierObject

SPECS = {
    **goldens.cases(),
    **{f"example-{p.parent.name}-{d['metadata']['name']}": d["spec"] for p, d in goldens.examples()},
}
PLACED = goldens.specs()  # as they are in their pools
SERVED = {name: spec for name, spec in SPECS.items() if "model" in spec}


def _kept(name: str) -> dict[str, Any]:
    text = (goldens.REPO / goldens.GOLDEN / f"{name}.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@pytest.mark.parametrize("name", SERVED)
async def test_what_an_earlier_commit_rendered_is_not_written_again(name: str) -> None:
    live = _kept(name)
    metadata = live["metadata"]
    tier: TierObject = goldens.tier(metadata["name"], SERVED[name], namespace="default")
    tier = replace(tier, spec=PLACED[name])
    store = Store()
    store.put(ObjectRef("serving.kserve.io/v1beta1", "inferenceservices", "default", metadata["name"]), live)
    kserve(store, metadata["name"])
    store.writes.clear()
    outcome = await run(store, WriteState(), look(store, tier), plan(metadata["name"]))
    assert (only(outcome).applied, outcome.error) == (False, None)
    assert store.writes == []
    assert outcome.template


async def test_it_would_be_written_if_one_argument_were_another() -> None:
    live = _kept("plain")
    live["spec"]["predictor"]["containers"][0]["args"].append("--seed=1")
    store = Store()
    store.put(ObjectRef("serving.kserve.io/v1beta1", "inferenceservices", "default", "plain"), live)
    kserve(store, "plain")
    tier = goldens.tier("plain", SERVED["plain"], namespace="default")
    assert only(await run(store, WriteState(), look(store, tier), plan("plain"))).applied
