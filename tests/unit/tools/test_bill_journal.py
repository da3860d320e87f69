"""Checks that a simulation is found again by all that it depends on, and by nothing less."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.tools.test_bill_fleets import Remembered
from tierwise_sim.traces.arrival import Arrival, Trace
from tools.bill import fleets
from tools.bill.fleets import Fleet
from tools.bill.journal import Journal, code_hash
from tools.bill.run import Load, Question

LOAD = Load(Trace("t", (Arrival(0.0, 10, 5), Arrival(1.0, 20, 5)), 60.0, "made"), 10.0)
FLEET = fleets.reference(8, 2)


class Counting(Remembered):
    """Counts how often something is simulated."""

    times = 0

    def __call__(self, *given: object) -> object:  # type: ignore[override]
        self.times += 1
        return super().__call__(*given)  # type: ignore[arg-type]


def journal(folder: Path, code: str = "a", kernels: bool = True) -> tuple[Journal, Counting]:
    simulate = Counting()
    return Journal(folder, simulate, code, kernels), simulate  # type: ignore[arg-type]


def test_what_was_found_once_is_found_again(tmp_path: Path) -> None:
    first, simulate = journal(tmp_path)
    found = first(FLEET, LOAD, None, {}, "tierwise", "once")
    again, other = journal(tmp_path)
    assert again(FLEET, replace(LOAD), None, {}, "tierwise", "another name") == found
    assert (simulate.times, other.times) == (1, 0)
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"], "nothing half written stays"


@pytest.mark.parametrize(
    "other",
    [
        (Fleet((replace(FLEET.tiers[0], sequences=9),)), LOAD, None, {}, "tierwise"),
        (FLEET, replace(LOAD, begin=20.0), None, {}, "tierwise"),
        (FLEET, replace(LOAD, questions=(Question(1, 1), Question(0, 1))), None, {}, "tierwise"),
        (FLEET, LOAD, 50.0, {}, "tierwise"),
        (FLEET, LOAD, None, {"large": 3}, "tierwise"),
        (FLEET, LOAD, None, {}, "keda-epp:running=16"),
    ],
)
def test_whatever_differs_is_another_simulation(tmp_path: Path, other: tuple[Any, ...]) -> None:
    first, simulate = journal(tmp_path)
    first(FLEET, LOAD, None, {}, "tierwise", "")
    fleet, load, share, initial, autoscaler = other
    first(fleet, load, share, initial, autoscaler, "")
    assert simulate.times == 2


@pytest.mark.parametrize(("code", "kernels"), [("b", True), ("a", False)])
def test_other_code_and_other_step_times_are_other_simulations(tmp_path: Path, code: str, kernels: bool) -> None:
    journal(tmp_path)[0](FLEET, LOAD, None, {}, "tierwise", "")
    second, simulate = journal(tmp_path, code, kernels)
    second(FLEET, LOAD, None, {}, "tierwise", "")
    assert simulate.times == 1


def test_the_hash_of_the_code_sees_every_file(tmp_path: Path) -> None:
    for name in (
        "simulator/tierwise_sim/a.py",
        "controllers/tierwise/b.py",
        "tools/bill/run.py",
        "tools/bill/drafting.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    before = code_hash(tmp_path)
    (tmp_path / "controllers/tierwise/__pycache__").mkdir()
    (tmp_path / "controllers/tierwise/__pycache__/b.pyc").write_text("x")
    assert code_hash(tmp_path) == before
    (tmp_path / "simulator/tierwise_sim/a.py").write_text("2")
    assert code_hash(tmp_path) != before
