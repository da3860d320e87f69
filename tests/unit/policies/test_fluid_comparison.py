"""Compares the policies in the fluid model: the order between them is what is claimed, not the figures."""

import re
from pathlib import Path

import pytest

from tests.unit.policies.fluid import PER_REPLICA, STEP, WAVE, Load, Result, run_named


@pytest.fixture(scope="module", params=["step", "wave"])
def load(request: pytest.FixtureRequest) -> Load:
    return {"step": STEP, "wave": WAVE}[request.param]


def test_the_fluid_itself_keeps_every_request() -> None:
    """Six replicas for 24 requests/s (27.4) are enough, five (22.8) are not."""
    enough, too_few = run_named("static:replicas=6", STEP), run_named("static:replicas=5", STEP)
    assert (enough.attainment, enough.changes) == (1.0, 1)
    assert enough.replicas == pytest.approx(6, abs=0.01)
    assert too_few.attainment < 0.6
    assert 5 * PER_REPLICA < 24 < 6 * PER_REPLICA


def test_the_oracle_is_cheap_and_misses_nothing() -> None:
    """(1 * 4500 + 6 * 2700) / 7200 = 2.875 replicas."""
    result = run_named("oracle", STEP)
    assert result.replicas == pytest.approx(2.875, abs=0.01)
    assert result.attainment > 0.99


def test_waiting_alone_is_dominated(load: Load) -> None:
    """The blueprint, and a second trigger on what runs, attain more; the latter at a lower cost, too."""
    waiting, running, blueprint = (
        run_named(name, load) for name in ("keda-waiting", "keda-waiting-running", "keda-epp")
    )
    assert blueprint.attainment > running.attainment > waiting.attainment + 0.1
    assert waiting.replicas > running.replicas


def test_wva_v2_is_near_the_oracle_and_v1_is_too_slow() -> None:
    v2, v1, v1_slow = (
        run_named(name, STEP) for name in ("wva-v2:window=0", "wva-v1:window=0,tolerance=0", "wva-v1:tolerance=0")
    )
    assert v2.attainment == pytest.approx(0.925, abs=0.03)
    assert v2.replicas == pytest.approx(3.11, abs=0.15)
    assert v2.attainment > v1.attainment + 0.2 > v1_slow.attainment + 0.4


def test_the_tolerance_of_the_hpa_strands_wva_v1_at_ten() -> None:
    """Ten replicas, nine wanted: 0.9 is within 10 %, and V1 removes one at a time. The fleet stays at ten."""
    stuck, free = run_named("wva-v1:window=0", STEP), run_named("wva-v1:window=0,tolerance=0", STEP)
    assert stuck.attainment == pytest.approx(free.attainment, abs=0.01)
    assert stuck.replicas > 2 * free.replicas


def test_aibrix_is_poor_as_coded_and_decent_as_corrected(load: Load) -> None:
    for coded, corrected in (("aibrix-apa", "aibrix-apa:fixed=1"), ("aibrix-kpa", "knative-kpa")):
        assert run_named(coded, load).attainment < 0.5 < run_named(corrected, load).attainment


def test_a_tuned_target_helps_kubeai(load: Load) -> None:
    assert run_named("kubeai:requests=40", load).attainment > run_named("kubeai", load).attainment + 0.1


def test_token_aware_needs_the_speed_of_an_hpa(load: Load) -> None:
    assert run_named("keda-token-aware-fast", load).attainment > run_named("keda-token-aware", load).attainment + 0.1


def test_a_longer_start_costs_everyone() -> None:
    def at(seconds: float) -> Result:
        return run_named("keda-epp", STEP, start_seconds=seconds)

    assert at(60).attainment > at(120).attainment > at(300).attainment


PAGE = Path(__file__).parents[3] / "docs" / "baselines.md"
ROWS = re.findall(
    r"^\| `(\S+)` \| ([\d.]+) @ ([\d.]+) \| ([\d.]+) @ ([\d.]+) \|$", PAGE.read_text("utf-8"), re.MULTILINE
)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_table_on_the_page_is_what_comes_out(row: tuple[str, ...]) -> None:
    shown = []
    for load in (STEP, WAVE):
        result = run_named(row[0], load)
        shown += [f"{100 * result.attainment:.1f}", f"{result.replicas:.2f}"]
    assert list(row[1:]) == shown


def test_the_table_on_the_page_is_found() -> None:
    assert len(ROWS) == 19
