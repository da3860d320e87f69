"""Checks that tokens are counted the same wherever text comes from, and that prefixes are recognized."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise_sim import tokens
from tierwise_sim.load import TEMPLATE_TOKENS, prompt_text
from tierwise_sim.workloads import Arrival


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(tokens.pieces(text)) == text


def test_english_has_about_four_characters_per_token() -> None:
    text = "Speculative decoding verifies several drafted tokens in one step, so a memory-bound engine yields more."
    assert 3 < len(text) / len(tokens.pieces(text)) < 5


@given(st.integers(1, 200), st.integers())
def test_an_answer_read_back_has_the_tokens_it_was_made_of(count: int, seed: int) -> None:
    answer = tokens.answer_tokens(count, Random(seed))
    assert len(answer) == count
    assert tokens.pieces("".join(answer)) == answer


@given(st.integers(1, 3000), st.lists(st.integers(0, 5), max_size=6))
def test_a_generated_prompt_has_exactly_the_wanted_tokens(count: int, prefix: list[int]) -> None:
    text = prompt_text(Arrival(0, count, 1, tuple(prefix)), "seed")
    made = tokens.chat_tokens([{"role": "user", "content": text}])
    assert len(made) == max(count, TEMPLATE_TOKENS + 1)


def test_equal_prefix_ids_make_equal_blocks_and_others_do_not() -> None:
    hashes = [
        tokens.block_hashes(
            tokens.chat_tokens([{"role": "user", "content": prompt_text(Arrival(0, 1200, 1, ids), seed)}]), 16
        )
        for ids, seed in (((1, 2), "a"), ((1, 3), "b"))
    ]
    common = [one == other for one, other in zip(*hashes, strict=True)]
    assert common[: 512 // 16 - 1] == [True] * 31
    assert not any(common[33:])


def test_the_next_turn_extends_the_last_one() -> None:
    first = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "what is a tier?"}]
    answer = tokens.answer_tokens(40, Random(1))
    turn = [*first, {"role": "assistant", "content": "".join(answer)}, {"role": "user", "content": "and then?"}]
    before = [*tokens.chat_tokens(first), *answer]
    assert tokens.chat_tokens(turn)[: len(before)] == before


def test_a_salt_separates_tenants() -> None:
    prompt = tokens.pieces("one two three four " * 10)
    assert not set(tokens.block_hashes(prompt, 4)) & set(tokens.block_hashes(prompt, 4, "tenant"))


def test_only_full_blocks_have_hashes() -> None:
    assert len(tokens.block_hashes(["a"] * 47, 16)) == 2
    assert tokens.block_hashes(["a"] * 15, 16) == []


def test_content_parts_are_text_or_refused() -> None:
    assert tokens.content_text([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]) == "ab"
    assert tokens.content_text(None) == ""
    for content in ([{"type": "image_url"}], 5, ["text"]):
        with pytest.raises(ValueError, match="text parts"):
            tokens.content_text(content)


def test_natural_lengths_have_the_wanted_mean_and_equal_prompts_equal_answers() -> None:
    rng = Random(1)
    lengths = [tokens.natural_length(200, rng) for _ in range(5000)]
    assert sum(lengths) / len(lengths) == pytest.approx(200, rel=0.05)
    one, other, third = (
        tokens.request_rng(["a", "b"], 0),
        tokens.request_rng(["a", "b"], 0),
        tokens.request_rng(["a"], 0),
    )
    assert one.random() == other.random() != third.random()
