"""Reads what the routers of a route have judged: the files of verdicts that they keep, one of each router.

A router writes its verdicts as labels, with salted features in place of prompts. A file that is copied while its router
writes may end within a line, and one that is copied twice holds the same lines: neither is an error. Features that were
hashed with another salt mean nothing beside those of this one, so they are left out, and their number is said.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tierwise.errors import Invalid
from tierwise.routing.classifier import salt_check
from tierwise_training import labels as label_file
from tierwise_training.labels import Label

STDIN = Path("-")


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The labels, in the order of the files, and what was left out."""

    labels: tuple[Label, ...]
    again: int
    other_salt: int

    def sentences(self) -> Iterator[str]:
        """What a person has to know."""
        if self.again:
            yield f"{self.again:,} verdicts stand in several files, and count once."
        if self.other_salt:
            yield f"{self.other_salt:,} verdicts were hashed with another salt than the given one, and are left out."


def read(paths: Sequence[Path], salt: bytes) -> Verdicts:
    """The verdicts of these files. Raises Invalid when one cannot be read, or none has this salt."""
    found: dict[str, Label] = {}
    lines = 0
    for path in paths:
        for label in label_file.parse(_whole_lines(path), "standard input" if path == STDIN else str(path)):
            found[label.id] = label
            lines += 1
    check = salt_check(salt)
    usable = tuple(label for label in found.values() if label.salt_check == check)
    if found and not usable:
        raise Invalid(
            f"all {len(found):,} verdicts were hashed with another salt than the given one: --salt-file must hold the "
            "salt of the route"
        )
    return Verdicts(usable, lines - len(found), len(found) - len(usable))


def _whole_lines(path: Path) -> str:
    try:
        text = sys.stdin.read() if path == STDIN else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"the verdicts in {path} cannot be read: {type(error).__name__}") from error
    return text[: text.rfind("\n") + 1]
