"""Checks that only what somebody else has changed is called healed, and only what was written is called rendered."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.act.store import merged
from tests.unit.act.worlds import service_ref
from tests.unit.reconcile.rollouts import Town
from tierwise import reasons
from tierwise.errors import Conflict, Forbidden, TierwiseError, Transient

SILENT = Transient('failed calling webhook "inferenceservice.kserve": connect: connection refused')
POLICY = Forbidden('admission webhook "policy" denied the request: no', status=403)
# An image is part of the pod template, a strategy is not.
CHANGES: dict[str, dict[str, Any]] = {
    "image": {"image": "good-2", "rollout": "Surge"},
    "strategy": {"image": "good-1", "rollout": "Replace"},
}


async def town() -> Town:
    here = Town()
    here.apply("good-1", rollout="Surge")
    await here.minutes(2)
    here.store.events.clear()
    return here


def written(here: Town) -> list[str]:
    """Events of writes of the InferenceService."""
    return [event.reason for event in here.store.events if event.action == "Apply"]


@pytest.mark.parametrize("error", [SILENT, POLICY, Conflict("modified", status=409)])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_that_is_written_at_a_later_try_is_an_update(change: str, error: TierwiseError) -> None:
    here = await town()
    here.apply(**CHANGES[change])
    here.store.failing["apply"] = error
    await here.cycle()
    await here.cycle()
    assert here.status.observed_generation == 2
    here.store.failing.clear()
    await here.minutes(2)
    assert written(here) == [reasons.UPDATED]


async def test_a_change_is_an_update_also_when_the_operator_starts_again_before_it_is_written() -> None:
    here = await town()
    here.apply("good-2", rollout="Surge")
    here.store.failing["apply"] = SILENT
    await here.cycle()
    here.restart()
    here.store.failing.clear()
    await here.minutes(1)
    assert written(here) == [reasons.UPDATED]


async def test_what_is_not_written_is_not_called_rendered() -> None:
    here = await town()
    before = here.status.rollout.rendered
    here.apply("good-2", rollout="Surge")
    here.store.failing["apply"] = SILENT
    await here.minutes(1)
    assert here.status.rollout.rendered == before
    here.store.failing.clear()
    await here.cycle()
    rendered = here.status.rollout.rendered
    assert before is not None
    assert rendered is not None
    assert rendered.hash != before.hash
    assert rendered.template != before.template


async def test_what_was_written_is_called_rendered_though_its_first_status_was_lost() -> None:
    here = await town()
    before = here.status.rollout.rendered
    here.apply("good-2", rollout="Surge")
    here.store.failing["status"] = SILENT
    await here.cycle()
    here.store.failing.clear()
    await here.cycle()
    assert here.status.rollout.rendered != before


async def test_what_the_cluster_changes_back_in_part_is_called_rendered_all_the_same() -> None:
    here = await town()
    before, put = here.status.rollout.rendered, here.store.put

    def stubborn(ref: Any, manifest: Any) -> Any:  # a webhook with its own mind about minReplicas
        if ref == service_ref():
            manifest = merged(manifest, {"spec": {"predictor": {"minReplicas": 7}}})
        return put(ref, manifest)

    here.store.put = stubborn  # type: ignore[method-assign]
    here.apply("good-2", rollout="Surge")
    here.store.failing["status"] = SILENT
    await here.cycle()
    here.store.failing.clear()
    await here.minutes(1)
    assert here.status.rollout.rendered != before


async def test_a_hand_edit_after_a_change_is_healed() -> None:
    here = await town()
    here.apply("good-2", rollout="Surge")
    here.store.failing["apply"] = SILENT
    await here.cycle()
    here.store.failing.clear()
    await here.minutes(1)
    edited = merged(here.store.seen(service_ref()), {"metadata": {"labels": {"tierwise.io/tier": "other"}}})
    here.store.put(service_ref(), edited)
    await here.cycle()
    assert written(here) == [reasons.UPDATED, reasons.HEALED]
