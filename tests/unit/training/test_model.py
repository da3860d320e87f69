"""Checks the fit: that the router computes the same score, that nothing is seen before it is tried, and the means of
groups."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.training.known import EASY, HARD, labels
from tierwise.routing.classifier import LENGTH_WEIGHT
from tierwise.routing.question import question_of
from tierwise.routing.text_features import TextFacts, features_of, group_of
from tierwise_training import model
from tierwise_training.evaluation import measure
from tierwise_training.model import GROUP_PRIOR, Questions, fit, folds, out_of_fold, questions
from tierwise_training.training import Wanted, questions_of, train

ASKED = labels(400)
ROWS = questions_of(ASKED)


def test_the_router_gives_a_question_the_score_that_training_gives_it() -> None:
    trained = train(ASKED, Wanted())
    scores = fit(ROWS).scores(ROWS)
    for each, score in list(zip(ASKED, scores, strict=True))[:50]:
        text, facts = question_of({"messages": each.prompt})
        assert trained.classifier.score(text, facts) == pytest.approx(score, abs=2e-2)  # its weights have 16 bits


def test_what_is_hard_by_the_rule_gets_the_higher_score() -> None:
    fitted = fit(ROWS)
    texts = [f"filler1 filler2 {word} filler3".encode() for word in (*EASY, *HARD)]
    rows = questions([features_of(text, TextFacts()) for text in texts], [True] * 6, [True] * 6)
    gains = fitted.gains(rows)
    assert max(gains[:3]) < min(gains[3:])


def test_scores_out_of_fold_find_the_rule_and_no_more_than_the_rule() -> None:
    found = measure(out_of_fold(ROWS), ROWS.small, ROWS.large)
    kind = np.array([any(word in str(each.prompt) for word in HARD) for each in ASKED], dtype=float)
    best = measure(kind, ROWS.small, ROWS.large)
    assert 0.6 < found.apgr < best.apgr + 0.03


def test_without_any_rule_out_of_fold_scores_find_nothing() -> None:
    chance = np.random.default_rng(3)
    guessed = Questions(
        ROWS.pieces,
        ROWS.sizes,
        (chance.uniform(size=400) < 0.6).astype(float),
        (chance.uniform(size=400) < 0.9).astype(float),
        ROWS.groups,
        ROWS.blocks,
    )
    learned = fit(guessed).scores(guessed)
    assert measure(learned, guessed.small, guessed.large).apgr > 0.57  # it has seen them
    assert measure(out_of_fold(guessed), guessed.small, guessed.large).apgr < 0.55


def test_the_same_labels_make_the_same_model() -> None:
    assert np.array_equal(fit(ROWS).scores(ROWS), fit(ROWS).scores(ROWS))
    assert np.array_equal(out_of_fold(ROWS), out_of_fold(ROWS))


@pytest.mark.parametrize("groups", [2, 3, 7])
def test_no_group_is_on_both_sides(groups: int) -> None:
    rows = questions_of(labels(100, groups=groups))
    divided = folds(rows)
    assert len(divided) == min(5, groups)
    for learned, held in divided:
        assert not {rows.blocks[row] for row in learned} & {rows.blocks[row] for row in held}
    assert sorted(row for _, held in divided for row in held) == list(range(100))


def test_without_groups_every_question_is_tried_once() -> None:
    assert sorted(row for _, held in folds(ROWS) for row in held) == list(range(400))
    assert len(folds(ROWS.take(np.arange(3)))) == 3


def test_a_group_counts_as_if_ten_average_questions_had_been_seen_of_it() -> None:
    asked = labels(300, system=True)
    rows = questions_of(asked)
    added = fit(rows).groups
    group = group_of(b"You answer about integral.")
    mine = [row for row in range(300) if rows.groups[row] == group]
    gains = rows.large - rows.small
    mean = gains.mean()
    expected = (gains[mine].sum() + GROUP_PRIOR * mean) / (len(mine) + GROUP_PRIOR) - mean
    assert added[group] == pytest.approx(expected)
    assert len(added) == 6


def test_system_prompts_alone_tell_what_is_hard() -> None:
    rows = questions_of(labels(600, system=True))
    assert measure(out_of_fold(rows), rows.small, rows.large).apgr > 0.6


def test_a_tier_that_is_always_right_or_never_has_no_coefficients() -> None:
    for small, large in ((0.0, 1.0), (1.0, 0.0), (1.0, 1.0)):
        rows = Questions(ROWS.pieces, ROWS.sizes, np.full(400, small), np.full(400, large), ROWS.groups, ROWS.blocks)
        fitted = fit(rows)
        assert not fitted.weights.any()
        assert np.isfinite(fitted.scores(rows)).all()


def test_a_size_that_never_varied_says_nothing() -> None:
    fitted = fit(ROWS)
    with_tools = questions([features_of(b"filler1 integral", TextFacts(tools=True))], [True], [True])
    without = questions([features_of(b"filler1 integral", TextFacts())], [True], [True])
    assert fitted.gains(with_tools) == pytest.approx(fitted.gains(without))


def test_nothing_is_tuned() -> None:
    """These are the values that were fixed beforehand; whoever changes one has to measure all of docs/classifier.md."""
    assert (model.C, model.GROUP_PRIOR, model.FOLDS, LENGTH_WEIGHT) == (0.1, 10, 5, 0.5)
