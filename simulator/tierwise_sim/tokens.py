"""Tokenizes text, hashes prefixes, and generates answers.

A tokenizer that costs nothing: up to six characters with the space before them are one token, about four
characters of English each. Answers are made of such tokens only, so an answer that a client sends back in the
next turn has the tokens it had when it was generated, and the prefix cache finds them. Equal requests get
equal answers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from random import Random

_PIECE = re.compile(r" ?\S{1,6}|\s")

WORDS = (
    "the", "a", "tier", "model", "cache", "token", "batch", "queue", "and", "or", "fast", "slow", "large",
    "small", "first", "last", "every", "one", "two", "three", "serves", "holds", "keeps", "waits", "when",
    "then", "while", "after", "before", "under", "over", "with", "from", "into", "load", "time", "cost",
    "price", "hour", "node", "chip", "step", "rate", "share", "block", "prompt", "answer", "route", "scale",
    "grow", "shrink", "stays", "moves", "reads", "writes", "is", "was", "can", "may", "must", "not", "only",
    "again", "still",
)  # fmt: skip


def pieces(text: str) -> list[str]:
    """The tokens of a text; joined they are the text again."""
    return _PIECE.findall(text)


def content_text(content: object) -> str:
    """The text of a chat message's content: a string, or parts of type text.

    Raises ValueError for anything else.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
        if len(texts) == len(content) and all(isinstance(text, str) for text in texts):
            return "".join(str(text) for text in texts)
    raise ValueError("message content must be a string or a list of text parts")


def chat_tokens(messages: Iterable[Mapping[str, object]]) -> list[str]:
    """The prompt of a conversation: a role token, the text and an end token per message, then the answer's role.

    Raises ValueError for content that is not text.
    """
    tokens: list[str] = []
    for message in messages:
        tokens.append(f"<|{message.get('role')}|>")
        tokens += pieces(content_text(message.get("content")))
        tokens.append("<|end|>")
    tokens.append("<|assistant|>")
    return tokens


def block_hashes(tokens: Sequence[str], block_size: int, salt: str = "") -> list[int]:
    """One hash per full block, each over everything up to its end; `salt` keeps tenants apart."""
    digest = hashlib.blake2b(salt.encode(), digest_size=8)
    hashes: list[int] = []
    for start in range(0, len(tokens) - block_size + 1, block_size):
        digest.update("\x1f".join(tokens[start : start + block_size]).encode())
        digest.update(b"\x1e")
        hashes.append(int.from_bytes(digest.digest(), "big"))
    return hashes


def answer_tokens(count: int, rng: Random) -> list[str]:
    """`count` tokens of an answer; each is one token when the text is read back."""
    words = rng.choices(WORDS, k=count)
    return [words[0], *(f" {word}" for word in words[1:])]


def natural_length(mean: int, rng: Random) -> int:
    """How long the model would talk: log-normal around `mean`, most answers shorter, a few much longer."""
    sigma = 0.7
    return max(1, round(mean * rng.lognormvariate(-sigma * sigma / 2, sigma)))


def request_rng(tokens: Sequence[str], seed: int) -> Random:
    """A generator that depends on the prompt alone, so that a repeated request is answered alike."""
    digest = hashlib.blake2b("\x1f".join(tokens).encode(), digest_size=8)
    return Random(f"{seed}:{digest.hexdigest()}")  # noqa: S311 - a repeatable run, no secret
