"""Checks that nothing a user writes becomes an option, a variable or a file of the engine.

The API's patterns let through little, so the functions behind them are asked with everything a string can hold: the
value is refused, or it is one word at its own place and nothing else has moved.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.render.goldens import tier as tier_object
from tests.render.strategies import ALLOWED_ARGUMENTS
from tests.unit.engines.test_arguments import MODEL, spec
from tierwise.act.render import render
from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import arguments, check, profile
from tierwise.engines.check_names import check_names
from tierwise.engines.check_options import check_options
from tierwise.engines.extra_args import ALLOWED, check_extra
from tierwise.errors import Invalid, TierwiseError
from tierwise.types import TierObject

FUZZ = settings(max_examples=150, deadline=None)
HOSTILE = (
    "--port=1",
    "-x",
    "--",
    "$(HF_TOKEN)",
    "a$(HF_TOKEN)",
    "$$(HF_TOKEN)",
    "${HF_TOKEN}",
    "a b",
    "a --port=1",
    "a\n--port=1",
    "a;id",
    "`id`",
    "a|id",
    "a'b",
    'a"b',
    "a\\b",
    "a\0b",
    "../x",
    "a/../../x",
    "",
    "a=b",
    "@file",
    "{}",
    "*",
    "None",
)
PLACEHOLDER = "harmless"
ANYTHING = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=40),
    st.tuples(st.sampled_from(["org/", "a", "--"]), st.sampled_from(HOSTILE), st.text(max_size=10)).map("".join),
)
PLAIN = spec(
    model=MODEL | {"name": PLACEHOLDER, "revision": PLACEHOLDER},
    speculation={"mode": "Enabled", "method": "draft_model", "draftModel": PLACEHOLDER},
)


def _model(**changes: str) -> ModelTierSpec:
    """The plain spec with a model that no pattern has looked at."""
    assert PLAIN.model is not None
    return PLAIN.model_copy(update={"model": PLAIN.model.model_copy(update=changes)})


def _drafting(name: str) -> ModelTierSpec:
    return PLAIN.model_copy(update={"speculation": PLAIN.speculation.model_copy(update={"draft_model": name})})


PLACES: dict[str, Callable[[str], ModelTierSpec]] = {
    "the name": lambda value: _model(name=value),
    "the repository": lambda value: _model(uri=f"hf://{value}"),
    "the revision": lambda value: _model(revision=value),
    "the draft model": _drafting,
}


@pytest.mark.parametrize("place", PLACES)
@FUZZ
@given(value=ANYTHING)
@example("$(HF_TOKEN)")
@example("--port=1")
def test_a_value_is_refused_or_stays_in_its_place(place: str, value: str) -> None:
    try:
        written = arguments(PLACES[place](value))
    except Invalid:
        return
    plain = arguments(PLACES[place]("org/plain" if place == "the repository" else PLACEHOLDER))
    differing = [index for index, pair in enumerate(zip(written, plain, strict=True)) if pair[0] != pair[1]]
    assert len(differing) <= 1
    assert [word.startswith("-") for word in written] == [word.startswith("-") for word in plain]
    assert [word.partition("=")[0] for word in written[3:]] == [word.partition("=")[0] for word in plain[3:]]
    assert not any("$" in word or re.search(r"[\x00-\x1f\x7f]", word) for word in written)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", [each for each in HOSTILE if not each.startswith("a/..")])
def test_what_is_hostile_is_refused(place: str, value: str) -> None:
    assert any(problem.fatal for problem in check(PLACES[place](value)))
    with pytest.raises(TierwiseError):
        arguments(PLACES[place](value))


@pytest.mark.parametrize("place", ["the repository", "the revision", "the draft model"])
def test_a_place_has_no_parent(place: str) -> None:
    with pytest.raises(Invalid, match=r"\.\.|ORGANISATION"):
        arguments(PLACES[place]("a/../../x"))


@FUZZ
@given(st.lists(st.one_of(ALLOWED_ARGUMENTS, ANYTHING), max_size=4))
def test_raw_extra_arguments_are_refused_or_passed_on_unchanged(extra: list[str]) -> None:
    """Without the API's pattern before them."""
    given = PLAIN.model_copy(update={"extra_args": extra})
    release = profile(PLAIN.engine)
    problems = [*check_extra(tuple(extra), release), *check_options(given, None)]
    assert all(problem.fatal for problem in problems)
    if problems or any(problem.fatal for problem in check_names(given, release)):
        return
    for argument in extra:
        name, _, value = argument.partition("=")
        assert name in ALLOWED
        assert "$(" not in value
    written = arguments(given)
    assert written == (*arguments(PLAIN), *extra)


@FUZZ
@given(ANYTHING, st.sampled_from(["pvc", "s3", "gs", "oci"]))
@example("$(HF_TOKEN)", "s3")
@example("a/../b", "pvc")
def test_no_variable_is_expanded_in_what_kserve_fetches(value: str, scheme: str) -> None:
    """The address is an environment variable of the pod, where Kubernetes expands `$(NAME)` too."""
    plain = tier_object("chat", {"model": MODEL})
    hostile = _model(uri=f"{scheme}://{value}", revision=PLACEHOLDER)
    try:
        manifest = render(TierObject(plain.key, plain.uid, 1, "1", hostile, plain.status), scaler="external")
    except Invalid:
        return
    (container,) = manifest["spec"]["predictor"]["containers"]
    assert "$" not in str(container)
    assert ".." not in value
