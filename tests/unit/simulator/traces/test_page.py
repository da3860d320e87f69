"""docs/traces.md says what is accepted: its names are those of the readers, and its examples are read."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from tests.render.goldens import REPO
from tierwise_sim.traces import access_log, usage_export
from tierwise_sim.traces.formats import FORMATS, read
from tierwise_sim.traces.generator_text import DRAWN, SHAPES, generated
from tierwise_sim.traces.summary import summarise

PAGE = (REPO / "docs/traces.md").read_text(encoding="utf-8")
FENCED = re.findall(r"```(\w*)\n(.*?)```", PAGE, flags=re.DOTALL)
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")]


def row(first: str) -> list[str]:
    """The one row of a table that begins with this."""
    (found,) = [cells for cells in ROWS if cells[0] == first]
    return found


def names(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


@pytest.mark.parametrize(
    ("what", "accepted"),
    [
        ("time of the request", access_log.TIME),
        ("input tokens", access_log.PROMPT),
        ("output tokens", access_log.OUTPUT),
        ("cached input tokens", (*access_log.CACHED, "prompt_tokens_details", "input_tokens_details")),
        ("model that the client named", access_log.MODEL),
        ("tenant", access_log.TENANT),
        ("hashes of the prompt's leading blocks, each over all before it", access_log.BLOCKS),
        ("tokens of such a block", access_log.BLOCK_TOKENS),
    ],
)
def test_the_names_of_access_logs(what: str, accepted: tuple[str, ...]) -> None:
    assert names(row(what)[1]) == list(accepted)


def test_the_names_of_failure() -> None:
    assert names(row("failure")[1])[: len(access_log.STATUS)] == list(access_log.STATUS)


def test_the_names_of_usage_exports() -> None:
    said = set(names(row("another")[1]))
    assert {*usage_export.START, *usage_export.END, *usage_export.REQUESTS} <= said


def test_every_format_and_generator_is_named() -> None:
    assert {name for cells in ROWS for name in names(cells[1]) if name in FORMATS} == set(FORMATS)
    for name, (kind, said) in SHAPES.items():
        fields_there = row(f"`{name}`")[2]
        if fields_there == "the same":
            fields_there = row("`together`")[2]
        defaults = {field.name: field.default for field in fields(kind) if field.name not in said}
        assert re.findall(r"(\w+)=", names(fields_there)[0]) == list(defaults)
        assert generated(f"{name}:{names(fields_there)[0]}").arrivals == generated(name).arrivals
    for name in DRAWN:
        assert f"`{name}`" in PAGE


@pytest.mark.parametrize(("kind", "text"), [each for each in FENCED if each[0]], ids=lambda each: each[:30])
def test_every_example_is_read(tmp_path: Path, kind: str, text: str) -> None:
    path = tmp_path / f"example.{kind}"
    path.write_text(text)
    assert summarise(read(path)).requests >= 1
