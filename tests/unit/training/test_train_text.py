"""Checks what is said about a classifier: nothing that the figures do not carry."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.training.known import labels
from tierwise_training.findings import Findings
from tierwise_training.train_text import headline, more_sentences, sentences
from tierwise_training.training import Wanted, train

FOUND = train(labels(300), Wanted()).findings


def said(found: Findings) -> str:
    return "\n".join(sentences(found))


def test_the_promise_is_told_with_its_share_and_confidence() -> None:
    assert f"With {FOUND.share} % of requests to large, 95 % of large's" in headline(FOUND)
    assert "90 % confidence" in headline(FOUND)


def test_an_order_that_may_be_random_is_called_so() -> None:
    assert "not shown to be better than a random order" in said(replace(FOUND, apgr_interval=(0.49, 0.7)))
    assert "not shown" not in said(replace(FOUND, apgr_interval=(0.51, 0.7)))


def test_tiers_that_are_equally_good_have_no_order() -> None:
    assert "there is nothing to divide" in said(replace(FOUND, apgr=float("nan")))


def test_a_refused_one_is_compared_with_no_other_threshold() -> None:
    refused = replace(FOUND, refusal="learned from 3 labels")
    assert headline(refused).startswith("Not to be used: learned from 3 labels.")
    assert "every second time" not in said(refused)
    assert "every second time" in said(FOUND)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({300: 48, 1000: 44}, "300 more labels like these would promise it with about 48 %"),
        ({300: 50, 1000: 44}, "1,000 more labels"),
        ({300: 50, 1000: 50}, "up to 1,000, would not lower the share"),
        ({300: None, 1000: None}, "would not lower"),
    ],
)
def test_more_labels_bring_what_the_interval_says(more: dict[int, int | None], sentence: str) -> None:
    assert sentence in " ".join(more_sentences(replace(FOUND, share=50, more=more)))


def test_groups_and_what_was_left_out_are_told() -> None:
    assert "7 groups" in said(replace(FOUND, groups=7))
    assert "had not seen" not in said(FOUND)
    assert "9 more have no verdict" in said(replace(FOUND, not_known=9))
