"""The ways to order questions that are compared: a random order, the length, LiteLLM's heuristics, ours, an oracle.

LiteLLM's are run from its wheel, RouteLLM's are quoted from its paper, since its routers need embeddings of a service
or weights that are downloaded. RouteLLM's routers were trained on other questions than these; ours on labels of the
same benchmark, which is what it is for.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np

from tests.isolated import REQUIREMENTS, environment
from tierwise.routing.text_features import LENGTH, Features, TextFacts, features_of
from tierwise_training import model
from tierwise_training.model import Questions, Reals
from tools.bench_routing.data import Benchmark

ANSWER_SALT = b"the small tier's answer"
ROUTELLM = "RouteLLM, the best of its routers (published)"
PUBLISHED = {
    "MMLU": (0.603, 35.4, 70.3),
    "GSM8K, labels as published": (0.622, 33.6, 63.3),
}
"""APGR, CPT50 and CPT80 on all 57 subjects of MMLU and on GSM8K: the best value of each column of the tables 2 and 3 of
arXiv 2406.18665. The labels of GSM8K are the faulty ones."""


def features(benchmark: Benchmark, *, told_subject: bool = False, with_answer: bool = False) -> list[Features]:
    """What ours reads. An application that asks about one subject has a system prompt of its own: `told_subject`. With
    the small model's answer in hand, its pieces come beside those of the question, in buckets of their own."""
    found = []
    for number, prompt in enumerate(benchmark.prompts):
        system = benchmark.subjects[number].encode() if told_subject else b""
        question = features_of(prompt.encode(), TextFacts(system=system))
        if with_answer:
            answer = features_of(benchmark.answers[number].encode(), TextFacts(), ANSWER_SALT)
            pieces = np.concatenate((question.buckets, answer.buckets))
            question = Features(pieces, answer.sizes, question.group)
        found.append(question)
    return found


def questions(benchmark: Benchmark, found: list[Features], *, by_subject: bool = False) -> Questions:
    """With verdicts; `by_subject` keeps each subject in one fold."""
    blocks = benchmark.subjects if by_subject else None
    return model.questions(found, benchmark.small.tolist(), benchmark.large.tolist(), blocks)


def random_order(benchmark: Benchmark) -> Reals:
    """All alike: what is measured of equal scores is the mean over every order."""
    return np.zeros(len(benchmark))


def length(asked: Questions) -> Reals:
    """Longer questions first."""
    return asked.sizes[:, LENGTH]


def oracle(benchmark: Benchmark) -> Reals:
    """First what only the large model answers, last what only the small one does."""
    return benchmark.large - benchmark.small


def litellm(benchmark: Benchmark) -> dict[str, Reals]:
    """LiteLLM's rules (v1) and its table of successes (v2), as its wheel scores the prompts."""
    python = environment("bench", "litellm", REQUIREMENTS / "bench-litellm.txt")
    done = subprocess.run(
        [str(python), str(Path(__file__).with_name("litellm_scores.py"))],
        input=json.dumps(benchmark.prompts),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
    )
    scores = json.loads(done.stdout)
    return {f"LiteLLM heuristic {name}": np.array(scores[name]) for name in ("v1", "v2")}
