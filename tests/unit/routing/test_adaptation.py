"""Checks when the share is moved: by examples, and over simulated months in which the quality changes or does not."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from tierwise.routing.adaptation import STEP, Day, Evidence, Move, next_move, quality
from tierwise.routing.quality import Tally

TARGET = 0.95
AGAIN = Tally(1960, 40)
PERFECT_AGAIN = Tally(2000, 0)


def days(count: int, cheap: Tally, margin: Tally | None = None, share: float = 0.3) -> list[Day]:
    sampled = 1000
    return [Day(cheap, margin or Tally(), sampled, round(share * sampled))] * count


def test_a_quality_that_is_surely_below_the_target_raises_the_share() -> None:
    found = next_move(Evidence(days(4, Tally(160, 40)), 4, PERFECT_AGAIN), TARGET, 30)
    assert found is not None
    assert found.points >= STEP
    assert found.points % STEP == 0
    assert found.quality.upper < TARGET


def test_a_value_below_the_target_that_may_be_chance_moves_nothing() -> None:
    evidence = Evidence(days(2, Tally(46, 4)), 2, PERFECT_AGAIN)
    assert quality(evidence, 2).value < TARGET
    assert next_move(evidence, TARGET, 30) is None


def test_the_share_is_lowered_by_one_step_after_ten_days_of_evidence_both_ways() -> None:
    good, margin = Tally(390, 10), Tally(18, 2)
    found = next_move(Evidence(days(10, good, margin), 10, PERFECT_AGAIN), TARGET, 30)
    assert found is not None
    assert found.points == -STEP
    assert next_move(Evidence(days(9, good, margin), 9, PERFECT_AGAIN), TARGET, 30) is None, "not so soon"
    raised = Evidence(days(13, good, margin), 13, PERFECT_AGAIN, tightened=True)
    assert next_move(raised, TARGET, 30) is None, "not so soon after it was raised"
    assert next_move(Evidence(days(10, good), 10, PERFECT_AGAIN), TARGET, 30) is None, "nobody knows that step"
    assert next_move(Evidence(days(10, good, margin), 10, PERFECT_AGAIN), TARGET, 0) is None, "nothing is left to lower"


def test_a_step_whose_requests_the_cheaper_tier_answers_badly_is_not_given_to_it() -> None:
    assert next_move(Evidence(days(10, Tally(380, 20), Tally(4, 16)), 10, PERFECT_AGAIN), 0.96, 30) is None


def test_after_an_alarm_only_what_came_since_counts() -> None:
    before = days(14, Tally(970, 30))
    assert next_move(Evidence(before, 14, PERFECT_AGAIN), TARGET, 30) is None
    found = next_move(Evidence(before, 14, PERFECT_AGAIN, run=Tally(160, 40)), TARGET, 30)
    assert found is not None
    assert found.points > 0


def test_a_reference_that_does_not_match_itself_is_no_reason_to_move() -> None:
    cheap = days(7, Tally(360, 40))
    assert next_move(Evidence(cheap, 7, Tally(1800, 200)), TARGET, 30) is None
    assert next_move(Evidence(cheap, 7, PERFECT_AGAIN), 0.96, 30) is not None


@dataclass
class World:
    """A route whose requests are ordered by how well the cheaper tier answers them: the part `x` of them is answered as
    well as by the reference tier with a chance that falls from 1 with `x`. `worse` is taken from it."""

    pairs: int
    seed: int
    steep: float = 0.42
    share: int = 40
    moves: list[Move] = field(default_factory=list)

    def good(self, x: float, worse: float) -> float:
        return max(0.0, 1 - self.steep * x**3 - worse)

    def day(self, chance: random.Random, worse: float) -> Day:
        total = Day()
        for _ in range(self.pairs):
            x, cut = chance.random(), 1 - self.share / 100
            good = chance.random() < self.good(x, worse)
            verdict = Tally(int(good), int(not good))
            if x < cut:
                total += Day(cheap=verdict, sampled=1)
            elif x < cut + STEP / 100:
                total += Day(margin=verdict, sampled=1, reference=1)
            else:
                total += Day(sampled=1, reference=1)
        return total

    def run(self, worse: list[float]) -> list[int]:
        """The share of each day."""
        chance, whole = random.Random(self.seed), 0
        kept: list[Day] = []
        shares: list[int] = []
        for one in worse:
            shares.append(self.share)
            kept = [*kept, self.day(chance, one)][-14:]
            whole += 1
            raised = bool(self.moves) and self.moves[-1].points > 0
            evidence = Evidence(kept, whole, PERFECT_AGAIN, tightened=raised)
            found = next_move(evidence, TARGET, self.share)
            if found is not None:
                self.moves.append(found)
                self.share += found.points
                kept, whole = [], 0
        return shares

    @property
    def reversals(self) -> int:
        signs = [move.points > 0 for move in self.moves]
        return sum(a != b for a, b in pairwise(signs))


CALM = [0.0] * 60
FALLS = [0.0] * 20 + [0.06] * 20 + [0.0] * 20


@pytest.mark.parametrize("pairs", [50, 300])
@pytest.mark.parametrize("worse", [CALM, FALLS], ids=["calm", "falls and recovers"])
def test_sixty_days_see_few_moves_and_hardly_a_reversal(pairs: int, worse: list[float]) -> None:
    for seed in range(6):
        world = World(pairs, seed)
        world.run(worse)
        assert len(world.moves) <= 6, f"seed {seed}: {[move.points for move in world.moves]}"
        assert world.reversals <= 3


@pytest.mark.parametrize(("pairs", "within"), [(100, 10), (300, 4)])
def test_a_fall_of_ten_points_is_answered_within_days(pairs: int, within: int) -> None:
    first = []
    for seed in range(5):
        world = World(pairs, seed, share=30)
        shares = world.run([0.0] * 14 + [0.10] * 16)
        first.append(next((day for day, share in enumerate(shares[15:], start=1) if share > shares[14]), 99))
    assert sorted(first)[len(first) // 2] <= within
