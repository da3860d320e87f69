"""Every hint names things that exist: chart values, fields of our kinds, options of our commands.

A message that sends people to a value which the chart refuses costs them more than none. So every text that people may
read (string constants of the code but docstrings, and the pages) is searched for names of these three sorts, and each
one is looked up: values in the chart's schema, fields in the CRDs, options in the code that defines them.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tierwise.api.crd import definition
from tierwise.api.kinds import KINDS
from tierwise.engines import profiles
from tierwise.engines.denied_args import CLOSED
from tierwise.engines.extra_args import ALLOWED, REFUSED, TYPED
from tierwise_sim import flag_table

REPO = Path(__file__).resolve().parents[3]
CODE = ("controllers", "operator", "router", "simulator", "training", "cli")
PAGES = ("docs/*.md", "docs/design/*.md", "examples/**/*.md", "charts/**/*.md", "charts/**/NOTES.txt", "README.md")
# A dotted name as we write fields and values, not a file, a domain, a module or a metric.
_DOTTED = re.compile(r"(?<![\w./:@$-])(?:spec\.|status\.)?([a-z][A-Za-z]+(?:\.[a-z][A-Za-z]+)+)(?![\w/(:-]|\.\w|\[)")
_CHART = re.compile(
    r"[Cc]hart values? `?([a-z][A-Za-z]*(?:\.[A-Za-z]+)*)`?(?:(?:,| and| or) `?([a-z][A-Za-z]*(?:\.[A-Za-z]+)+)`?)?"
)
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")
_FILE = re.compile(r"\.(bin|svg|crt|html|json|key|md|py|yaml)$")
_MAPS = ("labels", "nodeSelector")  # below these anything may stand
# Of a route in a file (`tierwise router --file`), which has a few fields beside those of a ModelRoute.
ROUTE_FILE = frozenset({"clients.keysDirectory", "policy.classifier.file", "tls.certificateFile", "tls.keyFile"})
# Of kubectl, helm, the hub's client and other autoscalers; and beginnings that a text completes.
OTHERS = frozenset(
    {"--clusterrole", "--create-namespace", "--install", "--local-dir", "--max-total-gpus", "--no", "--server-side"}
    | {"--set", "--show-labels", "--user"}
)
# Reads the options of other programs.
FOREIGN = "cli/tierwise_cli/convert/"
# Modules that are called as a field is, in the pages of design.
MODULES = frozenset({"engines.check"})


def _properties(schema: Any) -> Iterator[tuple[str, str]]:
    """Pairs of a field and one below it, anywhere in a JSON schema."""
    if isinstance(schema, dict):
        for name, below in (schema.get("properties") or {}).items():
            for inner in _inner(below):
                yield name, inner
            yield from _properties(below)
        yield from _properties(schema.get("items"))


def _inner(schema: Any) -> Iterator[str]:
    while isinstance(schema, dict):
        yield from schema.get("properties") or {}
        schema = schema.get("items")


@cache
def _fields() -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
    """Fields of our kinds: which stands below which; and those right below spec or status."""
    pairs, first = set[tuple[str, str]](), set[str]()
    for kind in KINDS:
        schema = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        pairs |= set(_properties(schema))
        for part in ("spec", "status"):
            below = schema["properties"][part]["properties"]
            first |= {name for name, each in below.items() if any(_inner(each))}
    return frozenset(pairs), frozenset(first)


@cache
def _values() -> tuple[frozenset[tuple[str, str]], frozenset[str]]:
    """The chart's values: which stands below which; and those at the top."""
    schema = json.loads((REPO / "charts/tierwise/values.schema.json").read_text(encoding="utf-8"))
    pairs = set(_properties(schema)) | {("requests", "memory"), ("limits", "memory")}
    return frozenset(pairs), frozenset(schema["properties"])


@cache
def _options() -> frozenset[str]:
    """Options that our commands define, and the engine's that a spec becomes."""
    found: set[str] = set()
    for _, tree in _modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                words = [each.value for each in node.args if isinstance(each, ast.Constant)]
                found |= {word for word in words if isinstance(word, str) and word.startswith("--")}
    engine = flag_table.SWITCHES | flag_table.INTEGERS | flag_table.NUMBERS | flag_table.LISTS | flag_table.TEXTS
    found |= {f"--{name}" for name in engine | flag_table.GONE_IN_0_32}
    found |= {*ALLOWED, *TYPED, *REFUSED, *CLOSED, "--help", "--version"}
    for release in profiles():
        found |= set(release.removed_flags) | {release.drain_flag}
    return frozenset(found)


