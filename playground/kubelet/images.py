"""Maps an image reference to a local command.

A table (playground/images.yaml) instead of a registry. A reference without an entry is a failed pull, with
the words containerd uses, so that whatever reads waiting reasons meets the real ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field

from playground.kubelet.environment import DEFAULT_PATH


class ImageEntry(BaseModel):
    """One row of the table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    match: Annotated[tuple[str, ...], Field(min_length=1)]
    note: str
    bin: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: Mapping[str, str] = Field(default_factory=dict)
    workdir: str = "/"

    def environment(self) -> dict[str, str]:
        """Return the image's environment, PATH included."""
        return {**self.env, "PATH": ":".join((*self.bin, DEFAULT_PATH))}


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid")
    images: tuple[ImageEntry, ...]


class PullError(Exception):
    """No entry for this reference; the text is what a failed pull says."""


@dataclass(frozen=True, slots=True)
class ImageTable:
    """All entries, those that win first."""

    entries: tuple[ImageEntry, ...]

    def find(self, reference: str) -> ImageEntry:
        """Return the entry of an image. Raises PullError if there is none."""
        name = familiar(reference)
        for entry in self.entries:
            if any(fnmatchcase(name, pattern) for pattern in entry.match):
                return entry
        full = canonical(reference)
        raise PullError(
            f'failed to pull and unpack image "{full}": failed to resolve image: {full}: not found '
            "(the playground runs only the images of its table: playground/images.yaml or --images FILE)"
        )


def familiar(reference: str) -> str:
    """Return the short name that patterns are matched against: no docker.io/, a tag always."""
    name = reference.removeprefix("docker.io/").removeprefix("library/")
    if "@" not in name and ":" not in name.rpartition("/")[2]:
        name += ":latest"
    return name


def canonical(reference: str) -> str:
    """Return the full name that a container runtime uses: with its registry."""
    name = familiar(reference)
    first = name.partition("/")[0]
    if "/" not in name:
        return f"docker.io/library/{name}"
    return name if "." in first or ":" in first or first == "localhost" else f"docker.io/{name}"


def load_table(files: Sequence[Path], placeholders: Mapping[str, str]) -> ImageTable:
    """Read the tables, replacing {placeholders}; entries of later files win.

    Raises OSError, yaml.YAMLError or pydantic.ValidationError for a file that is not a table.
    """
    entries: list[ImageEntry] = []
    for file in files:
        document = _fill(yaml.safe_load(file.read_text(encoding="utf-8")), placeholders)
        entries = [*_Table.model_validate(document).images, *entries]
    return ImageTable(tuple(entries))


def _fill(node: object, placeholders: Mapping[str, str]) -> object:
    if isinstance(node, dict):
        return {key: _fill(value, placeholders) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill(value, placeholders) for value in node]
    if isinstance(node, str):
        for name, value in placeholders.items():
            node = node.replace("{" + name + "}", value)
    return node
