"""Holds the engine model against measured engines: `python -m tools.fidelity` (or `make fidelity`).

The kernels and the measured points come in a package that needs Python 3.11 to 3.13 and 300 MB with what it requires,
so the comparison runs in an environment of its own, which is made from its lock once.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.isolated import REPO, REQUIREMENTS, environment


def main() -> int:
    """Run the comparison with the arguments of this command; its exit code."""
    if sys.version_info >= (3, 14):
        print(
            "the package of measured kernels has no wheel for Python 3.14; try make PYTHON=python3.13", file=sys.stderr
        )
        return 2
    python = environment("kernels", "kernels", REQUIREMENTS / "kernels.txt")
    paths = [str(REPO / name) for name in ("simulator", "controllers", "")]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [str(python), "-m", "tools.fidelity.compare", *sys.argv[1:]]
    return subprocess.run(command, env=variables, cwd=REPO, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
