"""Keeps every answer in a file as it comes, so that a run that ends in any way goes on where it was.

The file stands beside the labels (`labels.jsonl.answers`). It holds answers in plain text, for their owner's eyes only:
they are what a person looks at in an audit. One JSON object a line, appended and handed to the kernel at once; a last
line without an end was cut by the death of a run, and is taken away. A lock keeps a second run out.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

from tierwise.errors import Invalid
from tierwise_training.labels import Verdict
from tierwise_training.questions import Answer

SUFFIX = ".answers"


class Journal:
    """The answers of all runs for one file of labels, by the keys of their questions; audits by prompts' hashes."""

    def __init__(self, path: Path) -> None:
        """Open and read it. Raises Invalid when another run has it, or a line is broken."""
        self._path = path
        self.answers: dict[str, Answer] = {}
        self.audits: dict[str, Verdict] = {}
        try:
            self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        except OSError as error:
            raise Invalid(f"{path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise Invalid(f"another run is writing {path}; wait for it, or end it") from error
        try:
            self._read()
        except Invalid:
            self._file.close()
            raise

    def _read(self) -> None:
        whole = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            try:
                self._take(json.loads(line))
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                raise Invalid(
                    f"line {number} of {self._path} is broken; remove the line, and its question is asked again"
                ) from error
        self._file.truncate(whole)
        self._file.seek(whole)

    def _take(self, entry: Mapping[str, Any]) -> None:
        if "audit" in entry:
            if entry["audit"] not in get_args(Verdict):
                raise ValueError("no verdict")
            self.audits[entry["prompt"]] = entry["audit"]
        else:
            self.answers[entry["key"]] = Answer(**entry["answer"])

    def add(self, key: str, answer: Answer) -> None:
        """Keep an answer. It survives the death of the process from here on."""
        kept = {name: value for name, value in asdict(answer).items() if value not in (None, "", 0)}
        self._append({"key": key, "answer": {"text": "", **kept}})
        self.answers[key] = answer

    def add_audit(self, digest: str, verdict: Verdict) -> None:
        """Keep what a person has said of a prompt's pair."""
        self._append({"prompt": digest, "audit": verdict})
        self.audits[digest] = verdict

    def _append(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(entry, ensure_ascii=True, separators=(",", ":")).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close it; the lock goes with it."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
