"""Checks that the engine model serves every request exactly, in order, within its limits, and the same at any pace."""

from dataclasses import dataclass, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwise_sim.engine import Engine
from tierwise_sim.sequence import Rejection, Request, Sequence
from tierwise_sim.settings import EngineSettings
from tierwise_sim.speculation import Speculation

SMALL = EngineSettings(max_model_len=512, max_num_seqs=6, max_num_batched_tokens=64, kv_blocks_override=40, speed=10.0)
LARGE = EngineSettings(max_model_len=8192)


@dataclass(frozen=True)
class Ask:
    gap: float
    prompt: int
    output: int
    family: int


asks = st.lists(
    st.builds(
        Ask,
        gap=st.sampled_from([0.0, 0.0, 0.01, 0.3, 2.0]),
        prompt=st.integers(1, 300),
        output=st.integers(1, 120),
        family=st.integers(0, 3),
    ),
    min_size=1,
    max_size=25,
)
speculations = st.one_of(st.none(), st.builds(Speculation, st.just("ngram"), st.integers(1, 4), st.floats(0, 1)))


def request(name: str, prompt: int, output: int, family: int = 0) -> Request:
    """A request whose prompt shares its blocks within a family, and whose answer is its own."""
    shared = [family * 1000 + block for block in range(prompt // 16)]
    own = [int(name) * 1000 + 100_000 + block for block in range((prompt + output) // 16 - prompt // 16)]
    hashes = shared + own
    return Request(name, prompt, output, block_hashes=hashes)


def play(engine: Engine, wanted: list[Ask], pace: float | None = None) -> list[Sequence]:
    """Submit at the asked times, advancing in steps of `pace` seconds (or from one arrival to the next)."""
    taken: list[Sequence] = []
    now = 0.0
    for index, ask in enumerate(wanted):
        target = now + ask.gap
        while pace is not None and now + pace < target:
            now += pace
            engine.advance(now)
        now = target
        engine.advance(now)
        outcome = engine.submit(request(str(index), ask.prompt, ask.output, ask.family), now)
        assert isinstance(outcome, Sequence)
        taken.append(outcome)
        check_limits(engine)
    while engine.unfinished:
        now = now + pace if pace is not None else (engine.next_event or now)
        engine.advance(now)
        check_limits(engine)
    return taken


def check_limits(engine: Engine) -> None:
    assert len(engine.running) <= engine.settings.max_num_seqs
    assert engine.pool.used <= engine.pool.capacity
    assert engine.pool.used <= sum(s.holding.blocks for s in engine.running)
    assert all(s.holding.blocks == 0 for s in engine.waiting)


@settings(deadline=None, max_examples=50)
@given(asks, speculations)
def test_no_request_is_lost_and_tokens_are_exact(wanted: list[Ask], speculation: Speculation | None) -> None:
    engine = Engine(replace(SMALL, speculation=speculation), Random(1))
    taken = play(engine, wanted)
    assert [s.finish for s in taken] == ["length"] * len(wanted)
    assert [s.generated for s in taken] == [ask.output for ask in wanted]
    stats = engine.stats
    assert stats.generation_tokens == sum(ask.output for ask in wanted)
    assert stats.prompt_tokens == sum(ask.prompt for ask in wanted) == stats.prefix_queries
    assert stats.finished["length"] == len(wanted) == stats.e2e_latency.count == stats.time_to_first_token.count
    assert stats.prefix_hits == sum(s.cached_tokens for s in taken)
    assert stats.preemptions == sum(s.preemptions for s in taken)
    assert engine.pool.used == 0
    for s in taken:
        assert s.scheduled_at is not None
        assert s.first_token_at is not None
        assert s.finished_at is not None
        assert s.arrival <= s.scheduled_at < s.first_token_at <= s.last_token_at == s.finished_at


@settings(deadline=None, max_examples=50)
@given(asks)
def test_requests_start_in_the_order_they_came(wanted: list[Ask]) -> None:
    taken = play(Engine(SMALL, Random(1)), wanted)
    starts = [s.scheduled_at for s in taken]
    assert starts == sorted(start for start in starts if start is not None)


@settings(deadline=None, max_examples=50)
@given(asks, st.sampled_from([0.007, 0.05, 0.4]), speculations)
def test_the_pace_at_which_it_is_told_the_time_changes_nothing(
    wanted: list[Ask], pace: float, speculation: Speculation | None
) -> None:
    engines = [Engine(replace(SMALL, speculation=speculation), Random(3)) for _ in range(2)]
    coarse, fine = play(engines[0], wanted), play(engines[1], wanted, pace)
    for one, other in zip(coarse, fine, strict=True):
        assert (one.generated, one.cached_tokens, one.preemptions) == (
            other.generated,
            other.cached_tokens,
            other.preemptions,
        )
        assert one.finished_at == pytest.approx(other.finished_at)
        assert one.first_token_at == pytest.approx(other.first_token_at)
    assert engines[0].stats.steps == engines[1].stats.steps
    assert engines[0].stats.iteration_tokens.counts == engines[1].stats.iteration_tokens.counts


@settings(deadline=None, max_examples=50)
@given(asks, st.data())
def test_aborts_leave_no_blocks_and_no_backlog_behind(wanted: list[Ask], data: st.DataObject) -> None:
    engine = Engine(SMALL, Random(1))
    now, alive = 0.0, []
    for index, ask in enumerate(wanted):
        now += ask.gap
        engine.advance(now)
        outcome = engine.submit(request(str(index), ask.prompt, ask.output, ask.family), now)
        assert isinstance(outcome, Sequence)
        alive.append(outcome)
        if data.draw(st.booleans()):
            engine.abort(data.draw(st.sampled_from(alive)), now)
    engine.advance(now + 1000)
    assert engine.unfinished == 0
    assert engine.pool.used == 0
    assert engine.stats.finished["abort"] + engine.stats.finished["length"] == len(wanted)
    assert engine.next_event is None


def test_a_lone_request_takes_prefill_plus_one_step_per_token() -> None:
    engine = Engine(LARGE, Random(0))
    sequence = engine.submit(Request("a", 1000, 11), 0.0)
    assert isinstance(sequence, Sequence)
    engine.advance(100.0)
    assert sequence.first_token_at is not None
    assert sequence.finished_at is not None
    assert sequence.first_token_at == pytest.approx(0.141, rel=0.1)
    assert (sequence.finished_at - sequence.first_token_at) / 10 == pytest.approx(0.038, rel=0.1)
    assert engine.stats.steps == 11


def test_a_long_prompt_is_computed_in_chunks_beside_running_decodes() -> None:
    engine = Engine(replace(LARGE, max_num_batched_tokens=512, max_num_seqs=8), Random(0))
    first = engine.submit(Request("short", 10, 50), 0.0)
    engine.advance(0.2)
    second = engine.submit(Request("long", 4000, 5), 0.2)
    assert isinstance(first, Sequence)
    assert isinstance(second, Sequence)
    before = first.generated
    while second.first_token_at is None:
        engine.advance(engine.next_event or 0.0)
    assert first.generated - before >= 4000 // 512


def test_the_last_token_of_a_prompt_alone_in_a_chunk_is_still_the_first_token() -> None:
    engine = Engine(replace(LARGE, max_num_batched_tokens=512, max_num_seqs=8), Random(0))
    sequence = engine.submit(Request("a", 513, 2), 0.0)
    engine.advance(60.0)
    assert isinstance(sequence, Sequence)
    assert sequence.first_token_at is not None
    assert engine.stats.time_to_first_token.count == 1


def test_a_repeated_prompt_hits_all_but_its_last_block() -> None:
    engine = Engine(LARGE, Random(0))
    hashes = list(range(100))
    outcomes = []
    for name in ("a", "b"):
        outcomes.append(engine.submit(Request(name, 160, 10, block_hashes=hashes[:10]), engine.now))
        engine.advance(engine.now + 60)
    second = outcomes[1]
    assert isinstance(second, Sequence)
    assert second.cached_tokens == 144
    assert (engine.stats.prefix_queries, engine.stats.prefix_hits) == (320, 144)


def test_the_next_turn_of_a_conversation_finds_the_answer_too() -> None:
    engine = Engine(LARGE, Random(0))
    engine.submit(Request("turn 1", 160, 161, block_hashes=list(range(20))), 0.0)
    engine.advance(60.0)
    second = engine.submit(Request("turn 2", 400, 10, block_hashes=list(range(25))), 60.0)
    engine.advance(120.0)
    assert isinstance(second, Sequence)
    assert second.cached_tokens == 320


def test_without_prefix_caching_nothing_is_found_or_counted() -> None:
    engine = Engine(replace(LARGE, prefix_caching=False), Random(0))
    for name in ("a", "b"):
        engine.submit(Request(name, 160, 10, block_hashes=list(range(10))), engine.now)
        engine.advance(engine.now + 60)
    assert (engine.stats.prefix_queries, engine.stats.prefix_hits) == (0, 0)


def test_a_prefix_pushed_out_of_the_gpu_comes_back_from_host_memory() -> None:
    base = replace(SMALL, kv_blocks_override=32, max_num_batched_tokens=512)
    for gib, expected in ((0.0, 0), (1.0, 144)):
        engine = Engine(replace(base, kv_offload_gib=gib), Random(0))
        engine.submit(Request("a", 160, 4, block_hashes=list(range(10))), 0.0)
        engine.advance(60.0)
        engine.submit(Request("other", 500, 4, block_hashes=list(range(100, 131))), 60.0)
        engine.advance(120.0)
        again = engine.submit(Request("a again", 160, 4, block_hashes=list(range(10))), 120.0)
        engine.advance(180.0)
        assert isinstance(again, Sequence)
        assert again.host_tokens == expected == engine.stats.host_hits


def test_requests_over_the_queue_limit_are_rejected() -> None:
    engine = Engine(replace(LARGE, max_num_queued_reqs=2), Random(0))
    outcomes = [engine.submit(Request(str(i), 10, 10), 0.0) for i in range(3)]
    assert outcomes[2] == Rejection("max_num_queued_reqs")
    assert engine.stats.rejections == {"max_num_queued_reqs": 1, "max_num_queued_tokens": 0}
    engine.advance(60.0)
    assert isinstance(engine.submit(Request("later", 10, 10), 60.0), Sequence)


def test_the_prefill_backlog_limits_new_requests_until_first_tokens_come() -> None:
    engine = Engine(replace(LARGE, max_num_queued_tokens=1000), Random(0))
    assert isinstance(engine.submit(Request("a", 1500, 10), 0.0), Sequence)
    assert engine.submit(Request("b", 10, 10), 0.0) == Rejection("max_num_queued_tokens")
    while not engine.stats.time_to_first_token.count:
        engine.advance(engine.next_event or 0.0)
    assert isinstance(engine.submit(Request("c", 10, 10), engine.now), Sequence)


def test_running_out_of_blocks_pushes_out_the_youngest_which_still_finishes() -> None:
    engine = Engine(replace(SMALL, kv_blocks_override=33), Random(0))
    old = engine.submit(Request("old", 200, 200), 0.0)
    young = engine.submit(Request("young", 200, 200), 0.0)
    engine.advance(200.0)
    assert isinstance(old, Sequence)
    assert isinstance(young, Sequence)
    assert (old.preemptions, young.preemptions) == (0, 1)
    assert (old.generated, young.generated) == (200, 200)
    assert engine.stats.preemptions == 1
    assert young.finished_at is not None
    assert old.finished_at is not None
    assert young.finished_at > old.finished_at


def test_a_request_that_was_pushed_out_goes_before_those_that_wait() -> None:
    engine = Engine(replace(SMALL, kv_blocks_override=33), Random(0))
    pair = [engine.submit(Request(name, 200, 200), 0.0) for name in ("old", "young")]
    engine.advance(0.2)
    late = engine.submit(Request("late", 300, 5), 0.2)
    engine.advance(200.0)
    young = pair[1]
    assert isinstance(young, Sequence)
    assert isinstance(late, Sequence)
    assert young.preemptions == 1
    assert young.finished_at is not None
    assert late.finished_at is not None
    assert late.finished_at > young.finished_at


def test_a_step_for_nobody_does_not_delay_the_next_request() -> None:
    engine = Engine(LARGE, Random(0))
    gone = engine.submit(Request("gone", 2000, 10), 0.0)
    assert isinstance(gone, Sequence)
    engine.advance(0.01)
    engine.abort(gone, 0.01)
    sequence = engine.submit(Request("next", 10, 10), 0.02)
    assert isinstance(sequence, Sequence)
    engine.advance(60.0)
    assert sequence.scheduled_at == 0.02


def test_a_request_that_can_never_fit_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match=r"more than the model length 8192"):
        Engine(LARGE, Random(0)).submit(Request("a", 8000, 200), 0.0)
    with pytest.raises(ValueError, match="at least one token"):
        Request("b", 0, 1)


def test_a_full_schedule_drafts_at_batch_one_and_not_at_batch_eight() -> None:
    speculation = Speculation("ngram", 3, 1.0, schedule=((1, 2, 3), (3, 128, 0)))
    for batch, drafted in ((1, True), (8, False)):
        engine = Engine(replace(LARGE, speculation=speculation), Random(0))
        for index in range(batch):
            engine.submit(Request(str(index), 32, 201), 0.0)
        engine.advance(600.0)
        assert (engine.stats.drafts > 0) is drafted
        if drafted:
            assert (engine.stats.drafts, engine.stats.draft_tokens, engine.stats.accepted_tokens) == (50, 150, 150)
            assert engine.stats.accepted_per_position == [50, 50, 50]


def test_speculation_shortens_answers_at_batch_one_and_lengthens_them_in_a_crowd() -> None:
    def finish(batch: int, speculation: Speculation | None) -> float:
        engine = Engine(
            replace(LARGE, max_num_seqs=512, max_num_batched_tokens=4096, speculation=speculation), Random(5)
        )
        for index in range(batch):
            engine.submit(Request(str(index), 32, 100), 0.0)
        done = engine.advance(3600.0)
        return max(s.finished_at or 0.0 for s in done)

    eagle = Speculation("eagle3", 3, 0.6, 0.35)
    assert finish(1, eagle) < 0.7 * finish(1, None)
    assert finish(512, eagle) > finish(512, None)


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    def last(seed: int) -> list[float | None]:
        engine = Engine(replace(LARGE, speculation=Speculation("ngram", 3, 0.5)), Random(seed))
        taken = [engine.submit(Request(str(i), 100, 50), 0.0) for i in range(5)]
        engine.advance(600.0)
        return [s.finished_at for s in taken if isinstance(s, Sequence)]

    assert last(1) == last(1)
    assert last(1) != last(2)


def test_an_hour_of_traffic_in_seconds() -> None:
    """5,400 requests of an hour at 1.5 per second through one L4: all served, no backlog at the end."""
    rng = Random(11)
    engine = Engine(LARGE, rng)
    now, outputs = 0.0, 0
    while now < 3600:
        now += rng.expovariate(1.5)
        engine.advance(now)
        output = rng.randint(1, 300)
        outputs += output
        assert isinstance(engine.submit(Request(str(now), rng.randint(20, 1500), output), now), Sequence)
    engine.advance(now + 600)
    assert engine.unfinished == 0
    assert engine.stats.generation_tokens == outputs
    assert engine.stats.queue_time.total / engine.stats.queue_time.count < 0.2
