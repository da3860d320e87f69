"""Runs the tests that depend on KServe and Kubernetes against each set of versions: `make test-versions`.

`python -m tests.versions NAME ...` runs some of the sets (playground/versions.py, and `default`). Each row of
docs/results/versions.json comes from the report of one run of pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path

from playground import binaries
from playground.errors import PlaygroundError
from playground.versions import KSERVE, KUBERNETES, SETS, TOOLS, VARIABLE, VersionSet, release
from tests.versions.results import REPO, Row, record

DEFAULT = "default"
CLUSTER = Path("tests/cluster")
# Rendering against the webhooks and the loop; the examples as a user applies them, a scale-up and down under load.
# Two runs, each with a playground of its own: in the second the operator is installed with helm.
TESTS = (
    (CLUSTER / "test_render.py", CLUSTER / "test_loop.py"),
    (CLUSTER / "e2e/test_examples.py", CLUSTER / "e2e/test_load_step.py"),
)


def main(names: Sequence[str]) -> int:
    """Run the named sets, or all; return 1 if a test failed, 2 if a set could not be run."""
    known: dict[str, VersionSet | None] = {DEFAULT: None, **SETS}
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"there is no set {', '.join(unknown)}, but {', '.join(known)}", file=sys.stderr)
        return 2
    code = 0
    for name in names or known:
        try:
            binaries.ensure(lambda text: print(text, flush=True), recipe=binaries.recipe_of(known[name]))
        except PlaygroundError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 2
        row = run(name, known[name])
        record(row)
        print(
            f"{name}: KServe {row.kserve}, Kubernetes {row.kubernetes}: {row.passed} passed, {len(row.failed)} failed"
        )
        code = 1 if row.failed else code
    return code


def run(name: str, versions: VersionSet | None) -> Row:
    """Run the tests on one set. Raises RuntimeError if pytest did not come to a report."""
    env = {key: value for key, value in os.environ.items() if key != VARIABLE}
    env |= {VARIABLE: name} if versions is not None else {}
    return read([_report(name, env, tests) for tests in TESTS], name, versions)


def _report(name: str, env: Mapping[str, str], tests: Sequence[Path]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *map(str, tests)]
        done = subprocess.run(command, cwd=REPO, env=env, check=False)
        if done.returncode not in (0, 1) or not report.exists():
            raise RuntimeError(f"{name}: pytest ended with {done.returncode}")
        return report.read_text(encoding="utf-8")


def read(reports: Sequence[str], name: str, versions: VersionSet | None) -> Row:
    """Make a row of pytest's reports."""
    suites = [ElementTree.fromstring(report)[0] for report in reports]
    cases = {case: {child.tag for child in case} for suite in suites for case in suite.iter("testcase")}
    failed = [case.attrib["name"] for case, tags in cases.items() if tags & {"failure", "error"}]
    skipped = sum("skipped" in tags for tags in cases.values())

    def ran(module: str) -> str:
        own = versions is not None and versions.module == module
        return release(module, versions.tools if own and versions else TOOLS)

    return Row(
        name=name,
        kubernetes=ran(KUBERNETES),
        kserve=ran(KSERVE),
        passed=len(cases) - len(failed) - skipped,
        failed=tuple(failed),
        skipped=skipped,
        seconds=round(sum(float(suite.attrib["time"]) for suite in suites), 1),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
