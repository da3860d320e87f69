"""Checks that router/pyproject.toml names every module of the library that the router imports, and few others.

Without it a new import is missing only in the router's image, which `make test-image` finds minutes later.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
WHEEL = tomllib.loads((REPO / "router/pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
INCLUDED = {Path(path).relative_to("../controllers") for path in WHEEL["wheel"]["force-include"] if "/tierwise" in path}
SCRIPT = (
    "import importlib, pathlib, pkgutil, sys, tierwise_router\n"
    "for module in pkgutil.walk_packages(tierwise_router.__path__, 'tierwise_router.'):\n"
    "    importlib.import_module(module.name)\n"
    "print(*(module.__file__ for name, module in sys.modules.items() if name.partition('.')[0] == 'tierwise'))\n"
)


def test_the_wheel_holds_what_the_router_imports() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=120)
    imported = {Path(path).relative_to(REPO / "controllers") for path in done.stdout.split()}
    missing = {path for path in imported if not {path, *path.parents} & INCLUDED}
    assert missing == set(), "add them to force-include in router/pyproject.toml"
    unused = {part for part in INCLUDED if not any({part} & {path, *path.parents} for path in imported)}
    assert unused == set(), "nothing imports these any more"
