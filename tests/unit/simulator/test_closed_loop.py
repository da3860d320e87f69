"""Checks that a schedule without durations gives the times that a run of the engine gives."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise_sim.closed_loop import Answer, figures, play, schedule, timed
from tierwise_sim.engine import Engine
from tierwise_sim.fitted import FittedRoofline
from tierwise_sim.sequence import Request
from tierwise_sim.settings import EngineSettings
from tierwise_sim.step_time import Overheads, WithOverheads

L4 = EngineSettings(max_model_len=8192, max_num_seqs=64)
requests = st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 200)), min_size=1, max_size=24)


def asked(lengths: list[tuple[int, int]]) -> list[Request]:
    return [Request(str(n), prompt, output) for n, (prompt, output) in enumerate(lengths)]


@settings(max_examples=60, deadline=None)
@given(requests, st.integers(1, 12), st.sampled_from([512, 2048, 8192]))
def test_a_schedule_gives_the_times_of_a_run(lengths: list[tuple[int, int]], users: int, budget: int) -> None:
    engine_settings = replace(L4, max_num_batched_tokens=budget)
    step_time = WithOverheads(FittedRoofline(engine_settings), Overheads(step=1e-3, sequence=1e-5, prompt=2e-3))
    run = play(Engine(engine_settings, Random(0), step_time=step_time), asked(lengths), users)
    told = timed(schedule(engine_settings, asked(lengths), users), step_time)
    assert len(run) == len(told) == len(lengths)
    for one, other in zip(run, told, strict=True):
        assert other.output_tokens == one.output_tokens
        assert other.asked == pytest.approx(one.asked, rel=1e-3, abs=1e-9)
        assert other.first_token == pytest.approx(one.first_token, rel=1e-3)
        assert other.end == pytest.approx(one.end, rel=1e-3)


def test_a_schedule_holds_where_memory_is_short() -> None:
    tight = replace(L4, kv_blocks_override=600)
    lengths = [(900, 300)] * 30
    step_time = FittedRoofline(tight)
    run = figures(play(Engine(tight, Random(0), step_time=step_time), asked(lengths), 20))
    told = figures(timed(schedule(tight, asked(lengths), 20), step_time))
    assert (told.ttft, told.inter_token) == pytest.approx((run.ttft, run.inter_token), rel=1e-3)


def test_what_a_request_waits_first_is_added_to_its_first_token() -> None:
    lengths = [(100, 50)] * 8
    step_time = WithOverheads(FittedRoofline(L4), Overheads(request=0.04))
    run = figures(play(Engine(L4, Random(0), step_time=step_time), asked(lengths), 2))
    told = figures(timed(schedule(L4, asked(lengths), 2), step_time))
    assert told.ttft == pytest.approx(run.ttft, rel=0.05)
    assert told.ttft > 0.04


def test_never_more_than_the_users_are_open_and_the_next_asks_when_one_is_answered() -> None:
    answers = play(Engine(L4, Random(0)), asked([(50, 20 + n % 7) for n in range(40)]), 5)
    assert len(answers) == 40
    ends = {answer.end for answer in answers}
    assert sum(answer.asked == 0 for answer in answers) == 5
    assert all(answer.asked in ends for answer in answers if answer.asked)


def test_figures_are_means_over_requests() -> None:
    found = figures([Answer(0.0, 1.0, 3.0, 3), Answer(1.0, 1.5, 1.5, 1), Answer(2.0, 2.5, 6.5, 5)])
    assert found.ttft == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert found.inter_token == pytest.approx(1.0), "a single token has no gap"
    assert found.tokens_per_second == pytest.approx(9 / 6.5)
    with pytest.raises(ValueError, match="two tokens"):
        figures([Answer(0.0, 1.0, 1.0, 1)])


def test_a_refused_request_ends_the_run() -> None:
    engine = Engine(replace(L4, max_num_queued_reqs=1), Random(0))
    with pytest.raises(RuntimeError, match="request 1 was refused: max_num_queued_reqs"):
        play(engine, asked([(10, 10)] * 3), 2)