@cache
def _modules() -> tuple[tuple[Path, ast.Module], ...]:
    paths = sorted(path for folder in CODE for path in (REPO / folder).rglob("*.py"))
    return tuple((path, ast.parse(path.read_text(encoding="utf-8"))) for path in paths)


@cache
def _texts() -> tuple[tuple[str, str], ...]:
    """Where a text stands, and the text."""
    return tuple(_found_texts())


def _found_texts() -> Iterator[tuple[str, str]]:
    for path, tree in _modules():
        ours = path.relative_to(REPO)
        silent = {id(text) for text in _docstrings(tree)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                silent |= {id(part) for part in node.values}
                parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
                yield f"{ours}:{node.lineno}", "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
                yield f"{ours}:{node.lineno}", node.value
    for path in _pages():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield f"{path.relative_to(REPO)}:{number}", line


def _pages() -> list[Path]:
    found = {path for pattern in PAGES for path in REPO.glob(pattern)}
    return sorted(path for path in found if not path.name.startswith("mutants"))  # they quote code


def _docstrings(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def _stands(name: str, pairs: frozenset[tuple[str, str]]) -> bool:
    words = name.split(".")
    words = words[: next((number + 1 for number, word in enumerate(words) if word in _MAPS), len(words))]
    return all(pair in pairs for pair in pairwise(words))


def unknown_values(text: str) -> list[str]:
    """Chart values that a text names and the chart does not have."""
    pairs, first = _values()
    named = [name for found in _CHART.finditer(text) for name in found.groups() if name]
    return [name for name in named if name.split(".")[0] not in first or not _stands(name, pairs)]


def unknown_fields(text: str) -> list[str]:
    """Dotted names that begin like a field or a value of ours and that neither the CRDs nor the chart have."""
    (fields, spec), (values, chart) = _fields(), _values()
    names = [found[1] for found in _DOTTED.finditer(text) if not _FILE.search(found[1])]
    ours = [name for name in names if name.split(".")[0] in spec | chart and name not in ROUTE_FILE | MODULES]
    return [name for name in ours if not (_stands(name, fields) or _stands(name, values))]


def unknown_options(text: str) -> list[str]:
    """Options that a text names and that no command of ours and no engine has."""
    return [each for each in _OPTION.findall(text) if not each.endswith("-") and each not in _options() | OTHERS]


def test_every_chart_value_that_is_named_exists() -> None:
    texts = _texts()
    assert [(where, name) for where, text in texts for name in unknown_values(text)] == []
    assert sum(bool(_CHART.search(text)) for _, text in texts) > 10


def test_every_field_that_is_named_exists() -> None:
    texts = _texts()
    assert [(where, name) for where, text in texts for name in unknown_fields(text)] == []
    assert sum(bool(_DOTTED.search(text)) for _, text in texts) > 300


def test_the_fields_of_a_file_are_read_from_it() -> None:
    read = (REPO / "router/tierwise_router/route_file.py").read_text(encoding="utf-8")
    models = "".join(path.read_text(encoding="utf-8") for path in (REPO / "router/tierwise_router").glob("*.py"))
    for name in ROUTE_FILE:
        last = name.rpartition(".")[2]
        assert re.sub("([A-Z])", lambda found: "_" + found[1].lower(), last) in models + read, name


def test_every_option_that_is_named_exists() -> None:
    code = [(where, text) for where, text in _texts() if ".py:" in where and not where.startswith(FOREIGN)]
    ours = [(where, text) for where, text in _texts() if ".md:" in where and re.search(r"\btierwise [a-z]+ .*--", text)]
    assert [(where, option) for where, text in [*code, *ours] for option in unknown_options(text)] == []
    assert len(ours) > 10


@pytest.mark.parametrize(
    ("find", "text", "found"),
    [
        (unknown_values, "check the chart value prometheus.caFile", ["prometheus.caFile"]),
        (unknown_values, "chart values `podMonitor.enabled`, `podMonitor.label`", ["podMonitor.label"]),
        (unknown_values, "the chart value prometheus.caConfigMap", []),
        (unknown_fields, "Correct model.url.", ["model.url"]),
        (unknown_fields, "set spec.scaling.minReplica to 1", ["scaling.minReplica"]),
        (unknown_fields, "in placement.imagePullSecrets, or engine.image", []),
        (unknown_options, "use --prometheus-uri", ["--prometheus-uri"]),
        (unknown_options, "--max-num-seqs and --prometheus-url", []),
    ],
)
def test_what_does_not_exist_is_found(find: Any, text: str, found: list[str]) -> None:
    assert find(text) == found
