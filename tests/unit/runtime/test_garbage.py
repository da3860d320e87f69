"""What is alive is set aside, and nothing that died stays for ever."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from tierwise.runtime.garbage import GarbageCollection


@pytest.fixture(autouse=True)
def usual_collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


class Thing:
    me: Thing | None = None


def test_what_is_alive_is_not_looked_at_again() -> None:
    collection = GarbageCollection()
    collection.after_cycle()
    assert gc.get_freeze_count() > 1000
    assert len(gc.get_objects()) < 1000


def test_a_cycle_that_died_is_freed_when_the_process_has_grown() -> None:
    collection = GarbageCollection()
    collection.after_cycle()
    thing = Thing()
    thing.me, gone = thing, weakref.ref(thing)
    collection.after_cycle()
    del thing
    gc.collect()
    assert gone() is not None, "it was set aside"
    growth = [[number] for number in range(int(0.6 * collection._blocks))]
    collection.after_cycle()
    assert gone() is None
    assert growth
