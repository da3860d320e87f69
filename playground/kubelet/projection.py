"""Builds the files of ConfigMap, Secret, downward API and projected volumes.

`files` is pure: sources in, files out. `write_files` puts them on disk the way the kubelet's atomic writer
does: a dated folder, the link `..data` switched to it in one step, and one link per entry, so that a reader
never sees half an update.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from playground.kubelet.fields import PodFacts, field_value, resource_value
from playground.kubelet.model import Json

DEFAULT_MODE = 0o644
_DATA = "..data"


class VolumeError(Exception):
    """A volume that cannot be set up (yet); the text is the kubelet's own."""


@dataclass(frozen=True, slots=True)
class File:
    """One file: its path in the volume, its content and its mode."""

    path: str
    content: bytes
    mode: int = DEFAULT_MODE


def keyed_files(data: Mapping[str, bytes] | None, source: Json, *, kind: str, name: str, mode: int) -> tuple[File, ...]:
    """Return the files of a ConfigMap or Secret: all keys, or those that `items` names. Raises VolumeError."""
    if data is None:
        if source.get("optional"):
            return ()
        raise VolumeError(f'{kind} "{name}" not found')
    items = source.get("items")
    if not items:
        return tuple(File(key, value, mode) for key, value in sorted(data.items()))
    found = []
    for item in items:
        if item["key"] in data:
            found.append(File(item["path"], data[item["key"]], item.get("mode", mode)))
        elif not source.get("optional"):
            raise VolumeError(f"references non-existent {kind} key: {item['key']}")
    return tuple(found)


def downward_files(source: Json, facts: PodFacts, mode: int) -> tuple[File, ...]:
    """Return the files of a downward API source. Raises FieldError."""
    found = []
    for item in source.get("items", []):
        if "fieldRef" in item:
            text = field_value(facts, item["fieldRef"]["fieldPath"])
        else:
            text = resource_value(facts, item["resourceFieldRef"], "")
        found.append(File(item["path"], text.encode(), item.get("mode", mode)))
    return tuple(found)


def write_files(folder: Path, files: Iterable[File]) -> None:
    """Make `folder` hold exactly these files, switched in one step if anything differs. Raises OSError."""
    wanted = sorted(files, key=lambda file: file.path)
    current = folder / _DATA
    if current.exists() and _same(current, wanted):
        return
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=folder))
    fresh.chmod(0o755)
    for file in wanted:
        target = fresh / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        target.chmod(file.mode)
    old = Path(os.readlink(current)) if current.is_symlink() else None
    link = folder / "..data_tmp"
    link.symlink_to(fresh.name)
    link.replace(current)
    tops = {file.path.split("/")[0] for file in wanted}
    for name in tops:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"{_DATA}/{name}")
    for entry in folder.iterdir():
        if not entry.name.startswith("..") and entry.name not in tops:
            entry.unlink()
    if old is not None:
        shutil.rmtree(folder / old)


def _same(current: Path, wanted: list[File]) -> bool:
    present = {str(path.relative_to(current)) for path in current.rglob("*") if path.is_file()}
    return present == {file.path for file in wanted} and all(
        (current / file.path).read_bytes() == file.content for file in wanted
    )
