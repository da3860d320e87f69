"""Reads facts from the source code of a vLLM release without importing it.

Its hardware rules stand in functions that need a GPU to run, so they are read as syntax trees: constants that a
function compares with, lists and tables. A function or name that is gone fails loudly: then a person has to look.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Source:
    """One module of a release."""

    def __init__(self, code: Path, module: str) -> None:
        self.path = code / "vllm" / module
        self.tree = ast.parse(self.path.read_text(encoding="utf-8"))

    def has(self, name: str) -> bool:
        """Whether a class or function of this name is defined anywhere in it."""
        return any(found.name == name for found in self._definitions())

    def inside(self, *path: str) -> ast.AST:
        """The class or function at `path`, e.g. ("Fp8Config", "get_min_capability"). Raises LookupError."""
        node: ast.AST = self.tree
        for name in path:
            node = self._child(node, name)
        return node

    def returned(self, *path: str) -> Any:
        """The literal that a function returns: its only return."""
        returns = [node.value for node in ast.walk(self.inside(*path)) if isinstance(node, ast.Return)]
        if len(returns) != 1 or returns[0] is None:
            raise LookupError(f"{self.path}: {path} has {len(returns)} returns")
        return ast.literal_eval(returns[0])

    def text(self, *path: str) -> str:
        """The code at `path` (all of it when empty), comments left out."""
        return ast.unparse(self.inside(*path))

    def arguments(self, call: str, *path: str) -> list[Any]:
        """The literal first arguments of every call of `call` at `path`, in order."""
        found = []
        for node in ast.walk(self.inside(*path)):
            if isinstance(node, ast.Call) and node.args and _name(node.func) == call:
                values = tuple(each.value for each in node.args if isinstance(each, ast.Constant))
                found.append(values[0] if len(values) == 1 else values)
        return found

    def assigned(self, name: str, *path: str) -> Any:
        """The literal that is assigned to `name` at `path`."""
        return ast.literal_eval(self.value(name, *path))

    def value(self, name: str, *path: str) -> ast.expr:
        """What is assigned to `name` at `path`, as a tree."""
        for node in ast.walk(self.inside(*path)):
            targets = node.targets if isinstance(node, ast.Assign) else []
            if isinstance(node, ast.AnnAssign):
                targets = [node.target]
            if any(_name(target) == name for target in targets) and getattr(node, "value", None) is not None:
                return node.value  # type: ignore[attr-defined, no-any-return]
        raise LookupError(f"{self.path}: nothing is assigned to {name} in {path}")

    def strings(self, *path: str) -> set[str]:
        """Every text constant at `path`."""
        nodes = ast.walk(self.inside(*path))
        return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}

    def numbers(self, *path: str) -> set[int]:
        """Every whole number at `path`."""
        nodes = ast.walk(self.inside(*path))
        return {node.value for node in nodes if isinstance(node, ast.Constant) and type(node.value) is int}

    def _definitions(self) -> Iterator[Any]:
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        return (node for node in ast.walk(self.tree) if isinstance(node, kinds))

    def _child(self, node: ast.AST, name: str) -> ast.AST:
        for child in ast.walk(node):
            if child is not node and getattr(child, "name", None) == name:
                return child
        raise LookupError(f"{self.path}: no {name}")


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
