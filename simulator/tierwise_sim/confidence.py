"""Decides whether an answer is right, and gives its tokens log-probabilities that know something of it.

A cascade earns what the log-probabilities of the cheap answers tell about their rightness, and that can only be
computed where both are known. Here they are: a share of the answers is right, by a hash of the prompt, and a normal
signal stands sqrt(2) * probit(AUC) higher for right answers than for wrong ones, so that its AUC is the one asked for.
The mean log-probability of an answer is that of a token as probable as the logistic function of the signal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import exp, expm1, log, log1p, sqrt
from statistics import NormalDist
from typing import Any

_NORMAL = NormalDist()
_SWING = 0.9
"""Tokens swing around the mean of their answer by up to this share of it, in pairs that cancel."""
Logprob = tuple[float, Sequence[float]]
"""Of a token, and of the most probable other ones in its place."""


@dataclass(frozen=True, slots=True)
class Confidence:
    """Of one model. `name` keeps models apart: which prompts one answers rightly says nothing about another.

    `right_percent` of its answers are right; None: nobody knows, and the signal says nothing. `auc`: how probable it is
    that a right answer looks surer than a wrong one."""

    name: str = ""
    right_percent: float | None = None
    auc: float = 0.5
    seed: int = 0

    def right(self, prompt: Sequence[str]) -> bool:
        """Whether the answer to a prompt (its tokens) is right."""
        return self.right_percent is not None and self._draw("right", prompt) < self.right_percent / 100

    def mean(self, prompt: Sequence[str]) -> float:
        """The mean log-probability of the tokens of an answer; exactly that of each two of them."""
        signal = _NORMAL.inv_cdf(self._draw("signal", prompt))
        if self.right(prompt):
            signal += self.distance
        return self.mean_of(signal)

    @property
    def distance(self) -> float:
        """How far the signals of right answers stand above those of wrong ones, in standard deviations."""
        return sqrt(2) * _NORMAL.inv_cdf(self.auc)

    @staticmethod
    def mean_of(signal: float) -> float:
        """The mean log-probability of an answer with this signal."""
        return -log1p(exp(-signal))

    def logprobs(self, prompt: Sequence[str], count: int, others: int) -> list[Logprob]:
        """Of `count` tokens of the answer, each with `others` other tokens."""
        mean = self.mean(prompt)
        found: list[Logprob] = []
        for place in range(count):
            swing = _SWING * self._draw(f"token {place // 2}", prompt)
            value = mean * (1 + swing if place % 2 else 1 - swing)
            rest = log(-expm1(value)) if value < 0 else -50.0
            found.append((value, [rest - log(2) * (number + 1) for number in range(others)]))
        return found

    def _draw(self, what: str, prompt: Sequence[str]) -> float:
        """A number between 0 and 1, both left out, by the prompt alone."""
        words = "\x1f".join([str(self.seed), self.name, what, *prompt])
        digest = blake2b(words.encode(), digest_size=8).digest()
        return (int.from_bytes(digest, "big") + 0.5) / 2**64


def chat_logprobs(tokens: Sequence[str], values: Iterable[Logprob]) -> dict[str, Any]:
    """As vLLM says them of a chat: the token that was chosen is the first of the alternatives."""
    return {
        "content": [
            {**_entry(token, value), "top_logprobs": [_entry(token, value), *_others(others)] if others else []}
            for token, (value, others) in zip(tokens, values, strict=True)
        ],
    }


def completion_logprobs(tokens: Sequence[str], values: Sequence[Logprob], offset: int) -> dict[str, Any]:
    """As vLLM says them of a completion; `offset` is the length of the text before."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token)
    return {
        "text_offset": offsets,
        "token_logprobs": [value for value, _ in values],
        "tokens": list(tokens),
        "top_logprobs": [
            {token: value, **{entry["token"]: entry["logprob"] for entry in _others(others)}}
            for token, (value, others) in zip(tokens, values, strict=True)
        ],
    }


def _entry(token: str, value: float) -> dict[str, Any]:
    return {"token": token, "logprob": value, "bytes": list(token.encode())}


def _others(values: Sequence[float]) -> list[dict[str, Any]]:
    return [_entry(f"<other {number}>", value) for number, value in enumerate(values)]
