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
    """Of one router. `salt_file`: where the secret salt is; it is read for each line, since a Secret may change."""

    def __init__(self, path: Path, salt_file: Path, most_lines: int = MOST_LINES) -> None:
        self._path = path
        self._salt_file = salt_file
        self._most = most_lines
        self._lines: int | None = None
        self._complaint = ""

    def __call__(self, route: Route, pair: Compared) -> None:
        """A pair was judged. What cannot be written is said once, and lost."""
        if pair.routed == AGAIN or pair.verdict is None:
            return
        try:
            self._append(orjson.dumps(line(route, pair, read_salt(self._salt_file))) + b"\n")
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
        "referenceTier": route.reference.name,
        "route": route.name,
        "version": LABEL_VERSION,
    }


def _tokens(answer: Answer) -> dict[str, int]:
    return {"input": answer.input_tokens, "output": answer.output_tokens}


def _private(path: Path, flag: int) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o600), "wb")
