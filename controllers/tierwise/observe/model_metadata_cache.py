"""Reads model metadata in the background, so that nobody waits for it.

It is a task of its own. The loop says which repositories its tiers use (`want`) and takes what is known
(`publications`); neither waits. A commit never changes, so it is read once; a branch is read again a few times a day;
what could not be read is tried again, later each time. Only what tiers use is kept, and no more than a fixed number.

A new tier waits a short time for the first answer about its model; afterwards its facts count as unknown. When a whole
batch of requests was not answered, the hub counts as silent: nobody waits for the other repositories either, and all
are asked again a moment later. A single repository that is not answered affects only itself, and is asked after those
that have not failed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from tierwise.engines import model_shape
from tierwise.errors import TierwiseError, Transient
from tierwise.hub.client import HubFiles
from tierwise.ports import Clock
from tierwise.types import TierObject
from tierwise.types.model_metadata import ModelMetadata, ModelMetadataSet, Repository, repositories

logger = logging.getLogger(__name__)

MOST = 500  # repositories; a further one stays unknown
PARALLEL = 4
PATIENCE_SECONDS = 20.0
SILENCE_SECONDS = 15.0  # until a hub that does not answer is asked again
AGAIN_SECONDS = 6 * 3600.0  # a branch, and the longest pause after failures
FIRST_PAUSE_SECONDS = 60.0
_NEVER = float("inf")


class Source(Protocol):
    """Where the files come from. Raises a TierwiseError when they do not."""

    async def read(self, repository: Repository) -> HubFiles:
        """The files of a repository."""
        ...


@dataclass(frozen=True, slots=True)
class _Entry:
    """One repository: since when it is wanted, what was last known, when it is read next; all times monotonic."""

    since: float
    due: float
    failures: int = 0
    said: ModelMetadata | None = None

    @property
    def known(self) -> bool:
        """Whether the shape of the model is known."""
        return self.said is not None and self.said.shape is not None


class ModelMetadataCache:
    """What the repositories in use say of their models."""

    def __init__(self, source: Source, clock: Clock, *, changed: Callable[[], None] = lambda: None) -> None:
        """`changed` is called when something is known that was not (to wake the loop)."""
        self._source = source
        self._clock = clock
        self._changed = changed
        self._entries: dict[Repository, _Entry] = {}
        self._news = asyncio.Event()

    def want(self, used: Iterable[Repository]) -> None:
        """These are in use; all others are forgotten."""
        now = self._clock.monotonic()
        wanted = list(islice(sorted(set(used)), MOST))
        before = self._entries
        self._entries = {each: before.get(each) or _Entry(since=now, due=now) for each in wanted}
        if self._entries.keys() - before.keys():
            self._news.set()

    def want_in_turns(self, tiers: Iterable[TierObject]) -> Generator[None, None, None]:
        """What these tiers use is in use, and nothing else; a tier at a time."""
        used: set[Repository] = set()
        for tier in tiers:
            if tier.spec is not None:
                used.update(each for each in repositories(tier.spec) if each is not None)
            yield
        self.want(used)

    @property
    def publications(self) -> ModelMetadataSet:
        """What is known now."""
        now = self._clock.monotonic()
        known = {each: entry.said for each, entry in self._entries.items() if entry.said is not None}
        waiting = (each for each, entry in self._entries.items() if now - entry.since < PATIENCE_SECONDS)
        return ModelMetadataSet(known, frozenset(each for each in waiting if each not in known))

    async def run(self) -> None:
        """Read what is due, for ever."""
        while True:
            self._news.clear()
            await self.round()
            try:
                async with asyncio.timeout(self._pause()):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def round(self) -> None:
        """Read everything that is due once, and what becomes due meanwhile. Raises nothing but cancellation."""
        while now := self._due()[:PARALLEL]:
            found = await asyncio.gather(*(self._read(each) for each in now))
            silences = [each for each in found if each is not None]
            if len(silences) == PARALLEL:
                for each in self._due():
                    self._unasked(each, silences[0])

    def _due(self) -> list[Repository]:
        """What is to be read now: first what has not failed, and of that first what is not known."""
        now = self._clock.monotonic()
        due = [(entry.failures, entry.known, each) for each, entry in self._entries.items() if entry.due <= now]
        return [each for _, _, each in sorted(due)]

    async def _read(self, repository: Repository) -> Transient | None:
        """Read one; the failure, when the hub did not answer."""
        try:
            files = await self._source.read(repository)
            self._keep(repository, ModelMetadata(model_shape(files.config, files.index)))
        except Transient as error:
            self._failed(repository, error)
            return error
        except TierwiseError as error:
            self._failed(repository, error)
        except Exception as error:  # a defect that one repository meets must not stop the others
            logger.exception("%s could not be read", repository)
            self._failed(repository, Transient(f"reading it failed: {type(error).__name__}"))
        return None

    def _failed(self, repository: Repository, error: TierwiseError) -> None:
        """Nothing was learned."""
        entry = self._entries.get(repository)
        if entry is not None:
            pause = min(AGAIN_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(entry.failures, 20))
            self._unknown(repository, replace(entry, failures=entry.failures + 1), pause, error)

    def _unasked(self, repository: Repository, silence: Transient) -> None:
        """It was not asked, since nobody is answered: no failure of its own."""
        self._unknown(repository, self._entries[repository], SILENCE_SECONDS, silence)

    def _unknown(self, repository: Repository, entry: _Entry, pause: float, error: TierwiseError) -> None:
        """What was known before stays."""
        said = entry.said if entry.known else ModelMetadata(None, error.message)
        self._put(repository, replace(entry, due=self._clock.monotonic() + pause), said)

    def _keep(self, repository: Repository, said: ModelMetadata) -> None:
        entry = self._entries.get(repository)
        if entry is None:  # no longer in use
            return
        due = _NEVER if repository.pinned else self._clock.monotonic() + AGAIN_SECONDS
        self._put(repository, replace(entry, due=due, failures=0), said)

    def _put(self, repository: Repository, entry: _Entry, said: ModelMetadata | None) -> None:
        self._entries[repository] = replace(entry, said=said)
        if said != entry.said:
            if said is not None and said.problem:
                logger.info("what %s needs is not known: %s", repository, said.problem)
            self._changed()

    def _pause(self) -> float | None:
        """Seconds until something is due; None: never."""
        first = min((entry.due for entry in self._entries.values()), default=_NEVER)
        return None if first == _NEVER else max(0.1, first - self._clock.monotonic())
