"""Checks that advice comes only from enough measured values over enough time, stays while nothing better is known, and
changes nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders.workloads import scale_to
from tests.unit.decide.make import NOW, SETTLED, plan, sample, value, view
from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import AdviceStatus, ModelTierStatus
from tierwise.decide.advice import BETTER, ENOUGH_DRAFTED, ENOUGH_REQUESTS, HOLD_SECONDS, LEAST, NO_HITS, draft_cost
from tierwise.types import MISSING, Signal, State, TierPlan, TierState
from tierwise.types.capabilities import UNKNOWN, Facts, ModelShape

PREFIX, SLOWS = reasons.PREFIX_CACHE_UNUSED, reasons.SPECULATION_SLOWS
MEASURED = {PREFIX, SLOWS, reasons.MODEL_NOT_READ}
STALE, INVALID = Signal(State.STALE), Signal(State.INVALID)
DRAFTING: dict[str, Any] = {"mode": "Enabled", "method": "ngram"}


def spec(**changes: Any) -> ModelTierSpec:
    return ModelTierSpec.model_validate({"model": {"name": "m", "uri": "hf://org/m"}, **changes})


@dataclass
class Ticks:
    """One tier decided every ten seconds; what was advised stands in its status, as after a write."""

    spec: ModelTierSpec
    facts: Facts = UNKNOWN
    metadata_error: str = ""
    now: float = NOW
    memory: TierState = SETTLED
    status: ModelTierStatus = field(default_factory=lambda: ModelTierStatus(observed_generation=1))
    generation: int = 1

    def tick(self, **signals: Signal) -> list[str]:
        """The measured reasons advised after ten seconds with these signals."""
        self.now += 10
        made = self.plan(**signals)
        self.memory = made.state
        advice = [AdviceStatus(reason=each.reason, message=each.message) for each in made.advice]
        self.status = self.status.model_copy(update={"advice": advice, "observed_generation": self.generation})
        return [each.reason for each in made.advice if each.reason in MEASURED]

    def message(self, reason: str) -> str:
        """What was advised last for this reason."""
        return next(each.message for each in self.status.advice if each.reason == reason)

    def plan(self, **signals: Signal) -> TierPlan:
        seen = view(self.spec, (sample("a", 4),))
        tier = replace(seen.tier, status=self.status, generation=self.generation)
        measured = replace(seen.signals, **dict[str, Any](signals))
        seen = replace(seen, tier=tier, signals=measured, facts=self.facts, metadata_error=self.metadata_error)
        return plan(seen, self.memory, now=self.now)

    def until(self, reason: str, **signals: Signal) -> float:
        """Seconds until it is advised."""
        began = self.now
        while reason not in self.tick(**signals):
            assert self.now - began < 10 * HOLD_SECONDS, "never advised"
        return self.now - began


def hits(ratio: float, requests: float = ENOUGH_REQUESTS) -> dict[str, Signal]:
    return {"prefix_hit_ratio": value(ratio), "finished_requests": value(requests)}


def accepted(ratio: float, drafted: float = ENOUGH_DRAFTED) -> dict[str, Signal]:
    return {"accepted_ratio": value(ratio), "drafted_tokens": value(drafted)}


def test_a_prefix_cache_without_hits_is_advised_after_a_while_and_until_there_are_some() -> None:
    ticks = Ticks(spec())
    assert ticks.until(PREFIX, **hits(0.0)) == HOLD_SECONDS + 10
    assert ticks.tick(**hits(0.01)) == [PREFIX], "a few hits: between the two"
    assert ticks.tick() == [PREFIX], "no traffic says nothing"
    assert ticks.tick(**hits(0.02)) == []
    assert ticks.tick(**hits(0.0)) == [], "and the while begins anew"


def test_the_state_says_what_was_advised_and_about_which_generation() -> None:
    ticks = Ticks(spec(), metadata_error="the hub is away", generation=4)
    left = ticks.plan().state
    assert (left.advised, left.advised_for) == ((reasons.MODEL_NOT_READ,), 4)


def test_speculation_that_slows_is_advised_with_hysteresis() -> None:
    ticks = Ticks(spec(speculation=DRAFTING))
    assert ticks.until(SLOWS, **accepted(LEAST - 0.01)) == HOLD_SECONDS + 10
    assert ticks.tick(**accepted(LEAST * 1.1)) == [SLOWS]
    assert ticks.tick(**accepted(LEAST * BETTER)) == []


@pytest.mark.parametrize(
    "signals",
    [
        hits(0.0, ENOUGH_REQUESTS - 1),
        hits(0.0) | {"prefix_hit_ratio": MISSING},
        hits(0.0) | {"prefix_hit_ratio": STALE},
        hits(0.0) | {"finished_requests": INVALID},
        accepted(0.0, ENOUGH_DRAFTED - 1),
        accepted(0.0) | {"accepted_ratio": STALE},
        accepted(0.0) | {"drafted_tokens": MISSING},
        hits(0.006) | accepted(LEAST),
        {},
    ],
)
def test_too_little_and_what_is_not_measured_advise_nothing(signals: dict[str, Signal]) -> None:
    ticks = Ticks(spec(speculation=DRAFTING))
    for _ in range(int(3 * HOLD_SECONDS / 10)):
        assert ticks.tick(**signals) == []


def test_what_is_turned_off_or_changed_is_not_advised_about() -> None:
    off = Ticks(spec(caching={"prefix": "Disabled"}))
    for _ in range(int(3 * HOLD_SECONDS / 10)):
        assert off.tick(**hits(0.0), **accepted(0.0)) == []
    ticks = Ticks(spec(speculation=DRAFTING))
    ticks.until(SLOWS, **accepted(0.0))
    ticks.generation = 2
    assert ticks.tick(**accepted(0.0)) == [], "a changed spec is measured anew"


def test_a_restart_keeps_what_was_advised() -> None:
    ticks = Ticks(spec())
    ticks.until(PREFIX, **hits(0.0))
    ticks.memory = SETTLED
    assert ticks.tick(**hits(0.0)) == [PREFIX]
    assert ticks.tick() == [PREFIX]


def test_a_doubt_that_passes_is_forgotten() -> None:
    ticks = Ticks(spec())
    for _ in range(int(HOLD_SECONDS / 10) - 2):
        assert ticks.tick(**hits(0.0)) == []
    ticks.tick(**hits(0.5))
    assert ticks.memory.doubts == ()
    assert ticks.until(PREFIX, **hits(0.0)) == HOLD_SECONDS + 10


def test_what_the_hub_did_not_tell_is_one_line() -> None:
    ticks = Ticks(spec(), metadata_error="the hub answers 401 for org/m")
    assert ticks.tick() == [reasons.MODEL_NOT_READ]
    assert "the hub answers 401 for org/m" in ticks.message(reasons.MODEL_NOT_READ)
    ticks.metadata_error = ""
    assert ticks.tick() == []


def shape(parameters: int | None = None, **changes: Any) -> ModelShape:
    return ModelShape(parameters=parameters, **changes)


@pytest.mark.parametrize(
    ("facts", "cost"),
    [
        (UNKNOWN, LEAST),
        (Facts(model=shape(8_000_000_000)), LEAST),
        (Facts(model=shape(8_000_000_000), draft=shape(4_000_000_000)), 0.5),
        (Facts(model=shape(8_000_000_000), draft=shape(80_000_000)), LEAST),
        (Facts(model=shape(1), draft=shape(9)), 1.0),
        (Facts(model=shape(weight_bytes=16_000), draft=shape(2_000)), 0.25),
        (Facts(model=shape(8_000), draft=shape(1_000, dtype="float32")), 0.25),
        (Facts(model=shape(), draft=shape(1_000)), LEAST),
    ],
)
def test_what_a_draft_costs_follows_from_the_sizes(facts: Facts, cost: float) -> None:
    assert draft_cost(facts) == cost


def test_a_large_draft_must_be_accepted_more_often() -> None:
    facts = Facts(model=shape(1_600), draft=shape(800))
    ticks = Ticks(spec(speculation={"mode": "Enabled", "method": "draft_model", "draftModel": "o/d"}), facts=facts)
    assert ticks.until(SLOWS, **accepted(0.2)) == HOLD_SECONDS + 10, "seen: 0.7 of the speed without drafts"
    assert "50%" in ticks.message(SLOWS)
    other = Ticks(ticks.spec, facts=facts)
    for _ in range(int(3 * HOLD_SECONDS / 10)):
        assert other.tick(**accepted(0.556)) == [], "seen: 1.2 of it"


def test_a_draft_as_large_as_the_model_pays_again_when_all_of_it_is_accepted() -> None:
    """A quarter above its cost is more than all: nothing could take the advice back otherwise."""
    facts = Facts(model=shape(800), draft=shape(800))
    ticks = Ticks(spec(speculation={"mode": "Enabled", "method": "draft_model", "draftModel": "o/d"}), facts=facts)
    ticks.until(SLOWS, **accepted(0.9))
    assert ticks.tick(**accepted(0.99)) == [SLOWS]
    assert ticks.tick(**accepted(1.0)) == []


def test_what_is_advised_is_a_sentence_each_and_one_for_each_reason() -> None:
    ticks = Ticks(spec(speculation={"method": "suffix", "mode": "Auto", "draftModel": "a/b"}))
    ticks.until(PREFIX, **hits(0.0))
    assert ticks.message(PREFIX) == (
        "No prompt token is found in the prefix cache: the prompts of this tier begin differently"
    )
    assert ticks.message(reasons.NO_EFFECT) == (
        "speculation.draftModel has no effect with the method suffix; "
        "the engine ignores a schedule with speculation.method suffix: it always drafts"
    )


def test_speculation_that_is_off_is_not_judged() -> None:
    ticks = Ticks(spec(speculation={"mode": "Disabled", "method": "ngram"}))
    for _ in range(int(2 * HOLD_SECONDS / 10)):
        assert ticks.tick(**accepted(0.0)) == []


def test_hits_of_exactly_none_are_too_many() -> None:
    ticks = Ticks(spec())
    for _ in range(int(2 * HOLD_SECONDS / 10)):
        assert ticks.tick(**hits(NO_HITS)) == []


STATES = st.sampled_from([MISSING, STALE, INVALID]) | st.floats(0, 1).map(value)
COUNTS = st.sampled_from([MISSING, STALE, INVALID]) | st.floats(0, 1e7).map(value)


@given(ratio=STATES, count=COUNTS, drafted=STATES, tokens=COUNTS, shown=st.sets(st.sampled_from([PREFIX, SLOWS])))
def test_advice_changes_no_decision_and_is_the_same_for_the_same(
    ratio: Signal, count: Signal, drafted: Signal, tokens: Signal, shown: set[str]
) -> None:
    signals = {
        "prefix_hit_ratio": ratio,
        "finished_requests": count,
        "accepted_ratio": drafted,
        "drafted_tokens": tokens,
    }
    ticks = Ticks(spec(speculation=DRAFTING))
    plain = ticks.plan()
    old = [AdviceStatus(reason=reason) for reason in sorted(shown)]
    ticks.status = ticks.status.model_copy(update={"advice": old})
    made = ticks.plan(**signals)
    assert (made.decision, scale_to(made), made.serve, made.invalid) == (
        plain.decision,
        scale_to(plain),
        plain.serve,
        plain.invalid,
    )
    assert made == ticks.plan(**signals)
    given_ = [each.reason for each in made.advice]
    assert given_ == sorted(set(given_))
    assert MEASURED & set(given_) <= shown, "nothing is advised at first sight"
