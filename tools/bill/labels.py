"""Gives each request of a trace a question of a published benchmark: how hard it looks to the router's own classifier,
and whether the small and the large model answer it rightly.

A trace has lengths and no words, a benchmark has words and no times: they are drawn together at random, so nothing says
that long prompts are hard. The classifier's scores are out of fold (no question is scored by a model that has seen it),
as in `make bench-routing`, and only their order is used: a request's label is its question's place in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from tierwise_sim.traces.arrival import Trace
from tools.bill.run import Question

MMLU, GSM8K = "MMLU, 29 subjects", "GSM8K, labels repaired"


@dataclass(frozen=True, slots=True)
class Pool:
    """Questions to draw from; `labels`: 1 where a question looks easiest, 0 where it looks hardest."""

    questions: Sequence[Question]
    labels: Sequence[float]


def pool(folder: Path, name: str) -> Pool:
    """The questions of a benchmark in the folder `routing` of TIERWISE_DATA, scored. Takes a minute."""
    from tierwise_training import model
    from tools.bench_routing.contenders import features, questions
    from tools.bench_routing.data import read_gsm8k, read_mmlu

    told = name == MMLU
    read = read_mmlu(folder) if told else read_gsm8k(folder, repaired=True)
    scores = model.out_of_fold(questions(read, features(read, told_subject=told))).tolist()
    asked = [Question(small, large) for small, large in zip(read.small.tolist(), read.large.tolist(), strict=True)]
    return Pool(asked, easiness(scores))


def easiness(scores: Sequence[float]) -> list[float]:
    """The place of each score among all, from 1 (the lowest: looks easy) to 0."""
    order = sorted(range(len(scores)), key=lambda index: (scores[index], index))
    found = [0.0] * len(scores)
    for place, index in enumerate(order):
        found[index] = 1.0 - place / max(1, len(scores) - 1)
    return found


def labelled(trace: Trace, drawn_from: Pool, seed: int) -> tuple[Trace, tuple[Question, ...]]:
    """The trace with a label for each request, and what each asks."""
    chance = Random(f"{seed}/questions")  # noqa: S311 - a repeatable workload, no secret
    count = len(drawn_from.questions)
    drawn = [chance.randrange(count) for _ in trace.arrivals]
    arrivals = tuple(
        replace(arrival, label=drawn_from.labels[index]) for arrival, index in zip(trace.arrivals, drawn, strict=True)
    )
    return replace(trace, arrivals=arrivals), tuple(drawn_from.questions[index] for index in drawn)
