"""Checks that all places that name a version, or a registry, agree."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

from tierwise import __version__
from tools.locks import read

REPO = Path(__file__).resolve().parents[3]
VERSION = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["version"]


def test_the_changelog_names_the_version_first() -> None:
    released = re.findall(r"^## \[(\d[^\]]*)\]", (REPO / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert released[0] == VERSION


def test_both_charts_carry_the_version() -> None:
    for chart in ("tierwise", "tierwise-crds"):
        about = yaml.safe_load((REPO / "charts" / chart / "Chart.yaml").read_text())
        assert (about["version"], about["appVersion"]) == (VERSION, VERSION), chart


def test_the_routers_wheel_carries_the_version() -> None:
    assert tomllib.loads((REPO / "router/pyproject.toml").read_text())["project"]["version"] == VERSION
    assert __version__ == VERSION


def test_no_requirements_file_names_where_packages_come_from() -> None:
    for path in sorted((REPO / "requirements").glob("*.txt")):
        text = path.read_text()
        assert not re.search(r"https?://|--index-url|--extra-index-url|--find-links", text), path.name
        pins, findings = read(text, path.name)
        assert pins
        assert findings == ()


def test_every_make_target_says_what_it_does() -> None:
    makefile = (REPO / "Makefile").read_text()
    phony = re.findall(r"^\.PHONY: (\S+)$", makefile, flags=re.MULTILINE)
    described = re.findall(r"^([a-z-]+):.*## .+$", makefile, flags=re.MULTILINE)
    assert phony == described
