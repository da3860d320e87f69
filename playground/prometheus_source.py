"""Makes a copy of Prometheus' source to compile it from.

That leaves out what it can discover besides Kubernetes: those twenty services bring the libraries of a dozen clouds,
as much code as Prometheus itself. Its documented way is to edit plugins.yml and generate one file; here that file is
written. Go's cache of modules must not be changed, hence the copy. (Later releases have build tags for it, but also an
OpenAPI library that takes longer to compile than all that.)
"""

from __future__ import annotations

import shutil
from pathlib import Path

from playground.versions import PROMETHEUS

PLUGINS = f"""\
package plugins

import (
	_ "{PROMETHEUS}/discovery/kubernetes"
)
"""


def module_with_copy(tools: Path, source: Path, target: Path) -> Path:
    """Make `target` a Go module like `tools`, in which Prometheus is a copy of `source`; return it. Raises OSError."""
    shutil.rmtree(target, ignore_errors=True)
    copy = target / "prometheus"
    _copy(source, copy)
    (copy / "plugins" / "plugins.go").write_text(PLUGINS, encoding="utf-8")
    pins = (tools / "go.mod").read_text(encoding="utf-8")
    (target / "go.mod").write_text(f"{pins}\nreplace {PROMETHEUS} => {copy}\n", encoding="utf-8")
    shutil.copyfile(tools / "go.sum", target / "go.sum")
    return target


def _copy(source: Path, target: Path) -> None:
    # Not as copytree does it: the folders in Go's cache are read-only, and the copies of them would be.
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.is_dir():
            _copy(path, target / path.name)
        elif not path.name.endswith("_test.go"):
            shutil.copyfile(path, target / path.name)
