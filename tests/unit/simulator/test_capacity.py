"""Checks that the closed form predicts what the engine model then does."""

from dataclasses import replace
from random import Random

import pytest

from tierwise_sim.capacity import Workload, at_running, capacity, max_running, running_at_rate
from tierwise_sim.engine import Engine
from tierwise_sim.hardware import find_gpu
from tierwise_sim.sequence import Request
from tierwise_sim.settings import EngineSettings
from tierwise_sim.speculation import Speculation

L4 = EngineSettings(max_model_len=8192, max_num_seqs=16)
CHAT = Workload(500, 200)


def measured_rate(settings: EngineSettings, workload: Workload, users: int, seconds: float) -> tuple[float, int]:
    """(requests per second, most requests running) of `users` who ask again at once; the first third is warm-up."""
    engine, rng = Engine(settings, Random(1)), Random(2)
    names = iter(range(10**9))

    def ask() -> None:
        prompt = max(1, round(workload.prompt_tokens * rng.uniform(0.7, 1.3)))
        output = max(1, round(workload.output_tokens * rng.uniform(0.7, 1.3)))
        engine.submit(Request(str(next(names)), prompt, output), engine.now)

    for _ in range(users):
        ask()
    warm, most = 0, 0
    while (due := engine.next_event) is not None and due < seconds:
        for _ in engine.advance(due):
            ask()
        most = max(most, len(engine.running))
        if engine.now < seconds / 3:
            warm = engine.stats.finished["length"]
    return (engine.stats.finished["length"] - warm) / (seconds * 2 / 3), most


@pytest.mark.parametrize(
    ("settings", "workload", "seconds"),
    [
        (L4, CHAT, 180),
        (L4, Workload(4000, 50), 180),
        (replace(L4, max_num_seqs=256), Workload(1000, 200), 180),
        (replace(L4, max_num_seqs=8, speculation=Speculation("eagle3", 3, 0.7, 0.35)), CHAT, 180),
        (
            replace(L4, gpu=find_gpu("NVIDIA-H100-80GB-HBM3"), max_num_batched_tokens=8192, max_num_seqs=64),
            Workload(1000, 200),
            30,
        ),
    ],
    ids=["seats", "prefill-bound", "memory-bound", "speculation", "h100"],
)
def test_predicted_throughput_is_within_fifteen_per_cent_of_the_engine(
    settings: EngineSettings, workload: Workload, seconds: float
) -> None:
    predicted = capacity(settings, workload)
    rate, most = measured_rate(settings, workload, predicted.running, seconds)
    assert predicted.requests_per_second == pytest.approx(rate, rel=0.15)
    assert most <= predicted.running
    assert predicted.tokens_per_second == pytest.approx(predicted.requests_per_second * workload.output_tokens)


def test_seats_or_memory_limit_concurrency() -> None:
    assert max_running(L4, CHAT) == 16
    wide = replace(L4, max_num_seqs=1024)
    assert max_running(wide, CHAT) == pytest.approx(L4.kv_tokens / 608, abs=1)


def test_littles_law_at_a_given_rate() -> None:
    running = running_at_rate(L4, CHAT, 0.5)
    assert running is not None
    here = at_running(L4, CHAT, running)
    assert here.requests_per_second >= 0.5
    assert running <= here.request_seconds * 0.5 + 2
    assert running_at_rate(L4, CHAT, 100.0) is None


def test_speed_and_hardware_raise_capacity() -> None:
    base = capacity(L4, CHAT).requests_per_second
    assert capacity(replace(L4, speed=5.0), CHAT).requests_per_second == pytest.approx(5 * base)
    assert capacity(replace(L4, gpu=find_gpu("NVIDIA-H100-80GB-HBM3")), CHAT).requests_per_second > 4 * base


def test_a_cached_prompt_saves_prefill() -> None:
    long = Workload(4000, 50)
    assert (
        capacity(L4, replace(long, cached_share=0.9)).requests_per_second > 2 * capacity(L4, long).requests_per_second
    )
