"""Hostile text in every field that lets any pass: vLLM's own parser must read back exactly the value, and no option
more than was written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.asking import ask
from tests.conformance.environments import RELEASES, vllm_code, vllm_python
from tests.render.strategies import ALLOWED_ARGUMENTS
from tests.unit.engines.test_injection import ANYTHING, PLACES
from tierwise.api.modeltier import Engine, ModelTierSpec
from tierwise.engines import ALIAS, arguments, check, model_argument
from tierwise.engines.extra_args import ALLOWED, JSON

pytestmark = pytest.mark.conformance
EXAMPLES = 400
# Texts that mean something to a command line and that the API's patterns let pass somewhere.
TRICKY = st.sampled_from(
    ["serve", "config.yaml", "a--port", "a-", "a.b", "x/y", "0", "1e5", "true", "null", "None", "a:b@c", "help", "h"]
)
JSON_TEXT = st.dictionaries(st.text(max_size=8), st.one_of(st.text(max_size=20), st.integers()), max_size=3).map(
    lambda value: json.dumps(value, ensure_ascii=False)
)


@st.composite
def _cases(draw: st.DrawFn) -> ModelTierSpec:
    """A spec that is rendered: a value in one place, and an argument of the allow-list."""
    value = draw(st.one_of(TRICKY, ANYTHING))
    tier = PLACES[draw(st.sampled_from(sorted(PLACES)))](value)
    extra = draw(st.lists(ALLOWED_ARGUMENTS, max_size=2))
    if draw(st.booleans()):
        extra = [f"--override-generation-config={draw(JSON_TEXT)}"]
    return tier.model_copy(update={"extra_args": extra})


def _drawn(release: str) -> dict[str, ModelTierSpec]:
    """Many such specs that this release serves, the same ones in every run."""
    found: dict[str, ModelTierSpec] = {}

    @settings(max_examples=EXAMPLES, derandomize=True, database=None, deadline=None)
    @given(_cases())
    def collect(tier: ModelTierSpec) -> None:
        moved = tier.model_copy(update={"engine": Engine(version=f"{release}.0")})
        if not any(problem.fatal for problem in check(moved)):
            found[f"case {len(found)}"] = moved

    collect()
    return found


@pytest.mark.parametrize("release", RELEASES)
def test_the_engine_reads_back_what_was_written(release: str) -> None:
    tiers = _drawn(release)
    assert len(tiers) > EXAMPLES / 8
    plain = PLACES["the name"]("chat").model_copy(update={"engine": Engine(version=f"{release}.0")})
    lists = {name: list(arguments(tier)) for name, tier in tiers.items()} | {"plain": list(arguments(plain))}
    answers: dict[str, Any] = ask(vllm_python(), "vllm_parser.py", str(vllm_code(release)), question=lists)
    harmless, options = answers["plain"]["values"], answers[""]["destinations"]
    understood = 0
    for name, tier in tiers.items():
        if "error" in answers[name]:  # a value of an allowed argument that only the engine can judge
            assert tier.extra_args, (lists[name], answers[name])
            continue
        understood += 1
        values, model, speculation = answers[name]["values"], tier.model, tier.speculation
        assert model is not None
        assert values["model_tag"] == model_argument(model)
        assert values["served_model_name"] == [model.name, ALIAS]
        assert values["revision"] == model.revision
        assert values["speculative_config"]["model"] == speculation.draft_model
        for argument in tier.extra_args:
            option, _, text = argument.partition("=")
            if ALLOWED[option].value == JSON:
                assert values[options[option]] == json.loads(text), argument
        written = {options[argument.partition("=")[0]] for argument in tier.extra_args}
        ours = {"model", "model_tag", "served_model_name", "revision", "speculative_config"}
        changed = {field for field in harmless if values.get(field) != harmless[field]}
        assert changed <= ours | written, (lists[name], changed)
    assert understood > EXAMPLES / 12
