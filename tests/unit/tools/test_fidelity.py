"""Checks how measured points are read, fitted to and judged, on made-up points; real ones need a package of kernels."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tierwise_sim.closed_loop import Answer, timed
from tierwise_sim.fitted import Efficiencies, Fit, FittedRoofline, Reached
from tierwise_sim.roofline import Roofline
from tierwise_sim.step_time import Overheads, StepTime, WithOverheads
from tools.fidelity import contenders, overheads, plausible, results
from tools.fidelity.contenders import A_GPU, A_MODEL, FITTED, Bench, Contender
from tools.fidelity.other_engines import ratios
from tools.fidelity.points import INFERENCE_MAX, UNTOLD, Point, _points
from tools.fidelity.results import Error, Results, Row, load, missed, save, tables

H100, H200 = "NVIDIA-H100-80GB-HBM3", "NVIDIA-H200"
TRUTH = Overheads(step=1e-3, sequence=3e-5, prompt=4e-3, request=0.03)


def point(**values: Any) -> Point:
    made = Point("p", "vllm", "", "Llama-3.1-70B", H100, "fp8", 4, 600, 100, 8, 100.0, 10.0, INFERENCE_MAX)
    return replace(made, **values)


def as_measured(of: Point, step_time: StepTime) -> Point:
    """A point whose figures are those of these step times."""
    played = overheads.play(of)
    figures = of.figures(timed(played.schedule, step_time))
    return replace(of, ttft_ms=figures.ttft * 1000, inter_token_ms=figures.inter_token * 1000)


def test_a_row_of_the_sample_becomes_a_point_with_its_protocol() -> None:
    row = {
        "id": "1", "backend": "vllm", "backend_version": "", "mode": "agg", "model_path": "meta-llama/Llama-3.1-70B",
        "system": "b200_sxm", "precision": "fp4", "tp_size": "2.0", "isl": "1024", "osl": "8192", "batch_size": "16.0",
        "silicon_ttft_ms": "123.5", "silicon_tpot_ms": "9.5", "silicon_data_source": "source_file=2026-04-06.csv; x",
    }  # fmt: skip
    other = row | {
        "silicon_data_source": "source_file=/x/data/h100_sxm/vllm/0.12.0/Qwen_Qwen3-32B.csv",
        "precision": "",
    }
    skipped = [
        row | {"mode": "disagg"},
        row | {"backend": "sglang"},
        row | {"system": "gb200"},
        row | {"model_path": "x"},
    ]
    first, second = _points([row, other, *skipped], "vllm")
    assert (first.gpu, first.precision, first.users, first.ttft_ms, first.protocol) == (
        "NVIDIA-B200", "nvfp4", 16, 123.5, INFERENCE_MAX,
    )  # fmt: skip
    assert (first.settings.kv_element_bytes, first.settings.precision.arithmetic) == (1.0, "fp4")
    assert (second.precision, second.protocol, second.settings.kv_element_bytes) == ("bf16", UNTOLD, 2.0)
    assert len(list(_points([row, row | {"backend": "sglang"}], None))) == 2


def test_requests_follow_the_protocol() -> None:
    burst = point().requests()
    assert len(burst) == 80
    assert {480 <= each.prompt_tokens <= 600 and 80 <= each.output_tokens <= 100 for each in burst} == {True}
    assert len({each.prompt_tokens for each in burst}) > 20
    assert burst == point().requests()
    untold = point(protocol=UNTOLD).requests()
    assert len(untold) == 8 + 3 * 8
    assert {(each.prompt_tokens, each.output_tokens) for each in untold[8:]} == {(600, 100)}


def test_the_warm_up_does_not_count_where_no_burst_is_known() -> None:
    warm = [Answer(0.0, 50.0, 60.0, 11)] * 8
    counted = [Answer(60.0, 61.0, 63.0, 3)] * 4
    assert point(protocol=UNTOLD).figures(counted + warm).ttft == 1.0
    assert point().figures(counted + warm).ttft == pytest.approx((4 + 400) / 12)


def test_overheads_are_found_again() -> None:
    def gpu(of: Point) -> StepTime:
        return FittedRoofline(of.settings)

    points = [
        as_measured(each, WithOverheads(gpu(each), TRUTH.exposed(each.settings.async_scheduling)))
        for users in (2, 16, 64)
        for protocol in (INFERENCE_MAX, UNTOLD)
        for each in (
            point(users=users, protocol=protocol),
            point(users=users, output_tokens=300, protocol=protocol),
            point(users=users, prompt_tokens=4000, protocol=protocol),
        )
    ]
    found = overheads.fitted([overheads.bare(overheads.play(each), gpu(each)) for each in points])
    assert found.step == pytest.approx(TRUTH.step, rel=0.1)
    assert found.sequence == pytest.approx(TRUTH.sequence, rel=0.1)
    assert found.prompt == pytest.approx(TRUTH.prompt, rel=0.2)
    assert found.request == pytest.approx(TRUTH.request, rel=0.1)
    with pytest.raises(ValueError, match="no points"):
        overheads.fitted([])


FIT = Fit(
    [
        Reached(H100, "fp8", "Llama-3.1-70B", 0.0, Efficiencies(weights=0.6)),
        Reached(H100, "fp8", "Llama-3.1-8B", 0.0, Efficiencies(weights=0.9)),
        Reached(H200, "fp8", "Llama-3.1-70B", 0.0, Efficiencies(weights=0.3)),
    ],
    Overheads(),
    "made up",
)


def weights(step_time: StepTime) -> float:
    assert isinstance(step_time, FittedRoofline)
    return step_time.efficiencies.weights


def test_a_roofline_never_knows_the_kernels_of_what_is_left_out() -> None:
    bench = Bench((), FIT)
    assert weights(bench.roofline_without("nothing")(point())) == pytest.approx((0.6 * 0.9) ** 0.5)
    assert weights(bench.roofline_without(H100)(point())) == pytest.approx(0.3), "the mean of other GPUs"
    assert weights(bench.roofline_without("Llama-3.1-70B")(point())) == pytest.approx(0.9), "its GPU's, by other models"


@pytest.mark.parametrize(("left_out", "expected"), [(A_GPU, {H200}), (A_MODEL, {"Qwen3-32B"})])
def test_no_point_is_judged_by_a_fit_that_knows_its_gpu_or_model(
    left_out: str, expected: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []

    def watched(points: Any) -> Overheads:
        seen.append({each.played.point.gpu if left_out == A_GPU else each.played.point.model for each in points})
        return TRUTH

    monkeypatch.setattr(contenders, "fitted", watched)
    points = [point(), point(gpu=H200, model="Qwen3-32B")]
    bench = Bench([overheads.play(each) for each in points], FIT)
    step_time = bench.prepare(Contender(FITTED, left_out))
    chosen = step_time(points[0])
    assert isinstance(chosen, WithOverheads)
    assert chosen.overheads == TRUTH.exposed(True)
    step_time(points[0])
    assert seen == [expected], "a fit is made once, of the others alone"


def test_other_engines_are_compared_on_the_same_work_only() -> None:
    vllm = [point(), point(inter_token_ms=20.0), point(users=16)]
    sglang = [
        point(engine="sglang", version="0.5", inter_token_ms=30.0, ttft_ms=50.0),
        point(engine="sglang", users=99),
        point(engine="sglang", precision="bf16"),
    ]
    (row,) = ratios([*vllm, *sglang])
    assert (row["engine"], row["points"], row["inter_token"], row["ttft"]) == ("sglang", 1, [2.0] * 3, [0.5] * 3)


def test_work_that_no_gpu_can_do_is_told() -> None:
    honest = as_measured(point(), WithOverheads(Roofline(point().settings), TRUTH))
    impossible = replace(honest, ttft_ms=honest.ttft_ms / 20, inter_token_ms=honest.inter_token_ms / 20)
    assert plausible.share_of_peak(impossible) == pytest.approx(20 * plausible.share_of_peak(honest), rel=0.01)
    (row,) = plausible.told([honest, impossible], lambda each: Roofline(each.settings))
    assert (row["points"], row["faster_than_kernels"]) == (2, 1)


def judged(left_out: str, error: float, protocol: str = "InferenceMAX", ttft: float = 0.1) -> Row:
    return Row(
        "fitted roofline", left_out, "m", H100, "fp8", 1, 10, 10, 1, protocol, "fitted", error < 1, error, error, ttft
    )


def test_an_error_is_a_mean_of_absolute_values_with_its_bias() -> None:
    error = Error.of([0.1, -0.3])
    assert (error.absolute, error.bias) == pytest.approx((0.2, -0.1))
    assert error.points == 2
    assert str(error) == "20.0 (-10)"


def test_a_missed_bar_is_told_and_an_untold_protocol_does_not_count_for_first_tokens() -> None:
    assert missed([judged("the GPU", 0.09), judged("the GPU", 0.09, "not told", 3.0)]) == []
    lines = missed([judged("the GPU", 0.11, ttft=0.3), judged("nothing", 5.0)])
    assert [line.split(" % off")[0].rsplit(" ", 1)[1] for line in lines] == ["11.0", "11.0", "30.0"]


def test_results_are_read_back_and_make_a_table(tmp_path: Path) -> None:
    engines = ratios([point(), point(engine="sglang")])
    told = plausible.told([point()], lambda each: Roofline(each.settings))
    kept = Results("make fidelity", {"x": "1"}, [judged("the GPU", 0.11), judged("nothing", 0.5)], engines, told)
    save(kept, tmp_path / "f.json")
    assert load(tmp_path / "f.json") == kept
    text = "\n".join(tables(kept))
    assert "| fitted roofline | the GPU | 1 | 11.0 (+11) | 11.0 (+11) | 10.0 (+10), 1 points |" in text
    assert "- fitted roofline, the GPU left out: throughput 11.0 % off over 1 points, bar 10 %" in text
    assert text.count("| fitted roofline | the GPU | 1 |") == 2, "of all points, and of those that can be"
    assert "| sglang not told | Llama-3.1-70B | H100 | fp8 | 1 | 1.00 (1.00 to 1.00) |" in text


def test_the_page_of_the_repository_is_that_of_its_results() -> None:
    (page,) = results.files().values()
    assert results.BEGIN in page
    assert len(load().rows) == 6 * 339
