"""Checks that a calibration finds an engine's step times from what its clients see, and that its file is read back."""

import json
from pathlib import Path

import pytest

from tierwise.errors import Invalid
from tierwise_sim.calibrated import Calibrated, Calibration, LoadPoint, Rates, read, to_json
from tierwise_sim.calibration import Plan, calibrate, order, plan, said
from tierwise_sim.closed_loop import Figures
from tierwise_sim.settings import EngineSettings
from tierwise_sim.step_source import step_source
from tierwise_sim.step_time import Batch, Overheads

# A GPU's and a processor's: bytes dominate on one, arithmetic on the other.
GPU = Calibrated(Rates(8e-3, 6e-5, 2e-8, 1.5e-9), Overheads(1e-3, 2e-5, 2e-3, 2e-2))
CPU = Calibrated(Rates(1e-2, 4e-3, 1e-6, 2e-7), Overheads(5e-3, 1e-3, 1e-3, 1e-2))
SETTINGS = EngineSettings(max_model_len=8192, max_num_batched_tokens=2048, kv_blocks_override=1 << 20)
PLANNED = plan([1, 4, 16], [100, 1500], [64, 160])


def measured(step_time: Calibrated, planned: Plan = PLANNED) -> dict[LoadPoint, Figures]:
    return {load: said(order(load, 4, SETTINGS), step_time) for load in planned.loads}


@pytest.mark.parametrize("truth", [GPU, CPU], ids=["gpu", "cpu"])
def test_an_engine_is_found_again_and_where_it_was_not_fitted(truth: Calibrated) -> None:
    found = calibrate("m", SETTINGS, measured(truth), PLANNED, waves=4)
    assert found.inter_token_error is not None
    assert found.inter_token_error < 0.03
    assert found.ttft_error is not None
    assert found.ttft_error < 0.05
    step = found.step_time()
    for batch in (
        Batch(1, 500),
        Batch(8, 8 * 800),
        Batch(16, 16 * 1500),
        Batch(4, 4000, 0, 1500, 1500, 1500 * 750, 0, 1),
    ):
        assert step.seconds(batch) == pytest.approx(truth.seconds(batch), rel=0.1)


def test_noise_of_a_tenth_does_not_spoil_it() -> None:
    seen = {
        load: Figures(each.ttft * (1.1 if n % 2 else 0.9), each.inter_token * (0.95 if n % 3 else 1.1), 0.0)
        for n, (load, each) in enumerate(measured(GPU).items())
    }
    found = calibrate("m", SETTINGS, seen, PLANNED, waves=4).step_time()
    assert found.seconds(Batch(8, 8 * 800)) == pytest.approx(GPU.seconds(Batch(8, 8 * 800)), rel=0.15)


def test_what_judges_was_not_fitted_to() -> None:
    seen = measured(GPU)
    for load in PLANNED.judging:
        seen[load] = Figures(seen[load].ttft * 2, seen[load].inter_token * 2, 0.0)
    found = calibrate("m", SETTINGS, seen, PLANNED, waves=4)
    assert {each.load for each in found.judged if not each.fitted} == set(PLANNED.judging)
    assert found.inter_token_error == pytest.approx(0.5, abs=0.03), "another engine would be noticed"


def test_a_plan_spans_what_is_asked_for_and_judges_between() -> None:
    assert PLANNED.fitted == tuple(LoadPoint(users, prompt, 64) for prompt in (100, 1500) for users in (1, 4, 16))
    assert PLANNED.judging == (LoadPoint(2, 387, 64), LoadPoint(8, 387, 64), LoadPoint(4, 387, 160))
    assert not set(PLANNED.fitted) & set(PLANNED.judging)
    assert PLANNED.requests(4) == 4 * (2 * 21 + 2 + 8 + 4)
    for users, prompts in (([4], [100, 200]), ([1, 4], [100, 100])):
        with pytest.raises(ValueError, match="two numbers of users"):
            plan(users, prompts, [64])


def test_nothing_measured_is_told() -> None:
    with pytest.raises(ValueError, match="fitted to"):
        calibrate("m", SETTINGS, {}, PLANNED, waves=4)


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Path, Calibration]:
    made = calibrate("m", SETTINGS, measured(GPU), PLANNED, waves=4)
    path = tmp_path / "calibration.json"
    path.write_text(to_json(made))
    return path, made


def test_the_file_is_read_back_and_taken_before_anything_else(kept: tuple[Path, Calibration]) -> None:
    path, made = kept
    assert read(path) == made
    chosen = step_source(SETTINGS, read(path))
    assert (chosen.source, chosen.step_time) == ("calibrated", made.step_time())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "other"}, "is not a file that `tierwise calibrate` wrote"),
        ({"rates": {"weights": 1.0}}, "rates are context, pair, token, weights, not weights"),
        ({"overheads": {"step": "1", "sequence": 0, "prompt": 0, "request": 0}}, "step is no number of seconds: '1'"),
        ({"overheads": {"step": -1, "sequence": 0, "prompt": 0, "request": 0}}, "step is no number of seconds: -1"),
        ({"judged": 3}, "make it anew"),
    ],
)
def test_a_file_that_is_wrong_says_where(kept: tuple[Path, Calibration], change: dict[str, object], says: str) -> None:
    path, _ = kept
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(Invalid, match=says):
        read(path)


def test_a_file_that_is_not_there_or_no_json_says_so(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="No such file"):
        read(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(Invalid, match="is not JSON"):
        read(tmp_path / "broken.json")
