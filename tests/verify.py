"""Is every generated file what its generator makes today?

`make verify` writes all of them again and names those that changed, so that a difference is looked at and committed,
never edited by hand. A generator yields pairs of a path and its text.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.chart.helm import goldens

REPO = Path(__file__).resolve().parents[1]
Generator = Callable[[], Iterable[tuple[Path, str]]]
GENERATORS: tuple[Generator, ...] = (goldens,)


def regenerate(generators: Iterable[Generator]) -> list[Path]:
    """Writes every generated file; the ones whose text was different before, sorted."""
    changed = []
    for generator in generators:
        for path, text in generator():
            if not path.exists() or path.read_text() != text:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
                changed.append(path)
    return sorted(changed)


def main() -> int:
    """Exit code 1 when a file had to be written."""
    changed = regenerate(GENERATORS)
    for path in changed:
        print(f"verify: {path.relative_to(REPO)} was out of date and is written anew: look at it and commit it")
    if not changed:
        print("verify: every generated file is up to date")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
