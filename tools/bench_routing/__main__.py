"""Compares ways to divide questions between two models: `python -m tools.bench_routing` (or `make bench-routing`).

The data are read from the folder `routing` of the one that TIERWISE_DATA names. Everything is drawn from one seed, so
the same code gives the same figures. Nothing is tuned here: what is measured is `tierwise_training.model` as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import tierwise
from tierwise_sim.workloads import data_folder
from tierwise_training import model
from tierwise_training.evaluation import bootstrap, interval, measure
from tierwise_training.model import Reals
from tools.bench_router.contenders import version_of
from tools.bench_routing import contenders, draws
from tools.bench_routing.data import Benchmark, read_gsm8k, read_mmlu
from tools.bench_routing.dual import Products
from tools.bench_routing.results import (
    NO_GROUP,
    OURS,
    RANDOM_SPLIT,
    UNSEEN,
    WITH_ANSWER,
    WITH_ANSWER_LOOSE,
    Kept,
    Learned,
    Results,
    Row,
    lines,
    load,
    missed,
)

COMMAND = "python -m tools.bench_routing"
BOOTSTRAPS = 500
QUALITY = 95
PRICES = (0.24, 24.7)
"""USD per million tokens of Mixtral-8x7B and GPT-4, as RouteLLM's paper has them; as many tokens from either."""
LEARNING = ((100, 20), (300, 20), (1000, 10), (3000, 5))
"""Labels, and how often they are drawn."""
LOOSE = 1.0
"""The C with which others have measured the small answer in hand; the classifier itself has 0.1."""
DRAWS = 400
PROMISES = ((300, DRAWS), (1000, DRAWS))
UNSEEN_DRAWS = 100
PUBLISHED = "as published"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; with --out, write JSON as well. Exit code 1 when a bar is missed."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Ways to divide questions between two models.")
    parser.add_argument("--out", type=Path, help="write the results here, e.g. docs/results/routing.json")
    parser.add_argument(
        "--only", choices=["rows", "learned", "promise"], nargs="+", default=["rows", "learned", "promise"]
    )
    given = parser.parse_args(arguments)
    folder = data_folder(os.environ)
    if folder is None or not (folder / "routing").is_dir():
        print("TIERWISE_DATA must name a folder that holds routing/: see docs/classifier.md", file=sys.stderr)
        return 2
    results = _measure(folder / "routing", given.only)
    _show(results)
    if given.out:
        if given.out.exists():  # what was not measured again stays
            kept_before = load(given.out)
            for name in set(_LISTS) - set(given.only):
                getattr(results, name).extend(getattr(kept_before, name))
        about = results.about | {"command": COMMAND}
        kept = {"about": about, **{name: [asdict(each) for each in getattr(results, name)] for name in _LISTS}}
        given.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    short = missed(results)
    print("\n".join(short) or "every bar is met")
    return 1 if short else 0


_LISTS = ("rows", "learned", "promise")


def _measure(folder: Path, only: Sequence[str]) -> Results:
    mmlu = read_mmlu(folder)
    gsm8k, published = read_gsm8k(folder, repaired=True), read_gsm8k(folder, repaired=False)
    results = Results(_about((mmlu, gsm8k, published)), [])
    if "rows" in only:
        results.rows.extend(_told(_rows(mmlu, gsm8k, published)))
    if "learned" in only:
        results.learned.extend(_learned(mmlu, gsm8k))
    if "promise" in only:
        results.promise.extend(_promises(mmlu))
    return results


def _rows(mmlu: Benchmark, gsm8k: Benchmark, published: Benchmark) -> Iterator[Row]:
    plain, told = contenders.features(mmlu), contenders.features(mmlu, told_subject=True)
    asked = contenders.questions(mmlu, plain)
    yield from _others(mmlu, contenders.length(asked))
    ours = {
        OURS: model.out_of_fold(contenders.questions(mmlu, told)),
        NO_GROUP: model.out_of_fold(asked),
    }
    yield from (_row(mmlu, RANDOM_SPLIT, name, scores) for name, scores in ours.items())
    by_subject = contenders.questions(mmlu, told, by_subject=True)
    yield _row(mmlu, UNSEEN, OURS, model.out_of_fold(by_subject))
    for benchmark in (gsm8k, published):
        found = contenders.questions(benchmark, contenders.features(benchmark))
        yield from _others(benchmark, contenders.length(found))
        yield _row(benchmark, RANDOM_SPLIT, OURS, model.out_of_fold(found))
        with_answer = contenders.questions(benchmark, contenders.features(benchmark, with_answer=True))
        yield _row(benchmark, RANDOM_SPLIT, WITH_ANSWER, model.out_of_fold(with_answer))
        yield _row(benchmark, RANDOM_SPLIT, WITH_ANSWER_LOOSE, model.out_of_fold(with_answer, c=LOOSE))
    other = contenders.questions(gsm8k, contenders.features(gsm8k))
    yield _row(gsm8k, "learned from MMLU", OURS, model.fit(asked).scores(other))
    yield _row(mmlu, "learned from GSM8K", OURS, model.fit(other).scores(asked))


