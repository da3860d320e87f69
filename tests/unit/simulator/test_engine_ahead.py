"""Checks that an engine that plans ahead, and is cut where somebody comes, does what one that is asked always does."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise_sim.engine import Engine
from tierwise_sim.sequence import Rejection, Request, Sequence
from tierwise_sim.settings import EngineSettings

ROOMY = EngineSettings(max_model_len=2048, max_num_seqs=6, max_num_batched_tokens=256)
TIGHT = EngineSettings(max_model_len=512, max_num_seqs=6, max_num_batched_tokens=64, kv_blocks_override=40)


@dataclass(frozen=True)
class Ask:
    gap: float
    prompt: int
    output: int


asks = st.lists(
    st.builds(Ask, st.sampled_from([0.0, 0.013, 0.4, 3.0]), st.integers(1, 300), st.integers(1, 150)),
    min_size=1,
    max_size=12,
)


def arrivals(found: list[Ask]) -> list[tuple[float, Request]]:
    at, made = 0.0, []
    for number, ask in enumerate(found):
        at += ask.gap
        made.append((at, Request(str(number), ask.prompt, ask.output)))
    return made


def submitted(engine: Engine, request: Request, at: float) -> Sequence:
    taken = engine.submit(request, at)
    assert not isinstance(taken, Rejection)
    return taken


def asked_all_the_time(of: EngineSettings, found: list[Ask]) -> list[Sequence]:
    engine, sequences, now = Engine(of, Random(0)), [], 0.0
    for at, request in arrivals(found):
        while now < at:
            now = min(at, now + 0.05)
            engine.advance(now)
        engine.advance(at)
        sequences.append(submitted(engine, request, at))
    while engine.unfinished:
        now += 0.05
        engine.advance(now)
    return sequences


def woken_by_events(engine: Engine, found: list[Ask], ahead: float) -> list[Sequence]:
    sequences, todo = [], arrivals(found)
    while todo or engine.unfinished:
        wake = engine.next_event
        if todo and (wake is None or todo[0][0] <= wake):
            at, request = todo.pop(0)
            engine.advance(at)
            sequences.append(submitted(engine, request, at))
        else:
            assert wake is not None
            engine.advance(wake, ahead)
    return sequences


def story(sequences: list[Sequence]) -> list[tuple[object, ...]]:
    return [
        (each.finish, each.generated, round(each.first_token_at or -1, 6), round(each.finished_at or -1, 6))
        for each in sequences
    ]


@given(asks, st.sampled_from([0.02, 1.0, 30.0]))
@settings(max_examples=150, deadline=None)
def test_planning_ahead_changes_nothing_where_memory_lasts(found: list[Ask], ahead: float) -> None:
    assert story(woken_by_events(Engine(ROOMY, Random(0)), found, ahead)) == story(asked_all_the_time(ROOMY, found))


@given(asks, st.sampled_from([0.02, 1.0, 30.0]))
@settings(max_examples=100, deadline=None)
def test_with_little_memory_every_request_is_answered_in_full_and_all_memory_comes_back(
    found: list[Ask], ahead: float
) -> None:
    engine = Engine(TIGHT, Random(0))
    sequences = woken_by_events(engine, found, ahead)
    assert [each.generated for each in sequences] == [each.request.output_tokens for each in sequences]
    assert engine.pool.used == 0


def test_a_plan_ahead_is_cut_where_the_engine_is_measured() -> None:
    engine = Engine(ROOMY, Random(0))
    submitted(engine, Request("a", 10, 1000), 0.0)
    engine.advance(0.0, ahead=100.0)
    wake = engine.next_event
    assert wake is not None
    engine.advance(wake, ahead=100.0)  # the prompt; now all tokens are planned
    assert engine.next_event is not None
    assert engine.next_event > 5.0
    before = engine.pool.used
    engine.advance(2.0)
    assert engine.next_event == pytest.approx(2.0, abs=0.1)
    assert 0 < engine.running[0].generated < 1000
    assert engine.pool.used < before, "what was reserved for later steps is free again"
    assert engine.pool.used == ROOMY.blocks_for(10 + engine.running[0].generated)
