"""Reads questions and whether Mixtral-8x7B and GPT-4 answered them right, as RouteLLM published them.

GSM8K's published labels are faulty: the last digits of an answer were taken for the answer, so that "$20.00" counts as
0 and as wrong, and a router that looks for "$" seems to be clever. The repaired labels compare numbers as decimals with
the reference answers of the data set.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tierwise_training import extraction

SMALL, LARGE = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class Benchmark:
    """Questions, 1 where each model is right, the subject of each question ("" without), and the small one's answers
    where they were published."""

    name: str
    prompts: tuple[str, ...]
    small: Reals
    large: Reals
    subjects: tuple[str, ...]
    answers: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.prompts)


def read_mmlu(folder: Path) -> Benchmark:
    """The subjects of MMLU that are there, in the order of their names."""
    prompts, small, large, subjects = [], [], [], []
    for path in sorted((folder / "mmlu").glob("*.csv")):
        for row in _rows(path):
            prompts.append(row["prompt"])
            small.append(row[SMALL] == "True")
            large.append(row[LARGE] == "True")
            subjects.append(path.stem)
    name = f"MMLU, {len(set(subjects))} subjects"
    return Benchmark(name, tuple(prompts), np.array(small, float), np.array(large, float), tuple(subjects))


def read_gsm8k(folder: Path, repaired: bool) -> Benchmark:
    """GSM8K with the labels as they were published, or as the reference answers have them."""
    rows = _rows(folder / "gsm8k.csv")
    answers = {model: tuple(row[f"{model}_response"] for row in rows) for model in (SMALL, LARGE)}
    if repaired:
        gold = {row["prompt"]: Decimal(row["answer"].replace(",", "")) for row in _rows(folder / "gsm8k-gold.csv")}
        wanted = [gold[row["prompt"]] for row in rows]
        right = {
            model: [
                extraction.right("number", said, value) is True
                for said, value in zip(answers[model], wanted, strict=True)
            ]
            for model in (SMALL, LARGE)
        }
    else:
        right = {model: [row[model] == "True" for row in rows] for model in (SMALL, LARGE)}
    return Benchmark(
        f"GSM8K, labels {'repaired' if repaired else 'as published'}",
        tuple(row["prompt"] for row in rows),
        np.array(right[SMALL], float),
        np.array(right[LARGE], float),
        ("",) * len(rows),
        answers[SMALL],
    )


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
