"""Keeps verdicts for training, in a file: hashed features and what the judge said, no prompt and no answer.

A line is a label as `tierwise label` writes it, so that `tierwise train` reads it. Features are hashed with the salt of
the route: without it nobody can look up which words they came from, and without a salt none are written. The file is
bounded: when it is full, its older half goes, and it is never in memory as a whole.
"""

from __future__ import annotations

import hashlib
import logging
import os
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import orjson

from tierwise.errors import Invalid
from tierwise.routing.classifier import salt_check
from tierwise.routing.judge import VERSION as JUDGE_VERSION
from tierwise.routing.judge import Verdict
from tierwise.routing.question import question_of
from tierwise.routing.route import Route
from tierwise.routing.text_features import features_of
from tierwise_router.background import Answer
from tierwise_router.comparing import Compared
from tierwise_router.salt import read_salt
from tierwise_router.shadow_counts import AGAIN

logger = logging.getLogger(__name__)

LABEL_VERSION = 1
MOST_LINES = 10_000
_HASH_BYTES = 16


class VerdictFile:
    """Of one router. `salt_file`: where the secret salt is; it is read for each line, since a Secret may change. It may
    be called in several threads."""

    def __init__(self, path: Path, salt_file: Path, most_lines: int = MOST_LINES) -> None:
        self._path = path
        self._salt_file = salt_file
        self._most = most_lines
        self._lines: int | None = None
        self._complaint = ""
        self._lock = Lock()

    def __call__(self, route: Route, pair: Compared) -> None:
        """A pair was judged. What cannot be written is said once, and lost."""
        if pair.routed == AGAIN or pair.verdict is None:
            return
        try:
            text = orjson.dumps(line(route, pair, read_salt(self._salt_file))) + b"\n"
            with self._lock:
                self._append(text)
        except Invalid as error:
            self._complain(f"no verdicts are kept: {error.message}")
        except OSError as error:
            self._complain(f"the file of verdicts cannot be written: {error.strerror}")

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint:
            self._complaint = complaint
            logger.error("%s", complaint)

    def _append(self, text: bytes) -> None:
        if self._lines is None:
            self._lines = _lines(self._path)
        if self._lines >= self._most:
            kept = self._most // 2
            beside = self._path.with_name(self._path.name + ".new")
            with self._path.open("rb") as whole, _private(beside, os.O_TRUNC) as file:
                file.writelines(islice(whole, self._lines - kept, None))
            os.replace(beside, self._path)
            self._lines = kept
        with _private(self._path, os.O_APPEND) as file:
            file.write(text)
        self._lines += 1


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
        "saltCheck": salt_check(salt),
        "samplingRate": pair.rate,
        "small": {
            "right": verdict is not Verdict.LOSS,
            "tokens": _tokens(pair.answer),
            "finishReason": pair.answer.finish_reason,
        },
        "reference": {
            "right": verdict is not Verdict.WIN,
            "tokens": _tokens(pair.reference),
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
        "referenceTier": pair.sample.reference,
        "route": route.name,
        "version": LABEL_VERSION,
    }


def _lines(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return sum(1 for _ in file)
    except FileNotFoundError:
        return 0


def _tokens(answer: Answer) -> dict[str, int]:
    return {"input": answer.input_tokens, "output": answer.output_tokens}


def _private(path: Path, flag: int) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o600), "wb")
