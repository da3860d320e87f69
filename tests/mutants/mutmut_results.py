"""Prints what mutmut knows about its mutants. Runs in mutmut's own environment, in the folder of the mutants.

The argument is the package's folder there. JSON on standard output: {key: {"file", "status", "diff"}}, the diff for
those that were not killed. Imports nothing of this repository: it runs elsewhere.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any


def main() -> dict[str, Any]:
    """Every mutant, by mutmut's key; under "" the tool."""
    data = importlib.import_module("mutmut.mutation.data")
    stats = importlib.import_module("mutmut.stats")
    diffs = importlib.import_module("mutmut.mutation.diff_apply")
    found: dict[str, Any] = {"": f"mutmut {importlib.metadata.version('mutmut')}"}
    mutated = Path(sys.argv[1])
    for path in sorted(mutated.rglob("*.py")):
        known = data.SourceFileMutationData(path=path)
        known.load()
        for key, code in known.exit_code_by_key.items():
            status = stats.status_by_exit_code[code]
            diff = "" if status == "killed" else str(diffs.get_diff_for_mutant(key, path=path))
            found[key] = {"file": path.relative_to(mutated).as_posix(), "status": status, "diff": diff}
    return found


if __name__ == "__main__":
    json.dump(main(), sys.stdout)
