"""Checks that an absent, late, forbidden or unreachable kind is a fact, and ends nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from tests.jumping import jumping
from tierwise.errors import Forbidden, Gone, Transient
from tierwise.kube import reflector as module
from tierwise.kube.reflector import ABSENT_SECONDS, REFUSED_SECONDS, Reflector
from tierwise.ports import ObjectRef

REF = ObjectRef("serving.kserve.io/v1beta1", "inferenceservices", "", "")


def body(uid: str, value: int = 0) -> dict[str, Any]:
    return {"metadata": {"uid": uid, "name": uid, "resourceVersion": str(value)}, "value": value}


def event(kind: str, uid: str, value: int = 0) -> dict[str, Any]:
    return {"type": kind, "object": body(uid, value)}


SILENCE: Any = object()


class Source:
    """Answers from a script: a list of bodies or an error for each listing, events or an error for each watch."""

    def __init__(self, lists: list[Any], watches: list[Any]) -> None:
        self.lists = lists
        self.watches = watches
        self.since: list[str] = []
        self.selectors: list[str] = []

    async def pages(
        self, ref: ObjectRef, *, selector: str = ""
    ) -> AsyncIterator[tuple[tuple[Mapping[str, Any], ...], str]]:
        self.selectors.append(selector)
        if not self.lists:
            raise asyncio.CancelledError
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        for number in range(max(1, len(answer))):  # one object a page
            yield tuple(answer[number : number + 1]), "100"

    async def watch(self, ref: ObjectRef, *, since: str, selector: str = "") -> AsyncIterator[Mapping[str, Any]]:
        self.since.append(since)
        answer = self.watches.pop(0) if self.watches else [Gone("too old", status=410)]
        for each in answer:
            if isinstance(each, Exception):
                raise each
            if each is SILENCE:
                await asyncio.sleep(60)
            yield each


class Run:
    """A reflector run to the end of its script."""

    def __init__(self, lists: list[Any], watches: list[Any], *, optional: bool = False) -> None:
        self.source = Source(lists, watches)
        self.wakes = 0
        self.slept: list[float] = []
        self.seen: list[tuple[bool | None, dict[str, Any]]] = []
        self.reflector = Reflector(
            self.source,
            REF,
            lambda found: found["value"],
            self._wake,
            selector="a=b",
            optional=optional,
            sleep=self._sleep,
        )

    def _wake(self) -> None:
        self.wakes += 1

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seen.append((self.reflector.present, dict(self.reflector.records)))

    async def to_the_end(self) -> Run:
        with pytest.raises(asyncio.CancelledError):
            await self.reflector.run()
        return self


@pytest.mark.parametrize(("optional", "value"), [(False, 2), (True, 1)])
@jumping
async def test_what_a_watch_has_lost_is_listed_in_the_end(
    monkeypatch: pytest.MonkeyPatch, optional: bool, value: int
) -> None:
    """But for what is merely useful, and may be large."""
    monkeypatch.setattr(module, "RELIST_SECONDS", 20.0)
    run = Run([[body("a", 1)], *[[body("a", 2)]] * 99], [[SILENCE]] * 99, optional=optional)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(50):
            await run.reflector.run()
    assert (run.reflector.records, run.slept) == ({"a": value}, [])


async def test_a_list_and_its_changes() -> None:
    changes = [event("ADDED", "b", 2), event("MODIFIED", "a", 3), event("DELETED", "b"), event("BOOKMARK", "", 7)]
    run = await Run([[body("a", 1)]], [changes]).to_the_end()
    assert run.reflector.present is True
    assert run.reflector.records == {"a": 3}
    assert run.wakes == 4
    assert run.source.since == ["100", "7"]
    assert run.source.selectors == ["a=b", "a=b"]


async def test_what_does_not_change_wakes_nobody() -> None:
    same = [event("MODIFIED", "a", 1), event("MODIFIED", "a", 1), event("DELETED", "unknown")]
    run = await Run([[body("a", 1)], [body("a", 1)]], [same]).to_the_end()
    assert run.wakes == 1


async def test_an_absent_kind_is_looked_at_again() -> None:
    gone = Gone("the server could not find the requested resource", status=404)
    run = await Run([gone, gone, [body("a", 1)]], []).to_the_end()
    assert run.slept[:2] == [ABSENT_SECONDS, ABSENT_SECONDS]
    assert [present for present, _ in run.seen[:3]] == [False, False, True]
    assert run.wakes == 2


async def test_a_kind_that_goes_takes_its_records_along() -> None:
    run = await Run([[body("a", 1)], Gone("no such kind", status=404)], []).to_the_end()
    assert run.reflector.present is False
    assert run.reflector.records == {}


async def test_after_an_expired_version_it_lists_again_and_misses_no_deletion() -> None:
    run = await Run([[body("a", 1), body("b", 1)], [body("b", 1)]], []).to_the_end()
    assert run.reflector.records == {"b": 1}


@pytest.mark.parametrize("error", [Transient("nobody answers"), Forbidden("cannot list", status=403)])
async def test_everything_else_is_tried_again_later_each_time(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    run = await Run([[body("a", 1)], *[error] * 9], [[Transient("broken")]]).to_the_end()
    assert run.reflector.records == {"a": 1}  # what was seen last stays visible
    assert all(later > earlier for earlier, later in zip(run.slept[1:5], run.slept[3:7], strict=True))
    assert max(run.slept) <= 30.0
    assert [record.message for record in caplog.records].count(str(error)) == 1


async def test_what_is_optional_may_be_refused(caplog: pytest.LogCaptureFixture) -> None:
    refused = Forbidden("list nodes (all): forbidden", status=403)
    run = await Run([refused, refused, [body("a", 1)], refused], [], optional=True).to_the_end()
    assert [present for present, _ in run.seen] == [False, False, True, False]
    assert [len(records) for _, records in run.seen] == [0, 0, 1, 0]
    assert run.slept[:2] == [REFUSED_SECONDS, REFUSED_SECONDS]
    assert len([record for record in caplog.records if "is not known" in record.message]) == 2, "told once each time"


async def test_nobody_waits_for_what_is_optional() -> None:
    run = await Run([Transient("nobody answers"), [body("a", 1)], Transient("away")], [], optional=True).to_the_end()
    assert [present for present, _ in run.seen] == [False, True, True]
    assert run.reflector.records == {"a": 1}, "what was seen last stays"


async def test_streams_that_break_at_once_are_begun_anew_later_each_time() -> None:
    run = await Run([[body("a", 1)]] * 10, [[Transient("broken")]] * 10).to_the_end()
    assert all(later > earlier for earlier, later in zip(run.slept[:5], run.slept[2:7], strict=True))


async def test_one_malformed_object_does_not_hide_the_others(caplog: pytest.LogCaptureFixture) -> None:
    broken = {"metadata": {"uid": "x", "name": "x"}}
    run = await Run([[broken, body("a", 1)]], [[{"type": "ADDED", "object": broken}]]).to_the_end()
    assert run.reflector.records == {"a": 1}
    assert "inferenceservices x cannot be read" in caplog.text


def test_nothing_is_known_before_the_first_answer() -> None:
    assert Run([], []).reflector.present is None
    assert Run([], []).reflector.name == "inferenceservices"
