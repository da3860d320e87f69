"""Checks that an object whose deletion was missed is left out, that an empty cluster is known to be empty, and that an
informer that is not running says so."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tierwise.kube import connection
from tierwise.ports import ObjectRef
from tierwise_operator import informer as module
from tierwise_operator.informer import Informer
from tierwise_operator.kopf_handlers import WatchedKind, kopf_settings
from tierwise_operator.settings import Settings

KINDS = (
    WatchedKind("pods", "v1", "pods", dict, "a=b"),
    WatchedKind("tiers", "tierwise.io/v1alpha1", "modeltiers", dict),
)


class Living:
    """Knows which UIDs exist, by plural and namespace, and their versions: "1" unless told."""

    def __init__(self, uids: Mapping[tuple[str, str], set[str]]) -> None:
        self._uids = uids
        self.at: dict[str, str] = {}
        self.asked: list[tuple[str, str, str]] = []

    async def versions(self, ref: ObjectRef, *, selector: str = "") -> dict[str, str]:
        self.asked.append((ref.plural, ref.namespace, selector))
        return {uid: self.at.get(uid, "1") for uid in self._uids.get((ref.plural, ref.namespace), set())}


def informer(*namespaces: str) -> Informer:
    made = Informer(Settings(namespaces=namespaces), KINDS, lambda: None)
    indices: Any = {
        "pods": {"p1": [{"name": "p1"}], "p2": [{"name": "p2"}]},
        "tiers": {"t1": [{"name": "t1"}]},
    }
    made._started(indices)
    return made


async def test_nothing_is_known_before_the_first_event() -> None:
    made = informer()
    assert await made._copy() is None
    made._complete()
    assert await made._copy() == {"pods": ({"name": "p1"}, {"name": "p2"}), "tiers": ({"name": "t1"},)}


WATCHES = {"/api/v1/pods", "/apis/tierwise.io/v1alpha1/modeltiers"}


COMES, STAYS_AWAY = 20.0, 0.05
"""Seconds in which something must come, on the slowest machine; and in which it is looked that something does not."""


async def settled(made: Informer, living: Living, watches: set[str], seconds: float = STAYS_AWAY) -> bool:
    """Whether the informer knows the cluster without an event, within so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await made._settle(living, watches)  # type: ignore[arg-type]
    return await made._copy() is not None


async def test_an_empty_cluster_is_known_without_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.005)
    woken: list[bool] = []
    made = Informer(Settings(), KINDS, lambda: woken.append(True))
    made._started({"pods": {}, "tiers": {}})  # type: ignore[dict-item]
    assert made.problem
    assert await settled(made, Living({}), WATCHES, COMES)
    assert (await made._copy(), made.problem, woken) == ({"pods": (), "tiers": ()}, "", [True])


async def test_a_cluster_is_not_taken_for_empty_while_something_lives_or_is_not_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.005)
    made = Informer(Settings(), KINDS, lambda: None)
    made._started({"pods": {}, "tiers": {}})  # type: ignore[dict-item]
    assert not await settled(made, Living({("modeltiers", ""): {"t1"}}), WATCHES), "its event is on the way"
    unasked = Living({})
    assert not await settled(made, unasked, {"/api/v1/pods"})
    assert unasked.asked == []
    two = Informer(Settings(namespaces=("x", "y")), KINDS, lambda: None)
    two._started({"pods": {}, "tiers": {}})  # type: ignore[dict-item]
    assert not await settled(two, Living({}), WATCHES), "each namespace has watches of its own"


async def test_what_was_deleted_unnoticed_is_left_out() -> None:
    made = informer("x", "y")
    made._complete()
    living = Living({("pods", "x"): {"p2", "unseen yet"}, ("modeltiers", "y"): {"t1"}})
    await made._compare(living)  # type: ignore[arg-type]
    assert made._ghosts == {"p1"}
    assert await made._copy() == {"pods": ({"name": "p2"},), "tiers": ({"name": "t1"},)}
    assert living.asked == [
        ("pods", "x", "a=b"),
        ("pods", "y", "a=b"),
        ("modeltiers", "x", ""),
        ("modeltiers", "y", ""),
    ]


async def test_an_informer_that_does_not_run_knows_nothing_and_stops_at_once() -> None:
    made = Informer(Settings(), KINDS, lambda: None)
    assert await made.records() is None
    assert made.problem
    await made.stop()


def test_kopf_is_set_up_to_write_nothing_and_to_give_up_never() -> None:
    settings = kopf_settings(KINDS)
    assert settings.queueing.worker_limit is None
    assert settings.posting.enabled is False
    assert settings.scanning.disabled is True
    assert settings.process.ultimate_exiting_timeout is None
    assert not hasattr(settings.networking.error_backoffs, "__len__")
    assert list(settings.watching.label_selectors.values()) == ["a=b"]


