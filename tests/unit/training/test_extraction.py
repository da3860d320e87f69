"""Checks that final answers are read as people read them, and that what cannot be read is no wrong answer."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise_training import extraction

NUMBERS = [
    ("She makes $20.00", "20"),
    ("It costs 1,000", "1000"),
    ("The temperature is -5", "-5"),
    ("He pays 84 cents.", "84"),
    ("x = −3", "-3"),
    ("3 + 4 = 7\n#### 7", "7"),
    ("#### $1,234.50", "1234.5"),
    ("#### 12 dollars and nothing more, of 15", None),
    ("#### 7\nThat was 100 times harder than it looked.", "7"),
    ("so \\boxed{42} is the answer to question 7", "42"),
    ("\\boxed{x = 5}", "5"),
    ("\\boxed{\\$1{,}000}", "1000"),
    ("\\boxed{3 \\text{ apples}}", "3"),
    ("\\boxed{\\frac{1}{2}}", None),
    ("\\boxed{1} and then \\boxed{{2}}", "2"),
    ("#### 2:00 pm", None),
    ("#### 225 minutes or 3 hours and 45 minutes", None),
    ("#### ", None),
    ("It is about 50%", "50"),
    ("It is 50\\%", "50"),
    ("It owes -$5", "-5"),
    ("It owes $-5", "-5"),
    ("10-5", "5"),
    ("That is 1.5e3 joules", "1500"),
    ("Water is H2O", None),
    ("version 1.2.3", None),
    ("The answer is **18**.", "18"),
    ("0.50", "0.5"),
    (".5", "0.5"),
    ("nothing", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "wanted"), NUMBERS)
def test_a_number_is_the_final_one_without_what_only_formats(text: str, wanted: str | None) -> None:
    assert extraction.number(text) == (None if wanted is None else Decimal(wanted))


WHOLE = st.integers(-(10**12), 10**12)
CENTS = st.decimals(-(10**6), 10**6, places=2, allow_nan=False, allow_infinity=False)


@given(CENTS, st.sampled_from(["{}", "${}", "the total is {}.", "#### {}", "\\boxed{{{}}}", "It costs {} dollars"]))
def test_a_number_is_read_however_it_is_written(value: Decimal, form: str) -> None:
    for written in (f"{value:f}", f"{value:,f}", f"{value:,.4f}"):
        assert extraction.number(form.format(written)) == value


@given(WHOLE, st.text("abc xyz\n.,!", max_size=40))
def test_words_after_a_number_do_not_change_it(value: int, words: str) -> None:
    assert extraction.number(f"we get {value} {words}") == value


@given(WHOLE, st.lists(WHOLE, max_size=5))
def test_a_marked_number_beats_all_others(value: int, others: list[int]) -> None:
    around = " ".join(f"and {other}" for other in others)
    assert extraction.number(f"{around}\n#### {value}\n{around}") == value
    assert extraction.number(f"{around} \\boxed{{{value}}} {around}") == value


@given(st.text(max_size=200))
def test_any_text_is_read_or_not_and_never_fails(text: str) -> None:
    for kind in extraction.KINDS:
        once = extraction.reading(kind, text)
        assert extraction.reading(kind, text) == once
        assert extraction.right(kind, text, once) is (None if once is None else True)


CHOICES = [
    ("B", "B"),
    ("b)", "B"),
    ("(C)", "C"),
    ("**D.** because it is so", "D"),
    ("The answer is (C).", "C"),
    ("Answer: A", "A"),
    ("First I thought the answer is A. No: the correct answer is **B**.", "B"),
    ("so \\boxed{\\text{D}}", "D"),
    ("#### E", "E"),
    ("It cannot be (A), for this reason.\nSo it is (B)", "B"),
    ("Either (A) or (B)", None),
    ("The answer is a robe", None),
    ("I think so", None),
    ("A robe takes two bolts", None),
    ("Reasons.\nC", "C"),
    ("#### both", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "wanted"), CHOICES)
def test_a_choice_is_a_letter_that_is_chosen_and_no_mere_word(text: str, wanted: str | None) -> None:
    assert extraction.choice(text) == wanted


@given(st.sampled_from("ABCDEFGHIJ"), st.sampled_from(["{}", "({})", "The answer is {}.", "Answer: ({})", "#### {}"]))
def test_every_letter_is_read_in_every_form(letter: str, form: str) -> None:
    assert extraction.choice(form.format(letter)) == letter


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, st.integers(0, 4))
def test_json_is_equal_however_it_is_laid_out(value: object, indent: int) -> None:
    plain = json.dumps(value)
    laid_out = json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False)
    wanted = extraction.json_value(plain)
    assert wanted is not None
    assert extraction.right("json", laid_out, wanted)
    assert extraction.right("json", f"Here it is:\n```json\n{laid_out}\n```", wanted)


@given(VALUES, VALUES)
def test_json_differs_where_the_values_do(one: object, other: object) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (extraction.json_value(json.dumps(one)) == extraction.json_value(json.dumps(other))) == same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1", "1.0", True),
        ("1", "true", False),
        ("0", "false", False),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1.00}', True),
        ("[1, 2]", "[2, 1]", False),
        ('{"a": null}', "{}", False),
    ],
)
def test_json_compares_values_and_keeps_booleans_apart(one: str, other: str, same: bool) -> None:
    assert (extraction.json_value(one) == extraction.json_value(other)) is same


def test_json_is_found_in_a_text_and_the_last_object_counts() -> None:
    assert extraction.json_value('first {"a": 1}, then {"a": 2}.') == extraction.json_value('{"a": 2}')
    assert extraction.json_value("no {object here") is None
    assert extraction.json_value('{"a": NaN}') is None
    assert extraction.json_value("[" * 100_000) is None


def test_exact_is_the_text_but_for_white_space() -> None:
    assert extraction.right("exact", " Paris \n", "Paris") is True
    assert extraction.right("exact", "paris", "Paris") is False
    assert extraction.right("exact", "  ", "Paris") is None
