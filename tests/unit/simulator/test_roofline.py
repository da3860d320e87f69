"""Checks that the step-time model ranks hardware and tactics as measurements do."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise_sim.hardware import GPUS, find_gpu
from tierwise_sim.models import BF16, precision_of, shape_of
from tierwise_sim.roofline import Roofline
from tierwise_sim.settings import EngineSettings
from tierwise_sim.speculation import Speculation
from tierwise_sim.step_time import Batch

L4 = EngineSettings()
H100 = replace(L4, gpu=find_gpu("NVIDIA-H100-80GB-HBM3"))

batches = st.builds(
    Batch,
    decodes=st.integers(0, 256),
    decode_context=st.integers(0, 80_000),
    prefill=st.integers(1, 2048),
    prefill_context=st.integers(0, 8192),
    prefill_pairs=st.floats(0, 1e7),
)


def seconds(settings: EngineSettings, batch: Batch) -> float:
    return Roofline(settings).seconds(batch)


def test_an_8b_in_bf16_on_an_h100_decodes_158_tokens_per_second_as_published() -> None:
    settings = replace(H100, precision=BF16)
    assert 1 / seconds(settings, Batch(decodes=1, decode_context=500)) == pytest.approx(158, rel=0.02)


@given(batches)
def test_a_gpu_that_is_better_in_everything_is_never_slower(batch: Batch) -> None:
    assert seconds(H100, batch) <= seconds(L4, batch)


@given(batches, st.integers(1, 64), st.integers(1, 4096))
def test_more_work_never_takes_less_time(batch: Batch, decodes: int, context: int) -> None:
    more = replace(batch, decodes=batch.decodes + decodes, decode_context=batch.decode_context + context)
    assert seconds(L4, more) >= seconds(L4, batch)


@given(st.integers(1, 256), st.integers(1, 200_000))
def test_runs_of_decode_steps_cost_exactly_what_single_steps_do(decodes: int, context: int) -> None:
    step = Roofline(L4)
    assert step.decode_seconds(decodes)(context) == step.seconds(Batch(decodes=decodes, decode_context=context))


@pytest.mark.parametrize("gpu", ["NVIDIA-L4", "NVIDIA-A10G", "NVIDIA-H100-80GB-HBM3"])
def test_fewer_bits_decode_faster_at_batch_one(gpu: str) -> None:
    names = ["Qwen/Qwen3-8B", "Qwen/Qwen3-8B-FP8", "Qwen/Qwen3-8B-AWQ"]
    times = [
        seconds(replace(L4, gpu=find_gpu(gpu), precision=precision_of(name, None)), Batch(1, 500)) for name in names
    ]
    assert times == sorted(times, reverse=True)
    assert times[0] / times[1] > 1.5


def test_weight_only_quantization_does_not_speed_up_prefill_but_fp8_units_do() -> None:
    prompt = Batch(prefill=2048, prefill_context=2048, prefill_pairs=2048 * 1024)
    bf16 = seconds(replace(L4, precision=BF16), prompt)
    assert seconds(replace(L4, precision=precision_of("x-AWQ", None)), prompt) == pytest.approx(bf16, rel=0.01)
    assert seconds(L4, prompt) < 0.6 * bf16


def test_batching_is_nearly_free_while_bytes_dominate() -> None:
    assert seconds(L4, Batch(32, 32 * 200)) < 1.2 * seconds(L4, Batch(1, 200))


def test_speed_divides_every_step() -> None:
    batch = Batch(8, 4000, prefill=512, prefill_context=512, prefill_pairs=512 * 256)
    assert seconds(replace(L4, speed=10.0), batch) == pytest.approx(seconds(L4, batch) / 10)


def test_tensor_parallelism_shortens_steps_but_less_than_linearly() -> None:
    big = replace(H100, shape=shape_of("70B"), precision=BF16)
    one, four = (seconds(replace(big, tensor_parallel=count), Batch(8, 8000)) for count in (1, 4))
    assert one / 4 < four < one / 2


def test_a_mixture_of_experts_reads_more_experts_as_the_batch_grows() -> None:
    moe = replace(H100, shape=shape_of("Qwen3-30B-A3B"), precision=BF16)
    alone, crowd = seconds(moe, Batch(1, 100)), seconds(moe, Batch(64, 6400))
    assert crowd > 4 * alone
    assert crowd < seconds(replace(H100, shape=shape_of("30B"), precision=BF16), Batch(64, 6400)) * 1.1


def per_token(settings: EngineSettings, batch: int, drafted: int) -> float:
    """Seconds per token and sequence at this batch, with short contexts."""
    step = seconds(settings, Batch(batch, batch * 300, drafted))
    return step / (settings.speculation.expected_tokens(drafted) if settings.speculation else 1.0)


@pytest.mark.parametrize("method", ["eagle3", "ngram", "draft_model"])
@pytest.mark.parametrize("gpu", ["NVIDIA-L4", "NVIDIA-H100-80GB-HBM3"])
def test_speculation_pays_at_batch_one_and_not_at_a_high_batch(method: str, gpu: str) -> None:
    draft = {"eagle3": 0.35, "ngram": 0.0, "draft_model": 0.6}[method]
    speculation = Speculation(method, 3, 0.6, draft)
    settings = replace(L4, gpu=find_gpu(gpu), speculation=speculation)
    assert per_token(settings, 1, 3) < 0.8 * per_token(settings, 1, 0)
    assert per_token(settings, 512, 3) > per_token(settings, 512, 0)


def test_every_profile_gives_a_positive_finite_step() -> None:
    for gpu in GPUS:
        step = seconds(replace(L4, gpu=gpu), Batch(1, 1))
        assert 0 < step < 1
