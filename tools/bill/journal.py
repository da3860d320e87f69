"""Keeps what was simulated, so that a bill that was interrupted goes on where it was, and one that changes a row runs
that row only.

A simulation is found again by the hash of everything that it depends on: the manifests, the requests with what they
ask, who decides, and the code of the simulator, of the operator's rooms and of this tool. So nothing has to be thrown
away by hand, and an old figure cannot stand beside a new one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from tools.bill.fleets import Fleet
from tools.bill.procedure import Simulate
from tools.bill.run import ACCEPTANCE, SEED, Counted, Load, TierCount

CODE = ("simulator/tierwise_sim", "controllers/tierwise", "tools/bill/run.py", "tools/bill/drafting.py")


def code_hash(root: Path) -> str:
    """Of all code that a simulation runs."""
    return hash_of(root, CODE)


def hash_of(root: Path, names: Sequence[str], apart_from: Sequence[str] = ()) -> str:
    """Of the files and folders of these names below `root`, apart from some folders."""
    found = hashlib.sha256()
    without = [root / name for name in apart_from]
    for name in names:
        path = root / name
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if not file.is_file() or "__pycache__" in file.parts or any(file.is_relative_to(each) for each in without):
                continue
            found.update(str(file.relative_to(root)).encode())
            found.update(file.read_bytes())
    return found.hexdigest()


@dataclass(slots=True)
class Journal:
    """Simulations in a folder. `simulate` runs those that are not there; `kernels`: whether measured ones are."""

    folder: Path
    simulate: Simulate
    code: str
    kernels: bool
    _loads: dict[int, tuple[Load, str]] = field(default_factory=dict)

    def __call__(
        self, fleet: Fleet, load: Load, share: float | None, initial: Mapping[str, int], autoscaler: str, what: str
    ) -> Counted:
        """What was found, or is found now."""
        given = json.dumps([fleet.documents(), share, sorted(initial.items()), autoscaler], sort_keys=True)
        parts = (self.code, self.kernels, ACCEPTANCE, SEED, self._load(load), given)
        path = self.folder / f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:32]}.json"
        if path.is_file():
            return counted(json.loads(path.read_text(encoding="utf-8")))
        found = self.simulate(fleet, load, share, initial, autoscaler, what)
        self.folder.mkdir(parents=True, exist_ok=True)
        being = path.with_suffix(".new")
        being.write_text(json.dumps(asdict(found), default=str), encoding="utf-8")
        being.replace(path)
        return found

    def _load(self, load: Load) -> str:
        known = self._loads.get(id(load))
        if known is None or known[0] is not load:
            text = repr((load.trace.arrivals, load.trace.duration, load.begin, load.questions, load.targets))
            known = self._loads[id(load)] = (load, hashlib.sha256(text.encode()).hexdigest())
        return known[1]


def counted(kept: Mapping[str, Any]) -> Counted:
    """What a run found, from its JSON."""
    tiers = {name: TierCount(**{**tier, "dollars": Decimal(tier["dollars"])}) for name, tier in kept["tiers"].items()}
    return Counted(**{**kept, "tiers": tiers})
