"""Checks what every source of step times has in common, and that overheads add what they say."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise_sim.calibrated import Calibrated, Rates
from tierwise_sim.engine import Engine
from tierwise_sim.fitted import Efficiencies, Fit, FittedRoofline, Reached, shipped
from tierwise_sim.hardware import GPUS, find_gpu
from tierwise_sim.models import BF16, precision_of, shape_of
from tierwise_sim.roofline import Roofline
from tierwise_sim.sequence import Request
from tierwise_sim.settings import EngineSettings
from tierwise_sim.speculation import Speculation
from tierwise_sim.step_source import step_source, step_source_for
from tierwise_sim.step_time import Batch, Overheads, StepTime, WithOverheads

L4 = EngineSettings()
SOME = Overheads(step=0.002, sequence=1e-5, prompt=0.003, request=0.05)
RATES = Rates(weights=0.005, token=2e-5, context=1e-8, pair=1e-10)

SOURCES: dict[str, Callable[[EngineSettings], StepTime]] = {
    "roofline": Roofline,
    "fitted": FittedRoofline,
    "with overheads": lambda settings: WithOverheads(FittedRoofline(settings), SOME, settings.speed),
    "calibrated": lambda settings: Calibrated(RATES, SOME, settings.speed),
}
batches = st.builds(
    Batch,
    decodes=st.integers(1, 256),
    decode_context=st.integers(256, 80_000),
    prefill=st.integers(0, 2048),
    prefill_context=st.integers(2048, 8192),
    prefill_pairs=st.floats(0, 1e7),
    prefills=st.integers(0, 8),
)


@pytest.mark.parametrize("name", SOURCES)
@given(decodes=st.integers(1, 256), context=st.integers(256, 200_000))
def test_runs_of_decode_steps_cost_what_single_steps_do(name: str, decodes: int, context: int) -> None:
    step = SOURCES[name](L4)
    single = step.seconds(Batch(decodes=decodes, decode_context=context))
    assert step.decode_seconds(decodes)(context) == pytest.approx(single, rel=1e-12)


@pytest.mark.parametrize("name", SOURCES)
@given(batch=batches, decodes=st.integers(0, 64), context=st.integers(0, 4096), prefill=st.integers(0, 2048))
def test_more_work_never_takes_less_time(name: str, batch: Batch, decodes: int, context: int, prefill: int) -> None:
    more = replace(
        batch,
        decodes=batch.decodes + decodes,
        decode_context=batch.decode_context + context,
        prefill=batch.prefill + prefill,
    )
    step = SOURCES[name](L4)
    assert step.seconds(more) >= step.seconds(batch) > 0


@pytest.mark.parametrize("name", SOURCES)
@given(batch=batches)
def test_speed_divides_everything(name: str, batch: Batch) -> None:
    slow, fast = SOURCES[name](L4), SOURCES[name](replace(L4, speed=10.0))
    assert fast.seconds(batch) == pytest.approx(slow.seconds(batch) / 10)
    assert fast.request_seconds == pytest.approx(slow.request_seconds / 10)


@given(batches)
def test_overheads_add_what_they_say(batch: Batch) -> None:
    bare, more = FittedRoofline(L4), WithOverheads(FittedRoofline(L4), SOME)
    added = 0.002 + 1e-5 * batch.decodes + 0.003 * batch.prefills
    assert more.seconds(batch) - bare.seconds(batch) == pytest.approx(added)
    assert more.request_seconds == 0.05


def test_a_request_reaches_the_scheduler_after_its_overhead_and_never_before() -> None:
    step_time = WithOverheads(Roofline(L4), Overheads(request=0.5))
    engine = Engine(L4, Random(0), step_time=step_time)
    alone = engine.submit(Request("a", 100, 4), 1.0)
    assert engine.next_event == 1.5
    assert engine.advance(1.4) == []
    engine.advance(10.0)
    assert (alone.scheduled_at, alone.arrival) == (1.5, 1.0)  # type: ignore[union-attr]
    first = engine.submit(Request("b", 100, 4000), 10.0)
    engine.advance(11.0)
    second = engine.submit(Request("c", 100, 4), 11.0)
    engine.advance(12.0)
    assert first.scheduled_at == 10.5  # type: ignore[union-attr]
    late = second.scheduled_at  # type: ignore[union-attr]
    assert late is not None
    assert 11.5 <= late < 11.5 + 0.05, "it joins at the first step that begins after it has arrived"


@given(st.integers(1, 6), st.floats(0.0, 0.3))
def test_any_pace_gives_the_same_times_when_requests_wait_first(count: int, request: float) -> None:
    def times(pace: float) -> list[tuple[float | None, float | None]]:
        engine = Engine(L4, Random(0), step_time=WithOverheads(Roofline(L4), Overheads(request=request)))
        found, now = [], 0.0
        for number in range(count):
            while now + pace < number * 0.17:
                now += pace
                engine.advance(now)
            engine.advance(number * 0.17)
            found.append(engine.submit(Request(str(number), 50, 30), number * 0.17))
        engine.advance(100.0)
        return [(each.first_token_at, each.finished_at) for each in found]  # type: ignore[union-attr]

    for one, other in zip(times(0.01), times(100.0), strict=True):
        assert one == pytest.approx(other)


def test_the_fitted_roofline_ranks_tactics_as_the_plain_one_does() -> None:
    names = ["Qwen/Qwen3-8B", "Qwen/Qwen3-8B-FP8", "Qwen/Qwen3-8B-AWQ"]
    times = [FittedRoofline(replace(L4, precision=precision_of(name, None))).seconds(Batch(1, 500)) for name in names]
    assert times == sorted(times, reverse=True)
    spoken = replace(L4, speculation=Speculation("eagle3", 3, 0.6, 0.35))
    one, many = (
        FittedRoofline(spoken).seconds(Batch(n, 300 * n, 3)) / FittedRoofline(L4).seconds(Batch(n, 300 * n))
        for n in (1, 512)
    )
    assert one < 1.6
    assert many > one, "a draft is nearly free at batch 1, and costs its arithmetic at a high batch"


def test_the_parts_of_a_step_are_added_where_the_plain_roofline_lets_them_overlap() -> None:
    same = Efficiencies(weights=0.75, cache=0.75, products=0.5, attention=0.5)
    prompt = Batch(64, 64 * 3000, prefill=2048, prefill_context=2048, prefill_pairs=2048 * 1024)
    assert FittedRoofline(L4, same).seconds(prompt) > 1.2 * Roofline(L4).seconds(prompt)


def test_a_mean_is_geometric_and_needs_something() -> None:
    mean = Efficiencies.mean([Efficiencies(weights=0.2), Efficiencies(weights=0.8)])
    assert mean.weights == pytest.approx(0.4)
    assert mean.cache == pytest.approx(Efficiencies().cache)
    with pytest.raises(ValueError, match="at least one"):
        Efficiencies.mean([])


def test_a_gpu_of_its_own_comes_before_the_mean_of_others() -> None:
    fit = Fit(
        [
            Reached("NVIDIA-L4", "fp8", "m", 0.0, Efficiencies(weights=0.9)),
            Reached("NVIDIA-H200", "fp8", "m", 0.0, Efficiencies(weights=0.2)),
            Reached("NVIDIA-H200", "fp8", "n", 0.0, Efficiencies(weights=0.8)),
        ],
        Overheads(),
        "made up",
    )
    own = fit.of(L4)
    assert own is not None
    assert own[0].weights == pytest.approx(0.9)
    assert own[1] == "NVIDIA-L4 in fp8"
    other = fit.of(replace(L4, gpu=find_gpu("NVIDIA-B200")))
    assert other is not None
    assert other[0].weights == pytest.approx(0.6)
    assert other[1] == "the mean of 2 other GPUs in fp8"
    assert fit.of(replace(L4, precision=BF16)) is None
    without = fit.without("NVIDIA-L4").of(L4)
    assert without is not None
    assert without[0].weights == pytest.approx(0.4)
    assert len(fit.without("n").reached) == 2


def test_what_is_shipped_is_complete_and_says_where_it_comes_from() -> None:
    fit = shipped()
    assert "aiconfigurator-core" in fit.source
    assert {each.arithmetic for each in fit.reached} == {"bf16", "fp8", "fp4"}
    for each in fit.reached:
        for share in ("weights", "cache", "products", "attention", "link"):
            assert 0 < getattr(each.efficiencies, share) <= 1
    assert 0 < fit.overheads.request < 0.2
    for gpu in GPUS:
        found = step_source(replace(L4, gpu=gpu), measured_kernels=False)
        assert found.source == "fitted"
        assert 0.001 < found.step_time.seconds(Batch(1, 500)) < 0.2


def test_the_choice_says_what_it_was_and_what_was_missing() -> None:
    found = step_source_for("meta-llama/Llama-3.1-70B", "NVIDIA-L4", quantization="fp8_per_tensor", tensor_parallel=8)
    assert found.source == "fitted"
    assert "no kernels were measured on NVIDIA-L4" in found.detail
    plain = step_source(replace(L4, precision=replace(L4.precision, arithmetic="int8")), measured_kernels=False)
    assert plain.source == "roofline"
    assert shape_of("70B").layers == 80
