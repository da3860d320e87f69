"""Checks the routing benchmark: the repaired labels, the fit from inner products, its tables, and that a bar can be
missed."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.known import labels
from tierwise_training import model
from tierwise_training.training import questions_of
from tools.bench_routing import contenders, draws, results
from tools.bench_routing.data import LARGE, SMALL, read_gsm8k, read_mmlu
from tools.bench_routing.dual import Products
from tools.bench_routing.results import BARS, Kept, Learned, Results, Row


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mmlu").mkdir()
    for subject, right in (("b_law", ("True", "False")), ("a_math", ("False", "True"))):
        with (tmp_path / f"mmlu/{subject}.csv").open("w", newline="") as file:
            written = csv.writer(file)
            written.writerow(("prompt", SMALL, LARGE))
            written.writerow((f"a question of {subject}\nA. 0", *right))
    with (tmp_path / "gsm8k.csv").open("w", newline="") as file:
        written = csv.writer(file)
        written.writerow(("prompt", SMALL, LARGE, f"{SMALL}_response", f"{LARGE}_response"))
        written.writerow(("q1", "False", "True", "so it is $20.00", "#### 20"))
        written.writerow(("q2", "True", "True", "that is 1,001 eggs", "I do not know"))
    with (tmp_path / "gsm8k-gold.csv").open("w", newline="") as file:
        csv.writer(file).writerows((("prompt", "answer"), ("q1", "20"), ("q2", "1,000")))
    return tmp_path


def test_subjects_are_read_in_the_order_of_their_names(folder: Path) -> None:
    found = read_mmlu(folder)
    assert found.subjects == ("a_math", "b_law")
    assert (found.small.tolist(), found.large.tolist()) == ([0, 1], [1, 0])


def test_labels_are_repaired_by_the_reference_answers_as_decimals(folder: Path) -> None:
    published, repaired = read_gsm8k(folder, repaired=False), read_gsm8k(folder, repaired=True)
    assert (published.small.tolist(), published.large.tolist()) == ([0, 1], [1, 1])
    assert (repaired.small.tolist(), repaired.large.tolist()) == ([1, 0], [1, 0])


@pytest.mark.parametrize("system", [False, True])
def test_a_fit_from_inner_products_has_the_scores_of_the_fit_itself(system: bool) -> None:
    asked = questions_of(labels(260, system=system))
    learned, held = np.arange(0, 260, 2), np.arange(1, 260, 2)
    products = Products.of(asked)
    direct = model.fit(asked.take(learned)).scores(asked.take(held))
    assert products.scores(learned, held) == pytest.approx(direct, abs=0.02)
    assert np.corrcoef(products.scores(learned, held), direct)[0, 1] > 0.9999
    rows = np.arange(260)
    assert products.out_of_fold(rows, 3) == pytest.approx(model.out_of_fold(asked, 3), abs=0.02)


def test_no_question_is_learned_from_and_judged_by() -> None:
    subjects = tuple(f"s{number % 7}" for number in range(200))
    for named in (None, subjects):
        learned, held = draws._divide(np.random.default_rng(1), 200, named, 50)
        assert len(learned) == 50
        assert not set(learned.tolist()) & set(held.tolist())
    assert not {subjects[row] for row in learned} & {subjects[row] for row in held}


def test_draws_keep_the_promise_and_the_naive_threshold_does_not() -> None:
    products = Products.of(questions_of(labels(1500)))
    kept = {each.method: each for _, each in draws.promise(products, None, 300, 12)}
    assert kept[draws.PROMISED].kept >= 75
    assert kept[draws.NAIVE].share < kept[draws.PROMISED].share
    assert kept[draws.PROMISED].needed <= kept[draws.PROMISED].share


def test_the_small_answer_is_read_behind_the_question(folder: Path) -> None:
    benchmark = read_gsm8k(folder, repaired=True)
    plain, both = contenders.features(benchmark), contenders.features(benchmark, with_answer=True)
    assert set(plain[0].buckets.tolist()) < set(both[0].buckets.tolist())
    assert plain[0].group == both[0].group == ""
    assert contenders.features(read_mmlu(folder), told_subject=True)[0].group != ""


def _results(apgr: float = 0.9, kept: float = 90.0) -> Results:
    rows = [Row(f"{benchmark}...", split, contender, apgr) for benchmark, split, contender, _ in BARS]
    promise = [Kept(results.RANDOM_SPLIT, 300, draws.PROMISED, 400, kept, 60.0, 50.0)]
    return Results({}, rows, [Learned("MMLU", "random", 100, 0.6, 0.01, 20)], promise)


def test_a_bar_that_is_missed_is_told_by_name() -> None:
    assert results.missed(_results()) == []
    assert len(results.missed(_results(apgr=0.5))) == len(BARS)
    assert results.missed(_results(kept=87.9)) == ["the promise is kept in 88 % of draws at 300 labels, below 88.0"]
    assert "not measured" in results.missed(replace(_results(), rows=[]))[0]
    assert results.missed(replace(_results(), promise=[])) == ["whether the promise is kept: not measured"]
    assert "Every bar is met." in list(results.lines(_results()))


def test_results_come_back_as_they_were_written(tmp_path: Path) -> None:
    made = _results()
    made.rows[0] = replace(made.rows[0], apgr_interval=(0.8, 0.95), large_share=40.0, large_share_interval=(30.0, 50.0))
    kept = {name: [asdict(each) for each in getattr(made, name)] for name in ("rows", "learned", "promise")}
    (tmp_path / "r.json").write_text(json.dumps({"about": {}, **kept}))
    assert results.load(tmp_path / "r.json") == made
    assert "| 0.900 [0.800–0.950] |" in "\n".join(results.lines(made))
