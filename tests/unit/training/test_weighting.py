"""Checks that labels that were sampled at different rates teach, and promise, for the requests that they stand for."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.training.known import HARD, labels
from tierwise.errors import Invalid
from tierwise.routing.promise import curve, lower_mean, taken
from tierwise_training.evaluation import measure, quality_by_share
from tierwise_training.labels import Label
from tierwise_training.model import fit, scale
from tierwise_training.train_text import sentences
from tierwise_training.training import Wanted, questions_of, train
from tierwise_training.weighting import effective, weights_of

WANTED = Wanted(created_at="2026-11-29T20:00:00Z")
RATE = 0.25


def hard(label: Label) -> bool:
    return any(word in str(label.prompt) for word in HARD)


def sampled(count: int, seed: int = 5) -> list[Label]:
    """Of the hard questions, which the reference tier answers, only every fourth is labelled."""
    chance = Random(seed)
    return [
        one.model_copy(update={"sampling_rate": RATE if hard(one) else 1.0})
        for one in labels(count, seed=seed)
        if not hard(one) or chance.random() < RATE
    ]


# --- the weights -----------------------------------------------------------------------------------------------------


def test_a_label_stands_for_the_inverse_of_its_rate() -> None:
    often, seldom = labels(2)
    found = weights_of(
        [often.model_copy(update={"sampling_rate": 1.0}), seldom.model_copy(update={"sampling_rate": 0.25})]
    )
    assert found == pytest.approx([0.4, 1.6])
    assert effective(found, 2) == 1  # (1 + 4)^2 / (1 + 16) = 1.47


def test_labels_of_one_rate_need_no_weights() -> None:
    assert weights_of(labels(3)) is None
    assert weights_of([one.model_copy(update={"sampling_rate": 0.05}) for one in labels(3)]) is None
    assert effective(None, 3) == 3


def test_rates_of_some_labels_only_are_refused() -> None:
    with pytest.raises(Invalid, match=r"2 labels say .* 3 do not"):
        weights_of([*labels(3), *(one.model_copy(update={"sampling_rate": 0.5}) for one in labels(2))])


# --- a weight of k is k such labels ----------------------------------------------------------------------------------

ROWS = st.lists(
    st.tuples(st.integers(0, 50), st.booleans(), st.booleans(), st.integers(1, 5)), min_size=2, max_size=40
).filter(lambda rows: any(row[2] for row in rows))


@given(ROWS)
def test_an_order_is_measured_as_if_each_question_came_as_often_as_it_weighs(
    rows: list[tuple[int, bool, bool, int]],
) -> None:
    columns = np.array(rows, dtype=np.float64).T
    scores, small, large, weights = columns
    copies = np.repeat(np.arange(len(rows)), weights.astype(int))
    found, copied = (
        measure(scores, small, large, weights=weights),
        measure(scores[copies], small[copies], large[copies]),
    )
    assert found.apgr == pytest.approx(copied.apgr, nan_ok=True, abs=1e-9)
    line = quality_by_share(scores, small, large, weights)
    assert line[0] == pytest.approx(small[copies].mean())
    assert line[-1] == pytest.approx(large[copies].mean())


@given(ROWS, st.integers(0, 100))
def test_the_questions_that_are_taken_weigh_at_most_the_share(
    rows: list[tuple[int, bool, bool, int]], share: int
) -> None:
    weights = np.array([row[3] for row in rows], dtype=np.float64)
    first = taken(weights, share)
    assert weights[:first].sum() <= weights.sum() * share / 100 + 1e-6
    assert first == len(rows) or weights[: first + 1].sum() > weights.sum() * share / 100
    assert taken(np.ones(len(rows)), share) == len(rows) * share // 100


@given(ROWS)
def test_the_ends_of_a_curve_are_those_of_the_copies_and_no_weights_are_equal_ones(
    rows: list[tuple[int, bool, bool, int]],
) -> None:
    scores, small, large, weights = np.array(rows, dtype=np.float64).T
    copies = np.repeat(np.arange(len(rows)), weights.astype(int))
    found, copied = (
        curve(scores, small, large, 95, weights=weights),
        curve(scores[copies], small[copies], large[copies], 95),
    )
    for end in (0, -1):
        assert found[end].quality_percent == pytest.approx(copied[end].quality_percent)
    plain, equal = curve(scores, small, large, 95), curve(scores, small, large, 95, weights=np.full(len(rows), 3.0))
    assert [step.lower_percent for step in equal] == pytest.approx([step.lower_percent for step in plain])


def test_without_weights_the_error_is_the_usual_one() -> None:
    values = np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    expected = 0.6 - 1.2816 * float(np.std(values, ddof=1)) / np.sqrt(5)
    assert lower_mean(values) == pytest.approx(expected)
    assert lower_mean(values, 20) == pytest.approx(0.6 - 1.2816 * float(np.std(values, ddof=1)) / np.sqrt(20))


def test_the_bound_of_a_weighted_mean_holds_as_often_as_it_says() -> None:
    """Of 1,000 samples the true mean lies above the bound in 90 %; by counting alone it would in fewer."""
    chance = np.random.default_rng(1)
    held = counted = 0
    for _ in range(1000):
        rare = chance.random(400) < 0.2
        values = (chance.random(400) < np.where(rare, 0.3, 0.9)).astype(float)
        weights = np.where(rare, 4.0, 1.0)  # half of the requests are of the kind that is sampled rarely
        held += lower_mean(values, None, weights) <= 0.6
        counted += lower_mean(values) <= 0.6
    assert 870 <= held <= 930
    assert counted < 10


def test_sizes_and_regressions_count_a_question_as_often_as_it_weighs() -> None:
    some = labels(60)
    twice = [*some, *some[:30]]
    weighed = replace(questions_of(some), weights=np.array([2.0] * 30 + [1.0] * 30))
    assert scale(weighed.sizes, weighed.weights)[0] == pytest.approx(scale(questions_of(twice).sizes)[0])
    # The mean weight is 1, so that C stays what it is: the fits agree in direction, not in every digit.
    one, other = fit(weighed).weights[:, 1], fit(questions_of(twice)).weights[:, 1]
    assert float(one @ other) / float(np.linalg.norm(one) * np.linalg.norm(other)) > 0.99


# --- what is promised ------------------------------------------------------------------------------------------------


def test_what_is_promised_holds_for_the_requests_and_not_for_the_sample() -> None:
    found = train(sampled(1200), WANTED)
    blind = train([one.model_copy(update={"sampling_rate": None}) for one in sampled(1200)], WANTED)
    everything = train(labels(1200, seed=5), WANTED).findings
    # Half of the requests are hard; of the labels a fifth is.
    assert found.findings.from_right_percent == pytest.approx(everything.from_right_percent, abs=5)
    assert blind.findings.from_right_percent > everything.from_right_percent + 10
    at = {step.share_percent: step.quality_percent for step in everything.curve}
    weighed = {step.share_percent: step.quality_percent for step in found.findings.curve}
    unweighed = {step.share_percent: step.quality_percent for step in blind.findings.curve}
    assert weighed[20] == pytest.approx(at[20], abs=6)
    assert unweighed[20] > at[20] + 8, "the promise would be one for easy traffic"
    assert blind.findings.share is not None
    assert found.findings.share is None or found.findings.share > blind.findings.share + 10
    assert any("sampled at different rates" in line for line in sentences(found.findings))
    assert not any("sampled at different rates" in line for line in sentences(blind.findings))


def test_labels_that_count_as_too_few_promise_nothing() -> None:
    found = train(sampled(560), WANTED).findings
    assert found.labels >= 300 > found.counts_as
    assert f"learned from {found.labels} labels, which count as {found.counts_as}" in found.refusal


def test_a_question_that_comes_again_is_never_tried_on_a_model_that_has_seen_it() -> None:
    some = labels(40)
    again = [one.model_copy(update={"id": f"{one.id}-again"}) for one in some]
    asked = questions_of([*some, *again])
    assert asked.blocks[:40] == asked.blocks[40:]
    assert len(set(asked.blocks)) == 40
    assert train([*some, *again], WANTED).findings.groups == 0, "they are no groups that anybody named"
