"""Checks that CONTRIBUTING.md's map names every folder and every root module of the library.

A map that omits a folder sends a reader to the wrong place, and nobody notices when a folder is added.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
LIBRARY = "controllers/tierwise"


def _tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=True)
    return [Path(line) for line in done.stdout.splitlines() if (REPO / line).exists()]


def _named() -> set[str]:
    """The paths in the map, its indentation read as folders."""
    text = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = text.partition("<!-- map: begin")[2].partition("<!-- map: end")[0].split("```")[1]
    found, stack = set(), list[str]()
    for indent, name in re.findall(r"^( *)([\w.-]+/?)", block, flags=re.MULTILINE):
        stack = [*stack[: len(indent) // 2], name.rstrip("/")]
        found.add("/".join(stack))
    return found


def test_the_map_names_every_folder_and_root_module_and_no_other() -> None:
    files = [path for path in _tracked() if not path.parts[0].startswith(".")]
    top = {path.parts[0] for path in files if len(path.parts) > 1}
    second = {"/".join(path.parts[:2]) for path in files if len(path.parts) > 2}
    rooms = {str(path.parent) for path in files if path.parent.parent == Path(LIBRARY)}
    modules = {
        str(path) for path in files if path.parent == Path(LIBRARY) and path.suffix == ".py" and path.stem != "__init__"
    }
    assert _named() == top | second | rooms | modules


def test_the_map_leads_to_modules_that_exist() -> None:
    text = (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for path in re.findall(r"`((?:[\w-]+/)*[\w-]+\.py)`", text):
        assert (REPO / path).exists() or (REPO / LIBRARY / path).exists(), path
