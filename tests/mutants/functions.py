"""Tells which functions of a changed file are what they were when they were measured.

A file of twenty functions in which one has changed would otherwise be measured as a whole: most of an hour, for what is
known. The text that was measured is found in the history by its hash. A function counts as the same when its own code
is, and that of everything in the file that it names: a constant, a class, another function.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.mutants.results import Results, code, digest_of, stale
from tests.mutants.targets import REPO, Target

MOST_VERSIONS = 50  # of one file that are looked at


@dataclass(frozen=True, slots=True)
class _Part:
    """A function, a method or another statement of a module: its code, and the names that stand in it."""

    code: str
    names: frozenset[str]


def known_functions(target: Target, before: Results) -> Mapping[str, frozenset[str]]:
    """The files that have changed since `before`, and the functions of each that have not."""
    hashes = {each.name: each.sha256 for each in before.files}
    found: dict[str, frozenset[str]] = {}
    for name in stale(target, before):
        path = target.sources / name
        text = _measured(target, name, hashes.get(name, ""))
        there = text is not None and path.exists()
        found[name] = same(text or "", path.read_text(encoding="utf-8")) if there else frozenset()
    return found


def same(before: str, now: str) -> frozenset[str]:
    """The functions that are in both texts and mean the same, a method as Class.method."""
    old, new = dict(_parts(before)), dict(_parts(now))
    touched = {name for name in {*old, *new} if name not in old or name not in new or old[name].code != new[name].code}
    changed = touched | {name.partition(".")[0] for name in touched} | {name.rpartition(".")[2] for name in touched}
    return frozenset(name for name, part in new.items() if name not in touched and not part.names & changed)


def _parts(text: str) -> Iterator[tuple[str, _Part]]:
    plain = code(text)
    for node in ast.parse(plain).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.ClassDef):
            yield from _methods(node, plain)
        for name in _named(node):
            yield name, _part(node, plain)


def _methods(node: ast.ClassDef, plain: str) -> Iterator[tuple[str, _Part]]:
    for each in node.body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{node.name}.{each.name}", _part(each, plain)


def _part(node: ast.stmt, plain: str) -> _Part:
    inside = [each for each in ast.walk(node) if isinstance(each, ast.Name | ast.Attribute)]
    names = frozenset(each.id if isinstance(each, ast.Name) else each.attr for each in inside)
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
    lines = plain.splitlines()[first - 1 : node.end_lineno]
    return _Part("\n".join(lines), names - {getattr(node, "name", "")})


def _named(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    return sorted(
        {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
    )


def _measured(target: Target, name: str, sha256: str) -> str | None:
    """The text of a file when it was measured; None when the history does not have it."""
    path = (target.sources / name).relative_to(REPO).as_posix()
    for commit in _git("log", f"-{MOST_VERSIONS}", "--format=%H", "--", path).split():
        text = _git("show", f"{commit}:{path}")
        if text and digest_of(text) == sha256:
            return text
    return None


def _git(*arguments: str) -> str:
    """What git answers; nothing when it does not."""
    done = subprocess.run(["git", *arguments], cwd=REPO, check=False, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else ""
