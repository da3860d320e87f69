"""Reads the classifier of the route from its file, and again when the file or the route changes.

Reading and checking half a megabyte of weights takes milliseconds, which no stream should wait for, so a thread does it
and the event loop only puts the finished value in place. A file that cannot be used leaves the route to its rules at
once, also where another one was served before: what runs is what a restart would run. Each problem is logged once.

One that was trained on salted features needs the salt of the route, which is read again when it changes as well.
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
from tierwise_router.salt import read_salt
from tierwise_router.source import RELOAD_SECONDS

logger = logging.getLogger(__name__)

_DIGEST_DIGITS = 12


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a classifier was made of: another route, another file or another salt makes another one."""

    route: Route
    file: tuple[int, int, int] | None
    """Inode, size and nanoseconds of the last change; None without a file."""
    salt: tuple[int, int, int] | None
    """The same of the salt's file."""


class ClassifierLoader:
    """Keeps the classifier of a router's state up to date. `base`: where relative paths begin. `salt_file` None: the
    route has no salt."""

    def __init__(self, state: RouterState, base: Path, salt_file: Path | None = None) -> None:
        self._state = state
        self._base = base
        self._salt_file = salt_file
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
        signatures = await asyncio.to_thread(lambda: (_signature(path), _signature(self._salt_file)))
        seen = _Seen(route, *signatures)
        if seen == self._seen:
            return
        found = await asyncio.to_thread(load, path, route, self._salt_file)
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


def load(path: Path, route: Route, salt_file: Path | None = None) -> ActiveClassifier | Refusal:
    """The classifier in a file, for a route; or why it cannot be used. A classifier without a salt needs no salt file,
    and one that cannot be read does it no harm."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return Refusal(reasons.CLASSIFIER_MISSING, f"there is no file {path}")
    except OSError as error:
        return Refusal(reasons.CLASSIFIER_MISSING, f"{path} cannot be read: {type(error).__name__}")
    salt, unread = b"", ""
    try:
        salt = b"" if salt_file is None else read_salt(salt_file)
    except Invalid as error:
        unread = f"; {error.message}"
    try:
        classifier = Classifier.read(data, salt)
    except Invalid as error:
        return Refusal(reasons.CLASSIFIER_INVALID, error.message + unread)
    return usable(classifier, route, hashlib.sha256(data).hexdigest()[:_DIGEST_DIGITS])


def _signature(path: Path | None) -> tuple[int, int, int] | None:
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
