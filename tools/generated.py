"""Writes generated files, or compares them with what is there.

Every generator is a function from nothing to {path: text}; this module writes such a mapping below a root, or
compares it with what is there. Both the CRDs and the pages of the documentation go through it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

Files = Mapping[Path, str]


def stale(files: Files, root: Path) -> list[Path]:
    """The paths whose file below `root` is missing or differs, sorted."""
    return sorted(path for path, text in files.items() if _read(root / path) != text)


def write(files: Files, root: Path) -> list[Path]:
    """Write what is stale below `root`; the paths written, sorted. Fresh files keep their time stamps."""
    changed = stale(files, root)
    for path in changed:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(files[path], encoding="utf-8")
    return changed


def main(program: str, files: Files, argv: Sequence[str] | None = None) -> int:
    """The command line of a generator; the exit status. 1 with `--check` when a file is not fresh."""
    parser = argparse.ArgumentParser(
        prog=program, description="Write the generated files, or check that they are fresh."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is missing or differs")
    parser.add_argument("--root", type=Path, default=Path(), help="root of the repository (default: here)")
    arguments = parser.parse_args(argv)
    if not arguments.check:
        for path in write(files, arguments.root):
            print(f"wrote {path}")
        return 0
    old = stale(files, arguments.root)
    for path in old:
        print(f"{path} is not what the models say: run `make crds docs`", file=sys.stderr)
    return 1 if old else 0


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
