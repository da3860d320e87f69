"""Checks that only Kubernetes' discovery is left in the copy, and that the source, read-only, stays as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

from playground.prometheus_source import module_with_copy
from playground.versions import PROMETHEUS


def test_the_copy_has_one_discovery_and_its_files_can_be_removed(tmp_path: Path) -> None:
    source, tools = tmp_path / "source", tmp_path / "tools"
    (source / "plugins").mkdir(parents=True)
    tools.mkdir()
    (source / "plugins/plugins.go").write_text("package plugins // all of them\n")
    (source / "main_test.go").write_text("package main\n")
    (source / "plugins/plugins.go").chmod(0o444)
    (source / "plugins").chmod(0o555)
    (tools / "go.mod").write_text("module example.test/tools\n")
    (tools / "go.sum").write_text("the sums\n")
    target = module_with_copy(tools, source, tmp_path / "target")
    try:
        plugins = (target / "prometheus/plugins/plugins.go").read_text()
        assert [line for line in plugins.splitlines() if "discovery/" in line] == [
            f'\t_ "{PROMETHEUS}/discovery/kubernetes"'
        ]
        assert not (target / "prometheus/main_test.go").exists()
        replaced = f"module example.test/tools\n\nreplace {PROMETHEUS} => {target}/prometheus\n"
        assert (target / "go.mod").read_text() == replaced
        assert (target / "go.sum").read_text() == "the sums\n"
        assert (source / "plugins/plugins.go").read_text() == "package plugins // all of them\n"
        assert module_with_copy(tools, source, target) == target
        assert target.joinpath("prometheus/plugins").stat().st_mode & 0o200
    finally:
        (source / "plugins").chmod(0o755)
        shutil.rmtree(target)
