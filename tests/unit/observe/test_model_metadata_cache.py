"""Checks that model metadata is read once where that is enough, again where it is not, and never waited for."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from tests.jumping import jumping
from tierwise.errors import Invalid, Refused, TierwiseError, Transient
from tierwise.hub.client import HubFiles
from tierwise.observe.model_metadata_cache import (
    AGAIN_SECONDS,
    FIRST_PAUSE_SECONDS,
    MOST,
    PARALLEL,
    PATIENCE_SECONDS,
    SILENCE_SECONDS,
    ModelMetadataCache,
)
from tierwise.types.model_metadata import Repository

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PINNED, BRANCH = Repository("org/pinned", COMMIT), Repository("org/branch")
CONFIG: dict[str, Any] = {"hidden_size": 64, "num_attention_heads": 8}


class Clock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class Source:
    """Answers from a table: a config, or an error."""

    def __init__(self) -> None:
        self.answers: dict[Repository, dict[str, Any] | Exception] = {}
        self.asked: Counter[Repository] = Counter()

    async def read(self, repository: Repository) -> HubFiles:
        self.asked[repository] += 1
        answer = self.answers.get(repository, CONFIG)
        if isinstance(answer, Exception):
            raise answer
        return HubFiles(answer)


class Room:
    """A catalogue with its clock and source, and how often it woke the loop."""

    def __init__(self) -> None:
        self.clock, self.source, self.wakes, self.news = Clock(), Source(), 0, asyncio.Event()
        self.catalogue = ModelMetadataCache(self.source, self.clock, changed=self._wake)

    def _wake(self) -> None:
        self.wakes += 1
        self.news.set()

    async def after(self, seconds: float) -> None:
        self.clock.at += seconds
        await self.catalogue.round()


async def test_a_repository_that_is_wanted_is_read_and_the_loop_woken() -> None:
    room = Room()
    room.catalogue.want([BRANCH, PINNED])
    assert room.catalogue.publications.asking == {BRANCH, PINNED}
    await room.catalogue.round()
    said = room.catalogue.publications
    assert said.asking == frozenset()
    for each in (BRANCH, PINNED):
        shape = said.shape(each)
        assert shape is not None
        assert (shape.hidden_size, said.problem(each)) == (64, "")
    assert room.wakes == 2


async def test_a_commit_is_read_once_a_branch_now_and_then_and_what_is_the_same_wakes_nobody() -> None:
    room = Room()
    for _ in range(5):
        room.catalogue.want([BRANCH, PINNED])
        await room.after(AGAIN_SECONDS / 4)
    assert room.source.asked == {PINNED: 1, BRANCH: 2}
    assert room.wakes == 2
    room.source.answers[BRANCH] = CONFIG | {"hidden_size": 128}
    await room.after(AGAIN_SECONDS)
    shape = room.catalogue.publications.shape(BRANCH)
    assert shape is not None
    assert (shape.hidden_size, room.wakes) == (128, 3)


@pytest.mark.parametrize("error", [Refused("401", status=401), Invalid("no JSON"), Transient("away")])
async def test_a_failure_is_unknown_and_tried_again_later_each_time(error: TierwiseError) -> None:
    room = Room()
    room.source.answers[BRANCH] = error
    room.catalogue.want([BRANCH])
    tried = []
    for second in range(0, 1200, 10):
        before = room.source.asked[BRANCH]
        await room.after(10)
        tried += [second] if room.source.asked[BRANCH] > before else []
    gaps = [later - earlier for earlier, later in pairwise(tried)]
    assert gaps == [60, 120, 240, 480]
    assert room.catalogue.publications.problem(BRANCH) == error.message
    assert room.catalogue.publications.asking == frozenset()
    assert room.wakes == 1, "the same failure is no news"
    room.source.answers[BRANCH] = CONFIG
    await room.after(AGAIN_SECONDS)
    assert room.catalogue.publications.problem(BRANCH) == ""
    assert room.wakes == 2


async def test_what_was_known_stays_known_while_the_hub_is_away() -> None:
    room = Room()
    room.catalogue.want([BRANCH])
    await room.catalogue.round()
    room.source.answers[BRANCH] = Transient("away")
    await room.after(AGAIN_SECONDS + 1)
    assert room.source.asked[BRANCH] == 2
    assert room.catalogue.publications.shape(BRANCH) is not None
    assert (room.catalogue.publications.problem(BRANCH), room.wakes) == ("", 1)


async def test_a_silent_hub_is_not_asked_for_every_repository_in_turn() -> None:
    room = Room()
    many = [Repository(f"org/m{number:02d}") for number in range(30)]
    room.source.answers |= dict.fromkeys(many, Transient("the hub cannot be reached"))
    room.catalogue.want(many)
    await room.catalogue.round()
    assert sum(room.source.asked.values()) == 4
    said = room.catalogue.publications
    assert {said.problem(each) for each in many} == {"the hub cannot be reached"}
    assert said.asking == frozenset()


async def test_one_repository_that_never_answers_hides_no_other() -> None:
    room = Room()
    poison, good = Repository("aaa/poison"), [Repository(f"org/m{number:02d}") for number in range(15)]
    room.source.answers[poison] = Transient("the hub does not answer in 10 s")
    room.catalogue.want([poison, *good])
    await room.catalogue.round()
    said = room.catalogue.publications
    assert [each for each in good if said.shape(each) is None] == []
    assert said.problem(poison) == "the hub does not answer in 10 s"


async def test_a_batch_of_repositories_that_never_answer_hides_the_others_for_a_moment_only() -> None:
    room = Room()
    bad = [Repository(f"aaa/poison{number}") for number in range(PARALLEL)]
    good = [Repository(f"org/m{number:02d}") for number in range(15)]
    room.source.answers |= dict.fromkeys(bad, Transient("the hub does not answer in 10 s"))
    room.catalogue.want([*bad, *good])
    await room.catalogue.round()
    assert {room.catalogue.publications.problem(each) for each in good} == {"the hub does not answer in 10 s"}
    await room.after(SILENCE_SECONDS)
    said = room.catalogue.publications
    assert [each for each in good if said.shape(each) is None] == []
    assert sum(room.source.asked.values()) == PARALLEL + len(good), "the good ones had not failed"


async def test_those_that_failed_are_asked_after_those_that_did_not() -> None:
    room = Room()
    bad = [Repository(f"aaa/poison{number}") for number in range(PARALLEL + 1)]
    room.source.answers |= dict.fromkeys(bad, Transient("the hub does not answer in 10 s"))
    room.catalogue.want([*bad, BRANCH])
    await room.catalogue.round()
    await room.after(FIRST_PAUSE_SECONDS)
    assert room.source.asked[BRANCH] == 1
    assert room.catalogue.publications.shape(BRANCH) is not None


async def test_a_repository_that_is_wanted_meanwhile_does_not_wait_for_the_end_of_a_round() -> None:
    room = Room()
    many = [Repository(f"org/m{number:02d}") for number in range(3 * PARALLEL)]
    order: list[Repository] = []
    read = room.source.read

    async def noted(repository: Repository) -> HubFiles:
        order.append(repository)
        room.catalogue.want([*many, PINNED])
        return await read(repository)

    room.source.read = noted  # type: ignore[method-assign]
    room.catalogue.want(many)
    await room.catalogue.round()
    assert PINNED in order
    assert len(order) == len(set(order)) == len(many) + 1


async def test_nobody_is_waited_for_longer_than_a_moment() -> None:
    room = Room()
    room.catalogue.want([BRANCH])
    room.clock.at += PATIENCE_SECONDS - 1
    assert room.catalogue.publications.asking == {BRANCH}
    room.clock.at += 1
    assert room.catalogue.publications.asking == frozenset()


async def test_only_what_is_in_use_is_kept_and_not_too_much_of_it() -> None:
    room = Room()
    room.catalogue.want([BRANCH, PINNED])
    await room.catalogue.round()
    room.catalogue.want([PINNED])
    assert set(room.catalogue.publications.known) == {PINNED}
    await room.after(AGAIN_SECONDS)
    assert room.source.asked[BRANCH] == 1
    room.catalogue.want(Repository(f"org/m{number:04d}") for number in range(MOST + 5))
    await room.catalogue.round()
    assert len(room.catalogue.publications.known) == MOST
    assert room.catalogue.publications.asking == frozenset(), "one too many is unknown, and nobody waits for it"


async def test_a_defect_met_by_one_repository_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    room = Room()
    room.source.answers[BRANCH] = ZeroDivisionError("a defect")
    room.catalogue.want([BRANCH, PINNED])
    await room.catalogue.round()
    assert room.catalogue.publications.shape(PINNED) is not None
    assert room.catalogue.publications.problem(BRANCH) == "reading it failed: ZeroDivisionError"
    assert "org/branch could not be read" in caplog.text


@jumping
async def test_it_runs_by_itself_and_at_once_when_something_new_is_wanted() -> None:
    room = Room()
    running = asyncio.create_task(room.catalogue.run())
    try:
        for each in (PINNED, BRANCH):
            room.catalogue.want([PINNED, each])
            await room.news.wait()
            room.news.clear()
            assert room.catalogue.publications.shape(each) is not None
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert asyncio.get_running_loop().time() < FIRST_PAUSE_SECONDS, "the pause did not end by itself"
