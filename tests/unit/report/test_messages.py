"""Messages: what happened, then what to do, in bounds, and without anything that changes by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tierwise import reasons
from tierwise.report.messages import MESSAGE_LENGTH, message_for, remedy
from tierwise.text_sanitize import last_words, pull_failure, sanitize, truncate

WORDS = [reason.word for reason in reasons.table()]


@given(st.sampled_from(WORDS), st.text(max_size=3000))
def test_every_message_fits_and_keeps_the_remedy(word: str, detail: str) -> None:
    message = message_for(word, detail)
    assert 0 < len(message) <= MESSAGE_LENGTH
    assert "\n" not in message
    assert remedy(word).rstrip(".") in message or not remedy(word)


def test_the_remedy_is_not_said_twice() -> None:
    assert message_for(
        "KServeMissing", "no InferenceService kind: Install KServe; the README lists the releases that are tested"
    ) == ("no InferenceService kind: Install KServe; the README lists the releases that are tested")
    assert (
        message_for("KServeMissing", "no kind")
        == "no kind. Install KServe; the README lists the releases that are tested."
    )
    assert (
        message_for("KServeMissing", "no kind.")
        == "no kind. Install KServe; the README lists the releases that are tested."
    )
    assert message_for("Valid") == "The spec can be served as it is."


def test_an_unknown_reason_is_a_defect_but_has_no_remedy() -> None:
    with pytest.raises(KeyError):
        message_for("Whatever")
    assert remedy("Whatever") == ""


@given(st.text(max_size=50), st.integers(1, 60))
def test_clip(text: str, length: int) -> None:
    clipped = truncate(text, length)
    assert len(clipped) <= length
    assert clipped == text or (clipped.endswith("…") and text.startswith(clipped[:-1]))


def test_two_refused_pods_have_one_message() -> None:
    first, second = (f'pods "chat-{suffix}" is forbidden:\n exceeded  quota' for suffix in ("x7k2p", "abcde"))
    assert sanitize(first) == sanitize(second) == "pods is forbidden: exceeded quota"


def test_attempt_and_back_off_of_a_pull_say_the_same() -> None:
    cause = "failed to pull: registry.example.com/vllm:v9: not found"
    assert pull_failure(cause) == cause
    assert pull_failure(f'Back-off pulling image "registry.example.com/vllm:v9": ErrImagePull: {cause}') == cause
    assert pull_failure('Back-off pulling image "a:1"') == "image a:1 cannot be pulled"
    assert pull_failure("") == ""


def test_the_cause_is_found_among_the_last_lines() -> None:
    output = """INFO 11-21 starting
(EngineCore) ValueError: No available memory for the cache blocks.
(APIServer) Traceback (most recent call last):
(APIServer) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""
    assert last_words(output) == "(EngineCore) ValueError: No available memory for the cache blocks."
    assert last_words("vllm serve: error: unrecognized arguments: --x\nbye\n").endswith("--x")
    assert last_words("one\n\n  two  \n") == "two"
    assert last_words("") == ""
    assert len(last_words("x" * 5000)) == 400


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("OSError: token hf_abcdefghijklmnopqrstuvwxyz0123456789 was refused", "OSError: token *** was refused"),
        ("Error: Authorization: Bearer eyJhbGciOi.J9.x", "Error: Authorization: Bearer ***"),
        ("Error: sk-proj-abcdefghijklmnopqrstuv is no key", "Error: *** is no key"),
        (
            "Error: cannot reach https://me:secret@hub.example.com/x",
            "Error: cannot reach https://***@hub.example.com/x",
        ),
        ("Error: the task-runner of disk-pressure at https://hub.example.com/a@b", None),
    ],
)
def test_what_looks_like_a_key_is_not_repeated(said: str, shown: str | None) -> None:
    """An engine may print anything before it ends, and its last line becomes a condition."""
    assert last_words(said) == (shown or said)
    assert (shown or said) in message_for(reasons.ENGINE_CRASHED, said)
