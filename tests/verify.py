"""Regenerates every generated file, and fails if one changed.

`make verify` writes all of them again and names those that changed, so that a difference is looked at and committed,
never edited by hand.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.chart import rights
from tests.chart.helm import goldens
from tests.faults import table as faults
from tests.mutants import page as mutants
from tests.render import convert_goldens, route_goldens
from tests.render import goldens as renderings
from tests.versions import table as versions
from tierwise.api import crd
from tools import api_docs, engines_page, gpus_page, metrics_page, validity_page
from tools.agreement import results as agreement
from tools.bench_prefix import results as prefix
from tools.bench_router import table as router_table
from tools.bench_routing import results as routing
from tools.bench_scaling import results as scaling
from tools.bill import results as bill
from tools.fidelity import results as fidelity
from tools.generated import write

REPO = Path(__file__).resolve().parents[1]
GENERATORS = (
    crd.files,
    api_docs.files,
    engines_page.files,
    validity_page.files,
    gpus_page.files,
    metrics_page.files,
    faults.files,
    versions.files,
    rights.files,
    mutants.files,
    prefix.files,
    router_table.files,
    routing.files,
    fidelity.files,
    bill.files,
    scaling.files,
    agreement.files,
    goldens,
    renderings.goldens,
    route_goldens.files,
    convert_goldens.files,
)


def main() -> int:
    """Exit code 1 when a file had to be written."""
    changed = [path for generator in GENERATORS for path in write(generator(), REPO)]
    for path in changed:
        print(f"verify: {path} was out of date and is written anew: look at the difference and commit it")
    if not changed:
        print("verify: every generated file is up to date")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