def _others(benchmark: Benchmark, length: Reals) -> Iterator[Row]:
    yield _row(benchmark, "none", "random", contenders.random_order(benchmark))
    yield _row(benchmark, "none", "length", length)
    for name, scores in contenders.litellm(benchmark).items():
        yield _row(benchmark, "none", f"{name} {version_of('litellm', 'bench-litellm.txt')}", scores)
    for name, (apgr, cpt50, cpt80) in contenders.PUBLISHED.items():
        if benchmark.name.startswith(name):
            yield Row(benchmark.name, PUBLISHED, contenders.ROUTELLM, apgr, cpt50, cpt80)
    yield _row(benchmark, "none", "oracle", contenders.oracle(benchmark))


def _row(benchmark: Benchmark, split: str, contender: str, scores: Reals) -> Row:
    found = measure(scores, benchmark.small, benchmark.large, QUALITY)
    samples = bootstrap(scores, benchmark.small, benchmark.large, BOOTSTRAPS, model.SEED, QUALITY)
    low, high = PRICES
    share = found.large_share / 100
    apgrs, shares = interval([each.apgr for each in samples]), interval([each.large_share for each in samples])
    return Row(
        benchmark.name,
        split,
        contender,
        round(found.apgr, 4),
        round(found.cpt50, 2),
        round(found.cpt80, 2),
        round(found.large_share, 2),
        round(100 * (share + (1 - share) * low / high), 2),
        (round(apgrs[0], 4), round(apgrs[1], 4)),
        (round(shares[0], 2), round(shares[1], 2)),
    )


def _learned(mmlu: Benchmark, gsm8k: Benchmark) -> Iterator[Learned]:
    asked = _products(mmlu)
    math = Products.of(contenders.questions(gsm8k, contenders.features(gsm8k)))
    for labels, repeats in LEARNING:
        for name, these, subjects in (
            (mmlu.name, asked, None),
            (mmlu.name, asked, mmlu.subjects),
            (gsm8k.name, math, None),
        ):
            if labels < 0.8 * len(these.asked):
                found = draws.learn(name, these, subjects, labels, repeats)
                _tell(f"{name}, {found.split}, {labels} labels: APGR {found.apgr:.3f}")
                yield found


@lru_cache(maxsize=1)
def _products(mmlu: Benchmark) -> Products:
    _tell("making the inner products of all questions")
    return Products.of(contenders.questions(mmlu, contenders.features(mmlu, told_subject=True)))


def _promises(mmlu: Benchmark) -> Iterator[Kept]:
    asked = _products(mmlu)
    plans: list[tuple[tuple[str, ...] | None, int, int]] = [(None, labels, count) for labels, count in PROMISES]
    plans += [(mmlu.subjects, labels, UNSEEN_DRAWS) for labels, _ in PROMISES]
    for subjects, labels, count in plans:
        last: dict[str, Kept] = {}
        for number, kept in draws.promise(asked, subjects, labels, count):
            last[kept.method] = kept
            if number % 20 == 0:
                _tell(f"{number} draws: {kept}")
        yield from last.values()


def _about(benchmarks: Sequence[Benchmark]) -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "versions": {
            "tierwise": tierwise.__version__,
            "commit": commit,
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "scikit-learn", "scipy")},
            "litellm": version_of("litellm", "bench-litellm.txt"),
        },
        "settings": {"C": model.C, "group prior": model.GROUP_PRIOR, "folds": model.FOLDS, "seed": model.SEED},
        "questions": {
            each.name: {
                "count": len(each),
                "small_right_percent": round(100 * float(each.small.mean()), 2),
                "large_right_percent": round(100 * float(each.large.mean()), 2),
            }
            for each in benchmarks
        },
    }


def _told(rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        _tell(f"{row.benchmark}, {row.split}, {row.contender}: APGR {row.apgr:.3f}, large {row.large_share}")
        yield row


def _show(results: Results) -> None:
    table = Table("questions", "split", "order", "APGR", "CPT50", "CPT80", "large %", "cost %")
    for row in results.rows:
        figures = (row.apgr, row.cpt50, row.cpt80, row.large_share, row.cost)
        table.add_row(
            row.benchmark, row.split, row.contender, *("" if each is None else f"{each:g}" for each in figures)
        )
    console = Console()
    console.print(table)
    if not sys.stdout.isatty():
        print("\n".join(lines(results)))


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
