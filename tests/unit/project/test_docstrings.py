"""Checks that every module begins with a statement about what it does.

A reader wants the answer first. A question, or a placeholder, makes them read on to find out what a module is for.
"""

from __future__ import annotations

import ast
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
FOLDERS = ("cli", "controllers", "operator", "playground", "simulator", "tests", "tools", "runtime-images")


def test_every_module_leads_with_a_statement() -> None:
    found = [path for folder in FOLDERS for path in sorted((REPO / folder).rglob("*.py"))]
    assert len(found) > 400
    for path in found:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        first = text.partition("\n\n")[0]
        assert "?" not in first, f"{path.relative_to(REPO)} begins with a question: {first}"
        assert "TBD" not in first, f"{path.relative_to(REPO)} says nothing of itself"
