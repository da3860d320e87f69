"""Checks how the parts of a step are asked for, on made-up kernels; tests/conformance/test_kernels.py has real ones."""

from dataclasses import replace

import pytest

from tierwise_sim.hardware import find_gpu
from tierwise_sim.kernels import Kernels, KernelsUnavailable, Parts, kernels
from tierwise_sim.models import BF16, precision_of, shape_of
from tierwise_sim.settings import EngineSettings
from tierwise_sim.step_time import Batch

H100 = EngineSettings(
    model="meta-llama/Llama-3.1-8B", shape=shape_of("8B"), precision=BF16, gpu=find_gpu("NVIDIA-H100-80GB-HBM3")
)


class Made:
    """Milliseconds: 1 per token, 0.1 per query-key pair in thousands, 0.01 per token in a cache."""

    def __init__(self, slow: int | None = None) -> None:
        self.asked: list[tuple[int, ...]] = []
        self._slow = slow

    def decode_step_latency(self, sequences: int, context: int, output: int, /) -> float:
        self.asked.append((sequences, context))
        return (100.0 if sequences == self._slow else sequences) + 0.01 * sequences * context

    def mixed_step_breakdown(
        self, prompt_tokens: int, sequences: int, prompt: int, output: int, cached: int, /
    ) -> tuple[float, float, float, float]:
        if not cached < prompt:
            raise ValueError("isl must be greater than 0 after removing prefix")
        self.asked.append((prompt_tokens, sequences, prompt, cached))
        shared = float(prompt_tokens + sequences)
        pairs = prompt_tokens * (prompt + cached) / 2
        return 0.0, shared, pairs / 10_000, 0.01 * sequences * prompt


def test_a_decode_step_is_asked_for_by_its_mean_context_between_two_grid_points() -> None:
    made = Made()
    step = Kernels(H100, Parts(made))
    assert step.seconds(Batch(4, 4 * 100)) == pytest.approx((4 + 0.01 * 4 * 100) / 1000)
    assert {(1, 4, 96, 0), (1, 4, 128, 0)} <= set(made.asked)
    asked = len(made.asked)
    step.seconds(Batch(4, 4 * 120))
    assert len(made.asked) == asked, "answers are kept"


def test_a_step_is_never_longer_than_a_larger_one() -> None:
    assert Kernels(H100, Parts(Made(slow=4))).seconds(Batch(4, 4 * 100)) == pytest.approx((8 + 0.01 * 4 * 100) / 1000)


def test_a_mixed_step_is_the_sum_of_its_three_parts() -> None:
    made = Made()
    chunk = Batch(8, 8 * 500, prefill=1000, prefill_context=3000, prefill_pairs=1000 * 2500, prefills=1)
    pairs = 1000 * (3000 + 2000) / 2 / 10_000
    assert Kernels(H100, Parts(made)).seconds(chunk) == pytest.approx((1008 + pairs + 0.01 * 8 * 500) / 1000)
    assert (1000, 1, 3000, 2000) in made.asked, "a chunk attends to what was computed of its prompt before"


def test_several_prompts_in_a_step_attend_each_to_itself() -> None:
    made = Made()
    Kernels(H100, Parts(made)).seconds(Batch(prefill=4000, prefill_context=4000, prefills=4))
    assert (4000, 1, 1000, 0) in made.asked


def test_drafts_are_computed_like_prompt_tokens_and_read_the_cache_once() -> None:
    step = Kernels(H100, Parts(Made()))
    drafted = step.seconds(Batch(4, 4 * 1000, drafted=3))
    assert drafted == pytest.approx((12 + 4 + 0.01 * 4 * 1000) / 1000)


def test_speed_divides_and_nothing_waits() -> None:
    made = Made()
    batch = Batch(8, 8 * 500, prefill=1000, prefill_context=1000, prefills=1)
    slow, fast = Kernels(H100, Parts(made)), Kernels(replace(H100, speed=4.0), Parts(made))
    assert fast.seconds(batch) == pytest.approx(slow.seconds(batch) / 4)
    assert fast.decode_seconds(8)(4000) == pytest.approx(slow.decode_seconds(8)(4000) / 4)
    assert slow.request_seconds == 0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (replace(H100, gpu=find_gpu("NVIDIA-L4")), "no kernels were measured on NVIDIA-L4"),
        (replace(H100, model="mistralai/Mistral-7B"), "no layers are known of mistralai/Mistral-7B"),
        (replace(H100, precision=precision_of("x-AWQ", None)), "w4a16 weights"),
        (replace(H100, kv_element_bytes=0.5), "0.5 bytes per element"),
        (replace(H100, pipeline_parallel=2), "pipeline parallelism"),
    ],
)
def test_what_is_missing_is_told(settings: EngineSettings, says: str) -> None:
    with pytest.raises(KernelsUnavailable, match=says):
        kernels(settings)
