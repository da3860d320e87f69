"""Generated files: written only when they differ, and `--check` that fails when they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import api_docs
from tools.generated import main, stale, write

REPO = Path(__file__).resolve().parents[3]
FILES = {Path("b/two.md"): "zwei\n", Path("a.md"): "eins — ä\n"}


def test_writes_what_is_missing_then_nothing(tmp_path: Path) -> None:
    assert write(FILES, tmp_path) == [Path("a.md"), Path("b/two.md")]
    assert (tmp_path / "a.md").read_text(encoding="utf-8") == "eins — ä\n"
    assert write(FILES, tmp_path) == []
    (tmp_path / "a.md").write_text("edited by hand")
    assert stale(FILES, tmp_path) == [Path("a.md")]
    assert write(FILES, tmp_path) == [Path("a.md")]


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check = ["--check", "--root", str(tmp_path)]
    assert main("gen", FILES, check) == 1
    assert "a.md is not what the models say" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main("gen", FILES, ["--root", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "wrote a.md\nwrote b/two.md\n"
    assert main("gen", FILES, check) == 0


def test_pages_in_the_repository_are_fresh() -> None:
    assert stale(api_docs.files(), REPO) == []