async def test_what_exists_is_compared_as_soon_as_a_kind_was_listed_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESYNC_SECONDS", 60.0)
    monkeypatch.setattr(module, "COMPARE_SECONDS", 0.01)
    made, asked = informer(), module._Asked(asyncio.Event())
    made._complete()
    living = Living({("pods", ""): {"p1"}, ("modeltiers", ""): {"t1"}})
    made._heard_of = {"p1": "1", "t1": "1"}
    resync = asyncio.create_task(made._resync(living, asked.relisted))  # type: ignore[arg-type]
    for watch in (False, True, True):  # the first list, its watch, and the next watch after a stream that just ended
        asked.note("/api/v1/pods", watch=watch)
    await asyncio.sleep(0.05)
    assert living.asked == []
    for watch in (False, True):  # listed anew: what was deleted meanwhile was never told
        asked.note("/api/v1/pods", watch=watch)
    async with asyncio.timeout(COMES):
        while not made._ghosts:  # noqa: ASYNC110  (what is waited for has no event)
            await asyncio.sleep(0.005)
    resync.cancel()
    assert made._ghosts == {"p2"}
    assert asked.watches == {"/api/v1/pods"}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes minutes takes hundredths of a second."""
    monkeypatch.setattr(module, "RESYNC_SECONDS", 0.02)
    monkeypatch.setattr(module, "HEARD_SECONDS", 0.05)
    monkeypatch.setattr(module, "COMPARE_SECONDS", 0.001)


EVERYTHING = {("pods", ""): {"p1", "p2"}, ("modeltiers", ""): {"t1"}}


def hearing(*uids: str) -> Informer:
    """An informer that has heard of these."""
    made = informer()
    for uid in uids:
        made._heard(uid, "1")
    return made


async def missed(made: Informer, living: Living, seconds: float = 0.5) -> bool:
    """Whether the comparisons come to an end within so many seconds, so that everything is listed anew."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await made._resync(living, asyncio.Event())  # type: ignore[arg-type]
            return True
    return False


@pytest.mark.usefixtures("impatient")
async def test_watches_that_miss_nothing_go_on() -> None:
    made, living = hearing("p1", "p2", "t1"), Living(EVERYTHING)
    until = time.monotonic() + COMES
    while len(living.asked) <= 4:  # compared again and again, how often in half a second is the machine's business
        assert time.monotonic() < until, f"not compared again and again: {living.asked}"
        assert not await missed(made, living)


@pytest.mark.usefixtures("impatient")
async def test_what_was_made_or_changed_unheard_is_missed() -> None:
    assert await missed(hearing("p1", "p2"), Living(EVERYTHING), COMES)
    changed = Living(EVERYTHING)
    changed.at["t1"] = "2"
    assert await missed(hearing("p1", "p2", "t1"), changed, COMES)


@pytest.mark.usefixtures("impatient")
async def test_what_changes_all_the_time_and_is_heard_of_a_moment_later_is_not_missed() -> None:
    made, living = hearing("p1", "p2", "t1"), Living(EVERYTHING)

    async def change() -> None:
        for version in range(2, 1000):
            living.at["t1"] = str(version)
            await asyncio.sleep(0.01)
            made._heard("t1", str(version))

    changing = asyncio.create_task(change())
    assert not await missed(made, living)
    changing.cancel()


@pytest.mark.usefixtures("impatient")
async def test_what_is_gone_is_not_waited_for() -> None:
    made, living = hearing("p1", "p2", "t1"), Living({("pods", ""): {"p1", "p2"}})
    made._heard("t1", "")
    assert not await missed(made, living)
    assert made._heard_of == {"p1": "1", "p2": "1"}


def test_kopf_does_not_list_in_a_hot_loop_where_every_watch_is_too_old() -> None:
    assert kopf_settings(KINDS).watching.reconnect_backoff >= 1


async def test_what_kopf_stumbles_over_at_its_end_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    made, loop = informer(), asyncio.get_running_loop()
    stumble = {"message": "Exception in callback", "exception": AssertionError()}
    made._unhandled(loop, stumble)
    assert [record.levelname for record in caplog.records] == ["ERROR"], "before the end it is one"
    caplog.clear()
    await made.stop()
    made._unhandled(loop, stumble)
    assert caplog.records == []


def until(holds: Callable[[], bool]) -> None:
    """Wait in a thread, for as long as the test may take."""
    while not holds():
        time.sleep(0.01)


async def test_an_informer_that_has_failed_knows_nothing_and_can_be_asked_while_it_waits_to_start_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its loop is closed then: whoever asked it got `RuntimeError: Event loop is closed`, at every tick."""
    failed = threading.Event()

    async def fails(*_: object) -> None:
        failed.set()
        raise RuntimeError("a defect")

    monkeypatch.setattr(connection, "load", fails)
    monkeypatch.setattr(module, "delays", lambda: itertools.repeat(30.0))
    made = Informer(Settings(), KINDS, lambda: None)
    made.start()
    assert await asyncio.to_thread(failed.wait, COMES)
    await asyncio.to_thread(until, lambda: "has failed" in made.problem)
    assert await made.records() is None
    await made.stop()


async def test_an_informer_that_ends_while_it_is_asked_has_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    async def slow(_: Informer) -> None:
        asked.set()
        await asyncio.sleep(30)

    async def ends_when_asked(_: Informer) -> None:
        made._loop = asyncio.get_running_loop()
        await asyncio.to_thread(asked.wait, COMES)
        raise RuntimeError("a defect")

    made = Informer(Settings(), KINDS, lambda: None)
    monkeypatch.setattr(Informer, "_copy", slow)
    monkeypatch.setattr(Informer, "_watch_for_ever", ends_when_asked)
    monkeypatch.setattr(module, "delays", lambda: itertools.repeat(30.0))
    made.start()
    await asyncio.to_thread(until, lambda: made._loop is not None)
    assert await made.records() is None
    await made.stop()
