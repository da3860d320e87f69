"""Reads the classifier of the route from its file, and again when the file or the route changes.

Reading and checking half a megabyte of weights takes milliseconds, which no stream should wait for, so a thread does it
and the event loop only puts the finished value in place. A file that cannot be used leaves the route to its rules at
once, also where another one was served before: what runs is what a restart would run. Each problem is logged once.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from tierwise import reasons
from tierwise.errors import Invalid
from tierwise.routing.classifier import MOST_BYTES, Classifier
from tierwise.routing.content import ActiveClassifier, Refusal, usable
from tierwise.routing.route import Decider, Route
from tierwise_router.router_state import RouterState
from tierwise_router.source import RELOAD_SECONDS

logger = logging.getLogger(__name__)

_DIGEST_DIGITS = 12


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a classifier was made of: another route or another file makes another one."""

    route: Route
    file: tuple[int, int, int] | None
    """Inode, size and nanoseconds of the last change; None without a file."""


class ClassifierLoader:
    """Keeps the classifier of a router's state up to date. `base`: where relative paths begin; `salt`: the secret one
    that features are hashed with, if there is one."""

    def __init__(self, state: RouterState, base: Path, salt: bytes = b"") -> None:
        self._state = state
        self._base = base
        self._salt = salt
        self._seen: _Seen | None = None
        self._said = ""

    async def run(self) -> None:
        """Look again and again, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(RELOAD_SECONDS)

    async def look(self) -> None:
        """Bring the state up to date, if anything has changed."""
        content = self._state.route.content
        if content.decider is not Decider.CLASSIFIER or content.classifier is None:
            self._seen = None
            self._state.content.serve(None)
            return
        route, path = self._state.route, self._base / content.classifier.file
        seen = _Seen(route, await asyncio.to_thread(_signature, path))
        if seen == self._seen:
            return
        found = await asyncio.to_thread(load, path, route, self._salt)
        if self._state.route is not route:
            return  # it has changed meanwhile: the next look judges for the new one
        self._seen = seen
        self._state.content.serve(found)
        self._say(found, route)

    def _say(self, found: ActiveClassifier | Refusal, route: Route) -> None:
        if isinstance(found, Refusal):
            said = f"the classifier is not used ({found.reason}): {found.message}; rules and the default tier decide"
        else:
            header = found.classifier.header
            said = (
                f"the classifier {found.digest} {'is counted' if route.content.shadow else 'decides'}: "
                f"{header.labels} labels, {found.needed_share:g} % to {header.reference_tier}, else {header.from_tier}"
            )
        if said != self._said:
            logger.log(logging.WARNING if isinstance(found, Refusal) else logging.INFO, "%s", said)
            self._said = said


def load(path: Path, route: Route, salt: bytes = b"") -> ActiveClassifier | Refusal:
    """The classifier in a file, for a route; or why it cannot be used."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return Refusal(reasons.CLASSIFIER_MISSING, f"there is no file {path}")
    except OSError as error:
        return Refusal(reasons.CLASSIFIER_MISSING, f"{path} cannot be read: {type(error).__name__}")
    try:
        classifier = _read(data, salt)
    except Invalid as error:
        return Refusal(reasons.CLASSIFIER_INVALID, error.message)
    return usable(classifier, route, hashlib.sha256(data).hexdigest()[:_DIGEST_DIGITS])


def _read(data: bytes, salt: bytes) -> Classifier:
    """A file may have been trained on prompts, without the salt, though the router has one for its verdicts. Raises
    Invalid."""
    try:
        return Classifier.read(data, salt)
    except Invalid as error:
        if not salt:
            raise
        try:
            return Classifier.read(data)
        except Invalid:
            raise error from None


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
