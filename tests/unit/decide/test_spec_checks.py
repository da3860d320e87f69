"""A spec is checked once per generation and facts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.act.worlds import tier
from tierwise import engines
from tierwise.decide import SpecChecks
from tierwise.engines import Finding
from tierwise.errors import Unsupported
from tierwise.types.capabilities import GPU, UNKNOWN, Facts

L4 = Facts(gpus=(GPU("NVIDIA-L4", (8, 9), 23034),))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Facts]:
    asked: list[Facts] = []

    def check(spec: object, facts: Facts = UNKNOWN) -> tuple[Finding, ...]:
        asked.append(facts)
        if facts == UNKNOWN:
            raise Unsupported("not known")
        return (Finding("Reason", f"said {len(asked)}"),)

    monkeypatch.setattr(engines, "check", check)
    return asked


def test_it_is_asked_once(asked: list[Facts]) -> None:
    checks, of = SpecChecks(), tier()
    first = checks.findings(of, L4)
    assert checks.findings(replace(of, resource_version="2"), Facts(gpus=L4.gpus)) is first
    for _ in range(2):
        with pytest.raises(Unsupported):
            checks.findings(of, UNKNOWN)
    assert asked == [L4, UNKNOWN]


def test_a_tier_without_pools_is_asked_about_the_pool_without_a_name(asked: list[Facts]) -> None:
    checks, of = SpecChecks(), tier()
    assert checks.findings(of, L4) is checks.findings(of, L4, None, "")
    assert checks.findings(of, L4, None, "b") != checks.findings(of, L4)


def test_the_answers_about_four_sets_of_facts_are_kept_in_each_pool(asked: list[Facts]) -> None:
    checks, of = SpecChecks(), tier()
    some = [Facts(gpus=(GPU(f"kind-{number}"),)) for number in range(4)]
    for _ in range(3):
        for pool in ("", "b"):
            for facts in some:
                checks.findings(of, facts, None, pool)
    assert len(asked) == 8


@pytest.mark.parametrize("change", [{"generation": 2}, {"uid": "another"}])
def test_another_spec_is_checked(asked: list[Facts], change: dict[str, object]) -> None:
    checks, of = SpecChecks(), tier()
    assert checks.findings(of, L4) != checks.findings(replace(of, **change), L4)  # type: ignore[arg-type]


def test_what_belongs_to_tiers_that_are_gone_is_not_kept(asked: list[Facts]) -> None:
    checks, of = SpecChecks(), tier()
    checks.findings(of, L4)
    checks.forget({of.uid, "another"})
    checks.findings(of, L4)
    assert len(asked) == 1
    checks.forget({"another"})
    checks.findings(of, L4)
    assert len(asked) == 2


def test_facts_that_come_and_go_do_not_pile_up(asked: list[Facts]) -> None:
    checks, of = SpecChecks(), tier()
    for number in range(100):
        checks.findings(of, Facts(gpus=(GPU(f"kind-{number}"),)))
    assert sum(len(answers) for _, answers in checks._found.values()) <= 4
