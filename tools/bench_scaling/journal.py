"""Keeps what was simulated, so that a comparison that was interrupted goes on where it was.

A case is found again by the hash of what it depends on: the case, the code of the simulator, of the operator's rooms
and of what makes a case here, and the recorded traces. So no old figure can stand beside a new one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tierwise_sim.workloads import AZURE_CONVERSATION, MOONCAKE_CONVERSATION
from tools.bench_scaling.cases import AZURE, MOONCAKE, Case
from tools.bench_scaling.run import Figures, TierFigures
from tools.bill.journal import hash_of

HERE = "tools/bench_scaling"
CODE = (
    "simulator/tierwise_sim", "controllers/tierwise", "tools/bill/run.py",
    *(f"{HERE}/{name}.py" for name in ("loads", "run", "shapes")),
)  # fmt: skip
APART_FROM = (
    "simulator/tierwise_sim/report_page",
    *(f"controllers/tierwise/{room}" for room in ("act", "html_page", "hub", "prom", "report")),
)
"""What no simulation runs."""
_FILES = {AZURE: AZURE_CONVERSATION, MOONCAKE: MOONCAKE_CONVERSATION}


@dataclass(frozen=True, slots=True)
class Journal:
    """Cases in a folder. `code`: the hash of all that they run; `data`: the folder of recorded traces."""

    folder: Path
    code: str
    data: Path | None

    @classmethod
    def of(cls, root: Path, folder: Path, data: Path | None) -> Journal:
        """The journal of the code below `root`."""
        return cls(folder, hash_of(root, CODE, APART_FROM), data)

    def found(self, case: Case) -> Figures | None:
        """What the case came to; None where it has not run."""
        path = self._path(case)
        return figures(json.loads(path.read_text(encoding="utf-8"))["figures"]) if path.is_file() else None

    def keep(self, case: Case, found: Figures) -> None:
        """Write it as a whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(case)
        being = path.with_suffix(".new")
        being.write_text(json.dumps({"case": asdict(case), "figures": asdict(found)}), encoding="utf-8")
        being.replace(path)

    def _path(self, case: Case) -> Path:
        given = (self.code, asdict(case), self._trace(case.load))
        return self.folder / f"{hashlib.sha256(repr(given).encode()).hexdigest()[:32]}.json"

    def _trace(self, load: str) -> str:
        if load not in _FILES or self.data is None:
            return ""
        path = self.data / _FILES[load]
        return f"{path.stat().st_size}" if path.is_file() else ""


def figures(kept: Mapping[str, Any]) -> Figures:
    """Figures from their JSON."""
    return Figures(**{**kept, "tiers": {name: TierFigures(**each) for name, each in kept["tiers"].items()}})
