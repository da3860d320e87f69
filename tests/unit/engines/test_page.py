"""The page for people says what the tables say."""

from __future__ import annotations

from pathlib import Path

from tierwise.engines.extra_args import ALLOWED, REFUSED, TYPED
from tools.engines_page import PAGE, files
from tools.generated import stale

REPO = Path(__file__).resolve().parents[3]


def test_the_page_is_fresh() -> None:
    assert stale(files(), REPO) == [], "run `make docs`"


def test_every_argument_is_on_the_page_once() -> None:
    lines = files()[PAGE].splitlines()
    for name in {*ALLOWED, *TYPED, *REFUSED}:
        assert sum(line.startswith((f"| `{name}`", f"| `{name}=")) for line in lines) == 1, name
