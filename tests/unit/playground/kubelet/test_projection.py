"""Checks that volumes from the API hold the right files, and change in one step."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.kubelet.fields import PodFacts
from playground.kubelet.projection import File, VolumeError, downward_files, keyed_files, write_files

DATA = {"b": b"2", "a": b"1"}


def test_all_keys_or_the_named_ones() -> None:
    assert keyed_files(DATA, {}, kind="secret", name="s", mode=0o400) == (
        File("a", b"1", 0o400),
        File("b", b"2", 0o400),
    )
    items = {"items": [{"key": "b", "path": "x/y", "mode": 0o600}]}
    assert keyed_files(DATA, items, kind="secret", name="s", mode=0o400) == (File("x/y", b"2", 0o600),)


def test_what_is_missing_is_named_unless_optional() -> None:
    with pytest.raises(VolumeError, match='configmap "m" not found'):
        keyed_files(None, {}, kind="configmap", name="m", mode=0)
    items = {"items": [{"key": "z", "path": "z"}]}
    with pytest.raises(VolumeError, match="non-existent configmap key: z"):
        keyed_files(DATA, items, kind="configmap", name="m", mode=0)
    assert keyed_files(None, {"optional": True}, kind="configmap", name="m", mode=0) == ()
    assert keyed_files(DATA, {**items, "optional": True}, kind="configmap", name="m", mode=0) == ()


def test_the_downward_api() -> None:
    pod = {
        "metadata": {"name": "p", "namespace": "n", "uid": "u"},
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}}}]},
    }
    source = {
        "items": [
            {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
            {"path": "cpu", "mode": 0o600, "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}},
        ]
    }
    facts = PodFacts(pod, "", "", {})
    assert downward_files(source, facts, 0o644) == (File("name", b"p"), File("cpu", b"2", 0o600))


def read(folder: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for top in folder.iterdir():
        if not top.name.startswith(".."):
            paths = [top] if top.is_file() else [path for path in top.rglob("*") if path.is_file()]
            found |= {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    return found


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "d/e", "d/f", "g/h/i"]), st.binary(max_size=4)), max_size=5))
def test_a_volume_holds_exactly_its_last_content_and_nothing_old(versions: list[dict[str, bytes]]) -> None:
    with TemporaryDirectory() as made:
        folder = Path(made)
        for version in versions:
            write_files(folder, [File(path, content) for path, content in version.items()])
            assert read(folder) == version
            assert len([p for p in folder.iterdir() if p.name.startswith("..")]) == 2


def test_an_unchanged_volume_is_not_touched_and_modes_are_set(tmp_path: Path) -> None:
    write_files(tmp_path, [File("a", b"1", 0o440)])
    before = os.readlink(tmp_path / "..data")
    write_files(tmp_path, [File("a", b"1", 0o440)])
    assert os.readlink(tmp_path / "..data") == before
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o440
    write_files(tmp_path, [File("a", b"2")])
    assert os.readlink(tmp_path / "..data") != before
