"""Checks what `tierwise train` promises, refuses and finds, from labels whose rule is known."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.unit.training.known import HARD, WORDS, labels
from tierwise.errors import Invalid
from tierwise.routing.classifier import MOST_BYTES, Classifier
from tierwise.routing.route import TokenRates
from tierwise.routing.text_features import TextFacts, features_of
from tierwise_training.training import LEAST_LABELS, Wanted, labels_hash, questions_of, train

WANTED = Wanted(created_at="2026-11-29T20:00:00Z")
TRAINED = train(labels(1000), WANTED)


def test_half_of_the_questions_need_the_large_tier_and_that_is_nearly_what_is_promised() -> None:
    """By the rule, 95 % of the large tier's quality takes 28 % of the requests: those of the hard half for which
    0.9 · (u + 0.5) + 0.3 · (0.5 − u) reaches 0.95 · 0.9 - with a perfect order and no doubt."""
    found = TRAINED.findings
    assert found.share is not None
    assert 40 <= found.share <= 60
    assert found.naive_share <= found.share
    assert found.refusal == ""
    assert found.apgr > 0.65
    assert found.from_right_percent == pytest.approx(60, abs=5)


def test_the_promise_is_kept_on_new_questions_of_the_same_kind() -> None:
    fresh = questions_of(labels(4000, seed=99))
    classifier = TRAINED.classifier
    threshold = classifier.threshold(classifier.header.large_share_percent)
    scores = [
        classifier.score_features(features)
        for features in (
            features_of(str(each.prompt[-1]["content"]).encode(), TextFacts())  # type: ignore[index]
            for each in labels(4000, seed=99)
        )
    ]
    taken = [score >= threshold for score in scores]
    kept = sum(
        large if to_large else small for to_large, small, large in zip(taken, fresh.small, fresh.large, strict=True)
    )
    assert kept / fresh.large.sum() >= 0.95
    assert 100 * sum(taken) / 4000 == pytest.approx(classifier.header.large_share_percent, abs=6)
    predicted = classifier.predicted(classifier.header.large_share_percent)
    assert 100 * kept / fresh.large.sum() == pytest.approx(predicted.quality_percent, abs=4)


def test_the_file_says_what_was_learned_from_what() -> None:
    header = Classifier.read(TRAINED.classifier.write()).header
    assert (header.route, header.from_tier, header.reference_tier) == ("chat", "small", "large")
    assert (header.labels, header.labels_hash) == (1000, labels_hash(labels(1000)))
    assert header.large_share_percent == TRAINED.findings.share
    assert header.created_at == "2026-11-29T20:00:00Z"
    assert [point.share_percent for point in header.curve] == list(range(0, 101, 2))
    assert len(TRAINED.classifier.write()) < MOST_BYTES


def test_the_hash_of_labels_is_the_one_of_their_verdicts() -> None:
    some = labels(20)
    assert labels_hash(some) == labels_hash(some[::-1])
    changed = some[3].model_copy(update={"small": some[3].small.model_copy(update={"right": not some[3].small.right})})
    assert labels_hash(some) != labels_hash([*some[:3], changed, *some[4:]])


def test_few_labels_make_a_file_that_says_so() -> None:
    few = train(labels(LEAST_LABELS - 1), WANTED)
    assert "299 labels" in few.findings.refusal
    assert few.classifier.header.refusal == few.findings.refusal
    assert train(labels(LEAST_LABELS), WANTED).findings.refusal == ""


def test_too_few_to_learn_anything_are_an_error() -> None:
    with pytest.raises(Invalid, match="9 labels have a verdict"):
        train(labels(9), WANTED)


def test_where_only_the_large_tier_will_do_the_file_says_so() -> None:
    hopeless = train(labels(400, small_easy=0.0, small_hard=0.0), replace(WANTED, quality_percent=100))
    assert hopeless.findings.share == 100
    assert "only if large answers everything" in hopeless.findings.refusal
    assert hopeless.classifier.header.large_share_percent == 100


def test_where_the_small_tier_is_as_good_nothing_need_go_to_the_large_one() -> None:
    easy = train(labels(400, small_hard=0.9, large=0.75), WANTED)
    assert easy.findings.share == 0
    assert easy.findings.refusal == ""
    assert easy.classifier.threshold(easy.classifier.header.large_share_percent) == float("inf")


def test_what_is_not_known_is_left_out_and_counted() -> None:
    some = labels(320)
    unknown = some[0].model_copy(update={"small": some[0].small.model_copy(update={"right": None})})
    found = train([unknown, *some[1:]], WANTED).findings
    assert (found.labels, found.not_known) == (319, 1)


def test_labels_of_two_routes_are_an_error() -> None:
    some = labels(20)
    other = [each.model_copy(update={"route": "search"}) for each in some]
    with pytest.raises(Invalid, match="route chat: small and large; route search"):
        train([*some, *other], WANTED)


def test_a_label_without_prompt_and_features_is_an_error() -> None:
    with pytest.raises(Invalid, match="label 0 has neither"):
        questions_of([labels(1)[0].model_copy(update={"prompt": None})])


def test_hashed_features_teach_the_same_as_prompts() -> None:
    salt = b"a secret of sixteen bytes"
    hashed = train(labels(400, salt=salt), replace(WANTED, salt=salt))
    prompts = train(labels(400), replace(WANTED, salt=salt))
    assert hashed.findings.share == prompts.findings.share
    assert hashed.findings.apgr == pytest.approx(prompts.findings.apgr, abs=1e-3)
    assert hashed.findings.words == ()
    text = b"filler1 integral filler2"
    assert hashed.classifier.score(text, TextFacts()) == pytest.approx(
        prompts.classifier.score(text, TextFacts()), abs=1e-2
    )
    with pytest.raises(Invalid, match="a salt"):
        Classifier.read(hashed.classifier.write())


def test_words_that_make_a_question_hard_are_named() -> None:
    harder = {each.name for each in TRAINED.findings.words if each.weight > 0}
    assert set(HARD) <= harder
    assert all(each.count is not None and each.count >= 10 for each in TRAINED.findings.words)


def test_unlabelled_questions_say_where_a_share_begins() -> None:
    texts = [" ".join([*WORDS[number : number + 6], word]) for number in range(9) for word in HARD]
    hard = [features_of(text.encode(), TextFacts()) for text in texts]
    shifted = train(labels(400), WANTED, hard).classifier
    usual = train(labels(400), WANTED).classifier
    assert shifted.threshold(50) > usual.threshold(50)


def test_who_is_right_where_adds_up_to_all_questions() -> None:
    found = TRAINED.findings
    counts = [
        sum((each.both, each.only_reference, each.only_from, each.neither))
        for each in (found.to_reference, found.to_from)
    ]
    assert sum(counts) == 1000
    assert counts[0] == 10 * (found.share or 0)
    assert found.to_reference.only_reference > found.to_from.only_reference


def test_costs_follow_the_tokens_and_prices_of_the_labels() -> None:
    rates = {
        "small": TokenRates(Decimal("0.1"), Decimal(0), Decimal(0), Decimal("0.4")),
        "large": TokenRates(Decimal(2), Decimal(0), Decimal(0), Decimal(8)),
    }
    costs = train(labels(300), replace(WANTED, prices=rates)).findings.costs
    assert costs[100] == pytest.approx(100)
    assert costs[0] == pytest.approx(100 * (20 * 0.1 + 100 * 0.4) / (20 * 2 + 150 * 8))
    assert costs[50] == pytest.approx((costs[0] + costs[100]) / 2)
    assert train(labels(300), replace(WANTED, prices={"small": rates["small"]})).findings.costs == {}


def test_learning_and_more_labels() -> None:
    found = TRAINED.findings
    assert [each.labels for each in found.learned] == [100, 300, 1000]
    assert found.learned[-1].share == found.share
    assert all((found.more[extra] or 100) <= (found.share or 0) for extra in found.more)
    assert list(found.more) == [300, 1000, 3000]


def test_groups_are_counted_and_kept_together() -> None:
    assert train(labels(300, groups=6), WANTED).findings.groups == 6
    assert TRAINED.findings.groups == 0
