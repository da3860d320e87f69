"""Checks that an event wakes the loop when, and only when, something that is kept has changed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.observe import bodies
from tierwise.observe import records
from tierwise_operator.kopf_handlers import WatchedKind, _indexer, _waker

SCALERS = WatchedKind("scalers", "autoscaling/v2", "horizontalpodautoscalers", records.scaler_record)
PODS = WatchedKind("pods", "v1", "pods", records.pod_record)


class Watch:
    """One kind's handlers, called as kopf calls them: first the index, then the event."""

    def __init__(self, kind: WatchedKind) -> None:
        self.kind = kind
        self.heard: list[tuple[str, str]] = []
        self.woken = 0
        self._index: dict[str, list[Any]] = {}
        self._fill = _indexer(kind)
        self._wake = _waker(kind, self._hear, self._change)

    def _hear(self, uid: str, version: str) -> None:
        self.heard.append((uid, version))

    def _change(self) -> None:
        self.woken += 1

    async def event(self, body: dict[str, Any], *, deleted: bool = False) -> None:
        body = {**body, "metadata": {"resourceVersion": "77", **body["metadata"]}}
        if deleted:
            self._index.pop(body["metadata"]["uid"], None)
        else:
            self._index.update({uid: [record] for uid, record in (await self._fill(body=body)).items()})
        await self._wake(
            body=body, type="DELETED" if deleted else "MODIFIED", **{f"{self.kind.name}_index": self._index}
        )


def scaler(uid: str, **status: Any) -> dict[str, Any]:
    body = bodies.scaler()
    return {**body, "metadata": {**body["metadata"], "uid": uid}, "status": status}


async def test_the_status_of_an_autoscaler_wakes_nobody() -> None:
    watch = Watch(SCALERS)
    for replicas in range(5):
        await watch.event(scaler("one", currentReplicas=replicas))
    assert (len(watch.heard), watch.woken) == (5, 1), "it came, and then only its status was written"
    await watch.event(scaler("another"))
    assert watch.woken == 2


async def test_an_end_and_a_new_beginning_wake() -> None:
    watch = Watch(SCALERS)
    await watch.event(scaler("one"))
    await watch.event(scaler("one"), deleted=True)
    assert watch.woken == 2
    assert watch.heard == [("one", "77"), ("one", "")]
    await watch.event(scaler("one"), deleted=True)
    assert watch.woken == 2, "it was gone already"
    await watch.event(scaler("one"))
    assert watch.woken == 3


@pytest.mark.parametrize(
    ("change", "woken"),
    [({"resourceVersion": "8", "managedFields": [{}]}, 1), ({"deletionTimestamp": "2026-11-20T12:00:00Z"}, 2)],
    ids=["what is not kept", "what is kept"],
)
async def test_a_pod_wakes_by_what_is_kept_of_it(change: dict[str, Any], woken: int) -> None:
    watch = Watch(PODS)
    await watch.event(bodies.pod("a"))
    await watch.event(bodies.pod("a", **change))
    assert watch.woken == woken
