"""Generates docs/mutants.md and docs/mutants-routing.md: which mutants survive, and why, from the last runs.

A survivor is a change that no test noticed. Either it changes nothing (equivalent), or somebody looked at it and says
why no test pins it (accepted): the words stand in words.yaml and words-routing.yaml beside this module, by the
survivor's key. A word without a survivor fails `make verify` and the unit tests, and so do results of other code than
today's. Every survivor of decide/ needs a word, where a wrong decision ends a GPU; in routing/ the page says which ones
nobody has looked at yet. A mutant with which the tests did not end (a loop without end) is noticed and needs no word:
whether a failing test comes before the endless one is chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.mutants.results import TIMEOUT, Results, load, stale
from tests.mutants.targets import TARGETS, Target

_ENDLESS = "noticed: the tests do not end"
_OPEN = "nobody has looked at it yet"


def words(target: Target) -> dict[str, str]:
    """The word for each survivor, by its key."""
    loaded: dict[str, str] = yaml.safe_load(target.words.read_text(encoding="utf-8")) or {}
    return loaded


def complaints(target: Target, results: Results, said: dict[str, str]) -> list[str]:
    """What is wrong with the results and their words."""
    old = stale(target, results)
    wrong = (
        [f"{target.results.name} is of other code than today's, run `make mutants CHANGED=1`: {', '.join(old)}"]
        if old
        else []
    )
    keys = [each.key for each in results.survivors]
    silent = [each.key for each in results.survivors if each.key not in said and each.status != TIMEOUT]
    wrong += [f"has no word in {target.words.name}: {key}" for key in silent if target.every_word]
    wrong += [f"has a word and did not survive: {key}" for key in said if key not in keys]
    unclear = [key for key, word in said.items() if not word.startswith(("equivalent: ", "accepted: "))]
    return wrong + [f"its word is neither `equivalent: ...` nor `accepted: ...`: {key}" for key in unclear]


def files() -> dict[Path, str]:
    """The pages by their paths. Raises ValueError when results are old, or a survivor has no word."""
    pages = {}
    for target in TARGETS:
        results, said = load(target), words(target)
        if wrong := complaints(target, results, said):
            raise ValueError("mutants:\n" + "\n".join(wrong))
        pages[target.page] = "\n".join(_lines(target, results, said)) + "\n"
    return pages


def _lines(target: Target, results: Results, said: dict[str, str]) -> Iterator[str]:
    origin = f"docs/results/{target.results.name}"
    yield f"<!-- Generated from {origin} by `make verify`; `make mutants` measures again. -->"
    yield from ("", f"# Mutants of {target.name}/", "")
    yield f"{results.tool} makes small wrong changes in `controllers/tierwise/{target.name}/`, one at a time, and"
    yield f"the unit tests and properties of {target.name}/ run against each. A change that no test notices survives."
    yield "Functions are mutated; constants of a module and properties of a class are not."
    yield from ("", "| file | mutants | killed | timeout | survived | noticed |", "|---|--:|--:|--:|--:|--:|")
    for each in results.files:
        if not each.mutants:
            continue
        share = (each.killed + each.timeout) / each.mutants
        yield f"| {each.name} | {each.mutants} | {each.killed} | {each.timeout} | {each.survived} | {share:.1%} |"
    killed, timeout, survived = (
        sum(getattr(each, what) for each in results.files) for what in ("killed", "timeout", "survived")
    )
    yield f"| **all** | {results.mutants} | {killed} | {timeout} | {survived} | **{results.noticed:.1%}** |"
    equivalent = sum(word.startswith("equivalent") for word in said.values())
    unread = sum(each.key not in said and each.status != TIMEOUT for each in results.survivors)
    told = f"{equivalent} change nothing" + (f", and {unread} nobody has looked at yet" if unread else "")
    yield from ("", f"## Not killed: {len(results.survivors)}, of which {told}", "")
    file = ""
    for survivor in results.survivors:
        if survivor.file != file:
            file = survivor.file
            yield from (f"### {file}", "")
        word = said.get(survivor.key, _ENDLESS if survivor.status == TIMEOUT else _OPEN)
        yield f"`{survivor.function}` ({survivor.status}) – {word}"
        yield from ("", "```diff", f"- {survivor.before}", f"+ {survivor.after}", "```", "")
