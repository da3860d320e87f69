"""Keeps verdicts for training, in a file: hashed features and what the judge said, no prompt and no answer.

A line is a label as `tierwise label` writes it, so that `tierwise train` reads it. Features are hashed with the salt of
the route: without it nobody can look up which words they came from, and without a salt none are written. The file is
bounded: when it is full, its older half goes.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

import orjson

from tierwise.errors import Invalid
from tierwise.routing.judge import VERSION as JUDGE_VERSION
from tierwise.routing.judge import Verdict
from tierwise.routing.question import question_of
from tierwise.routing.route import Route
from tierwise.routing.text_features import MOST_KEY_BYTES, features_of
from tierwise_router.comparing import Compared
from tierwise_router.shadow_counts import AGAIN

logger = logging.getLogger(__name__)

LABEL_VERSION = 1
MOST_LINES = 10_000
LEAST_SALT_BYTES = 16
_HASH_BYTES = 16


class VerdictFile:
    """Of one router. `salt`: secret, at most 64 bytes."""

    def __init__(self, path: Path, salt: bytes, most_lines: int = MOST_LINES) -> None:
        self._path = path
        self._salt = salt
        self._most = most_lines
        self._lines: int | None = None
        self._complaint = ""

    def __call__(self, route: Route, pair: Compared) -> None:
        """A pair was judged. What cannot be written is said once, and lost."""
        if pair.routed == AGAIN or pair.verdict is None:
            return
        try:
            self._append(orjson.dumps(line(route, pair, self._salt)) + b"\n")
        except OSError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                logger.error("the file of verdicts cannot be written: %s", error.strerror)

    def _append(self, text: bytes) -> None:
        if self._lines is None:
            self._lines = len(self._path.read_bytes().splitlines()) if self._path.exists() else 0
        if self._lines >= self._most:
            kept = self._path.read_bytes().splitlines(keepends=True)[-(self._most // 2) :]
            beside = self._path.with_name(self._path.name + ".new")
            with _private(beside, os.O_TRUNC) as file:
                file.write(b"".join(kept))
            os.replace(beside, self._path)
            self._lines = len(kept)
        with _private(self._path, os.O_APPEND) as file:
            file.write(text)
        self._lines += 1


def read_salt(path: Path) -> bytes:
    """The salt in a file. Raises Invalid where it cannot be read, or can be guessed."""
    try:
        salt = path.read_bytes().strip()
    except OSError as error:
        raise Invalid(f"the salt file {path} cannot be read: {error.strerror}") from error
    if not LEAST_SALT_BYTES <= len(salt) <= MOST_KEY_BYTES:
        raise Invalid(f"the salt file {path} must hold {LEAST_SALT_BYTES} to {MOST_KEY_BYTES} bytes of chance")
    return salt


def line(route: Route, pair: Compared, salt: bytes) -> dict[str, Any]:
    """The label of a pair. A tie is as good as the reference, so both count as right; else only the better one does."""
    text, facts = question_of(pair.exchange.values)
    hashed = hashlib.blake2b(text, key=salt, digest_size=_HASH_BYTES).hexdigest()
    orders = [None if one is None else one.value for one in pair.orders]
    verdict = pair.verdict or Verdict.TIE
    return {
        "id": hashlib.blake2b(pair.sample.order.to_bytes(8, "big"), key=salt, digest_size=_HASH_BYTES).hexdigest(),
        "promptHash": hashed,
        "features": features_of(text, facts, salt).to_json(),
        "small": {
            "right": verdict is not Verdict.LOSS,
            "tokens": {"input": 0, "output": pair.answer.output_tokens},
            "finishReason": pair.answer.finish_reason,
        },
        "reference": {
            "right": verdict is not Verdict.WIN,
            "tokens": {"input": 0, "output": pair.reference.output_tokens},
            "finishReason": pair.reference.finish_reason,
        },
        "judge": {
            "kind": "tier:" + (route.sampling.judge if route.sampling is not None else ""),
            "verdict": verdict.value,
            "orders": orders,
            "identical": not orders,
            "version": JUDGE_VERSION,
            "routed": pair.routed,
        },
        "from": pair.tier,
        "referenceTier": route.reference.name,
        "route": route.name,
        "version": LABEL_VERSION,
    }


def _private(path: Path, flag: int) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o600), "wb")
