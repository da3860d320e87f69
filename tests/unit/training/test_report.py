"""Checks what a report counts, and that a judge's planted sensitivity and specificity are within their intervals."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from io import StringIO
from random import Random

import pytest
from rich.console import Console

from tests.unit.training.made import label
from tierwise_training.labels import JudgeRecord, Label, Pair, Verdict
from tierwise_training.report import Report, report, warnings
from tierwise_training.report_text import as_json, as_text
from tierwise_training.verdicts import combine, rights


def judged(*orders: Verdict, audit: Verdict | None = None, **more: object) -> Label:
    pair = combine(orders)
    record = JudgeRecord(**pair.model_dump(), kind="tier:judge", audit=audit, cost_usd="0.002", **more)  # type: ignore[arg-type]
    return label(*rights(pair.verdict), record)


def audited(rng: Random, se: float, sp: float, good: float, n: int) -> list[Label]:
    """Labels whose judge calls a good pair good in the share `se`, and a bad one bad in the share `sp`."""
    made = []
    for _ in range(n):
        truly = rng.random() < good
        said = rng.random() < (se if truly else 1 - sp)
        verdict: Verdict = rng.choice(["win", "tie"]) if said else "loss"
        person: Verdict = rng.choice(["win", "tie"]) if truly else "loss"
        made.append(judged(verdict, verdict, audit=person))
    return made


@pytest.mark.parametrize(("se", "sp", "n"), [(0.95, 0.85, 60), (0.9, 0.7, 100), (0.8, 0.95, 100)])
def test_planted_sensitivity_and_specificity_are_in_their_intervals_19_of_20_times(
    se: float, sp: float, n: int
) -> None:
    rng = Random(f"{se} {sp} {n}")
    draws = 200
    found = [report(audited(rng, se, sp, 0.7, n)) for _ in range(draws)]
    assert all(one.audited == n and one.sensitivity.n + one.specificity.n == n for one in found)
    for held in (
        sum(one.sensitivity.low <= se <= one.sensitivity.high for one in found),
        sum(one.specificity.low <= sp <= one.specificity.high for one in found),
        sum(one.level.low <= 0.7 <= one.level.high for one in found),
    ):
        assert held >= 0.95 * draws


def test_labels_are_counted_by_who_was_right() -> None:
    found = report(
        [label(True, True)] * 4 + [label(True, False)] * 3 + [label(False, True)] * 2 + [label(False, False)]
    )
    assert (found.both, found.only_small, found.only_reference, found.neither) == (4, 3, 2, 1)
    assert (found.small_right.value, found.reference_right.value) == (0.7, 0.6)
    assert found.as_good.n == 0


def test_what_is_not_known_is_counted_and_left_out() -> None:
    found = report([label(None, True), label(True, None), label(True, True)])
    assert (found.labels, found.usable, found.unknown_small, found.unknown_reference) == (3, 1, 1, 1)


def test_flips_and_the_first_position_are_counted_over_what_was_asked() -> None:
    found = report(
        [judged("win", "loss"), judged("win", "win"), judged("tie", "tie"), label(True, True, JudgeRecord(kind="x"))]
    )
    assert found.flips.n == 3
    assert found.flips.value == pytest.approx(1 / 3)
    assert (found.first_shown.value, found.first_shown.n) == (0.75, 4)
    assert found.as_good.value == 1.0


def test_verdicts_are_split_by_length() -> None:
    lengths: dict[int, Verdict] = {10: "win", 20: "loss", 40: "tie"}
    made = [
        label(*rights(verdict), JudgeRecord(kind="number", verdict=verdict), output=tokens)
        for tokens, verdict in lengths.items()
    ]
    rows = report(made).by_length
    assert [(row.wins, row.losses, row.ties) for row in rows.values()] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]


def test_the_ceiling_is_the_reference_against_itself() -> None:
    made = [
        judged("tie", "tie", ceiling=Pair(verdict=v), again=Pair(verdict="tie")) for v in ("tie", "loss", "win", "win")
    ]
    found = report(made)
    assert (found.ceiling.value, found.ceiling.n) == (0.75, 4)
    assert (found.stable.value, found.stable.n) == (1.0, 4)


def test_the_cost_is_per_usable_label() -> None:
    found = report([judged("win", "win"), judged("loss", "loss"), label(True, True)])
    assert found.cost == Decimal("0.004")
    assert found.cost_per_label == Decimal("0.004") / 3
    assert report([label()]).cost_per_label is None


def shown(found: Report) -> str:
    out = StringIO()
    Console(file=out, width=100).print(as_text(found, "small", "large"))
    return out.getvalue()


def test_a_report_shows_what_it_has_and_warns() -> None:
    rng = Random(3)
    said = shown(report([*audited(rng, 0.9, 0.9, 0.8, 30), *[judged("win", "loss")] * 30]))
    for words in (
        "60 usable of 60",
        "flips with the order",
        "50.0 %",
        "sensitivity",
        "specificity",
        "per label",
        "tierwise train promises nothing",
    ):
        assert words in said
    assert "the judge changes its verdict" in said.replace("\n", " ")


def test_labels_by_other_means_are_reported_too() -> None:
    assert "judged by other means" in shown(report([label(True, False)]))


def test_json_is_for_programs() -> None:
    said = json.loads(json.dumps(as_json(report(audited(Random(1), 0.9, 0.8, 0.7, 80)))))
    assert said["labels"] == 80
    assert said["sensitivity"]["low"] < said["sensitivity"]["value"] < said["sensitivity"]["high"]
    assert said["ceiling"] == {"value": None, "low": 0.0, "high": 1.0, "n": 0}
    assert Decimal(said["costUSD"]) == Decimal("0.16")


def test_good_labels_have_no_warning() -> None:
    made = audited(Random(2), 0.97, 0.95, 0.8, 400)
    assert warnings(report(made)) == []
    assert warnings(replace(report(made), unknown_small=30)) != []
