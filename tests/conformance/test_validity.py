"""The table of what runs where: what it lets pass, each release's own parser takes; what a release lacks, it refuses.

Many rows have the same arguments, since what is rendered does not depend on the GPU: each list is asked once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.conformance.asking import ask
from tests.conformance.environments import RELEASES, vllm_code, vllm_python
from tierwise.engines import arguments, profiles
from tools.validity_page import GPUS, REFUSED, Row, rows

pytestmark = pytest.mark.conformance
Lists = dict[str, list[str]]


def served(release: str) -> dict[str, Row]:
    """One row for every different argument list that the table lets pass."""
    passed = [row for row in rows() if row.release == release and row.verdict != REFUSED]
    return {" ".join(arguments(row.spec)): row for row in passed}


def lacking(release: str) -> Lists:
    """What some other release has, or some earlier one had, and this one has not, as somebody would write it."""
    ours = next(each for each in profiles() if each.release == release)
    methods = {name for each in profiles() for name in each.speculation} - ours.speculation
    lists = {
        f"speculation {name}": [f"--speculative-config={json.dumps({'method': name, 'num_speculative_tokens': 3})}"]
        for name in sorted(methods)
    }
    quantization = sorted(name for name in ours.removed if name not in methods)
    lists |= {f"quantization {name}": [f"--quantization={name}"] for name in quantization}
    lists |= {f"flag {name}": [f"{name}=1"] for name in sorted(ours.removed_flags)}
    return {name: ["organisation/model", *written] for name, written in lists.items()}


@pytest.fixture(scope="module")
def answers(release: str) -> Mapping[str, Any]:
    lists: Lists = {key: list(arguments(row.spec)) for key, row in served(release).items()}
    return ask(vllm_python(), "vllm_parser.py", str(vllm_code(release)), question=lists | lacking(release))


def test_every_row_that_passes_parses(release: str, answers: Mapping[str, Any]) -> None:
    assert len(served(release)) >= 20
    assert {key: answers[key]["error"] for key in served(release) if "error" in answers[key]} == {}


def test_what_a_release_lacks_it_refuses(release: str, answers: Mapping[str, Any]) -> None:
    taken = [name for name in lacking(release) if "error" not in answers[name] and not name.startswith("quantization")]
    assert taken == []
    # The parser takes any name of a quantization method; the release's own table decides later.
    known = set(answers[""]["quantization"])
    assert not {name.removeprefix("quantization ") for name in lacking(release) if "error" not in answers[name]} & known


def test_a_checkpoint_may_name_what_the_release_knows(release: str, answers: Mapping[str, Any]) -> None:
    ours = next(each for each in profiles() if each.release == release)
    # auto-round is taken by the method inc, which is why it stands in no table.
    assert (ours.known_quantization | set(ours.deprecated)) - {"auto-round"} == set(answers[""]["quantization"])


def test_no_metric_is_under_its_old_name(release: str) -> None:
    ours = next(each for each in profiles() if each.release == release)
    code = vllm_code(release) / "vllm/v1/metrics"
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(code.rglob("*.py")))
    assert [name for name in sorted(ours.renamed_metrics) if f'"vllm:{name}"' in text] == []


def test_every_combination_has_a_row() -> None:
    every = rows()
    assert len({(row.kind, row.method, row.release, row.gpu) for row in every}) == len(every)
    tactics = len({(row.kind, row.method) for row in every})
    assert len(every) == tactics * len(RELEASES) * len(GPUS)
    assert len(GPUS) == 13
