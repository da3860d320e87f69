"""Checks that a machine can read each line, and a person each text."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from tierwise.runtime import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_json_lines_are_whole_objects_with_their_context() -> None:
    out = io.StringIO()
    logs.configure("INFO", "json", out)
    try:
        raise ValueError("inner")
    except ValueError:
        logging.getLogger("a.b").exception("two\nlines", extra={"tier": "ns/x", "other": 1})
    lines = out.getvalue().splitlines()
    assert len(lines) == 1
    line = json.loads(lines[0])
    assert list(line) == ["time", "level", "logger", "message", "tier", "exception"]
    assert (line["level"], line["logger"], line["message"], line["tier"]) == ("ERROR", "a.b", "two\nlines", "ns/x")
    assert line["time"].endswith("Z")
    assert "ValueError: inner" in line["exception"]


def test_text_is_one_line_in_utc() -> None:
    out = io.StringIO()
    logs.configure("WARNING", "text", out)
    logging.getLogger("x").info("hidden")
    logging.getLogger("x").warning("seen")
    assert out.getvalue().endswith(" WARNING x: seen\n")
    assert out.getvalue().count("\n") == 1
    assert out.getvalue()[8] == "Z"


def test_libraries_are_heard_only_when_asked_for() -> None:
    out = io.StringIO()
    logs.configure("INFO", "text", out)
    logging.getLogger("kopf.objects").info("chatter")
    assert out.getvalue() == ""
    logs.configure("DEBUG", "text", out)
    logging.getLogger("kopf.objects").debug("chatter")
    assert "chatter" in out.getvalue()
