"""Converts every input of tests/unit/cli/convert/inputs; what comes out is kept in tests/golden/convert.

A new field of a tier shows here by itself: what it takes over leaves the list.
"""

from __future__ import annotations

from pathlib import Path

from tierwise_cli.convert.documents import of_text
from tierwise_cli.convert.draft import Conversion
from tierwise_cli.convert_command import as_yaml

INPUTS = Path(__file__).resolve().parents[1] / "unit/cli/convert/inputs"


def converted() -> dict[str, list[Conversion]]:
    """The tiers of every input, by its name."""
    return {path.stem: of_text(path.read_text(encoding="utf-8")) for path in sorted(INPUTS.iterdir())}


def files() -> dict[Path, str]:
    """The files, below the root of the repository."""
    return {
        Path("tests/golden/convert") / f"{name}.yaml": "---\n".join(map(as_yaml, made))
        for name, made in converted().items()
    }
