"""Checks with the real Go that a binary is built once and found afterwards, and that a failure shows the compiler's
message."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from playground import binaries
from playground.binaries import Binary, ensure, version_key
from playground.cache import cache_root
from playground.errors import PlaygroundError

TINY = (Binary("tiny", "tool", "example.test/tool"),)


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One program in place of the control plane, in a cache of its own."""
    folder = tmp_path / "tools" / "tool"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module example.test/tool\n\ngo 1.21\n")
    (folder / "go.sum").write_text("")
    (folder / "main.go").write_text('package main\n\nfunc main() { println("it runs") }\n')
    # Go's own build cache stays where it is: HOME decides about it, not XDG_CACHE_HOME, once GOCACHE is set.
    gocache = subprocess.run(["go", "env", "GOCACHE"], capture_output=True, text=True, check=True).stdout.strip()
    monkeypatch.setenv("GOCACHE", gocache)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(binaries, "TOOLS", folder.parent)
    monkeypatch.setattr(binaries, "BINARIES", TINY)
    monkeypatch.setattr(binaries, "folder", lambda: cache_root() / "bin" / version_key(folder.parent, TINY))
    (binaries.folder() / "kserve").mkdir(parents=True)
    return folder


def test_the_second_time_says_nothing_and_starts_no_compiler(tool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    where = ensure(said.append)
    ran = subprocess.run([where / "tiny"], capture_output=True, text=True, check=True)
    assert ran.stderr == "it runs\n"
    assert [text for text in said if text.startswith("tiny (1/1): built in ")]

    said.clear()
    monkeypatch.setenv("PATH", "")
    assert ensure(said.append) == where
    assert said == []


def test_a_failed_build_names_the_binary_shows_the_compiler_and_leaves_nothing(tool: Path) -> None:
    (tool / "main.go").write_text("package main\n\nfunc main() { undefinedThing() }\n")
    with pytest.raises(PlaygroundError, match=r"(?s)building tiny .*exit code 1\n.*undefined: undefinedThing"):
        ensure(lambda _: None)
    assert [path.name for path in binaries.folder().iterdir()] == ["kserve"]


def test_two_builders_at_once_build_once(tool: Path) -> None:
    said: list[str] = []
    threads = [threading.Thread(target=ensure, args=(said.append,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum("built in" in text and text.startswith("tiny") for text in said) == 1


def test_without_go_it_says_what_to_install(tool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PlaygroundError, match=r"Install Go 1\.26"):
        ensure(lambda _: None)


@pytest.mark.parametrize("changed", ["go.mod", "go.sum"])
def test_a_changed_pin_or_flag_is_another_folder(tool: Path, changed: str) -> None:
    before = version_key(tool.parent, TINY)
    assert version_key(tool.parent, (Binary("tiny", "tool", "example.test/tool", ldflags="-X a=b"),)) != before
    (tool / changed).write_text("// changed\n")
    assert version_key(tool.parent, TINY) != before
    assert before.startswith(f"{binaries.KUBERNETES_VERSION}-")


def test_the_cache_follows_the_base_directory_specification(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path.home()
    assert cache_root({"XDG_CACHE_HOME": "/somewhere"}) == Path("/somewhere/tierwise")
    assert cache_root({}) == home / ".cache" / "tierwise"
    assert cache_root({"XDG_CACHE_HOME": "relative"}) == home / ".cache" / "tierwise"
