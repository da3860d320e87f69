"""Locates the cache of what takes long to build.

In the user's cache folder (XDG base directory specification), so that every checkout shares one build.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def cache_root(env: Mapping[str, str] | None = None) -> Path:
    """Return `$XDG_CACHE_HOME/tierwise`, by default `~/.cache/tierwise`."""
    environment = os.environ if env is None else env
    base = environment.get("XDG_CACHE_HOME", "")
    # The specification: a relative path is invalid and ignored.
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "tierwise"


def current_pointer(env: Mapping[str, str] | None = None) -> Path:
    """Return the link that names the state folder of the playground started last: valid until logout at most."""
    environment = os.environ if env is None else env
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    return (Path(runtime) / "tierwise" if runtime.startswith("/") else cache_root(env)) / "current"
