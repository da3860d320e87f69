"""Checks that the facts of a request hold none of its words."""

from __future__ import annotations

from dataclasses import fields

from tierwise.routing.request import RequestFacts
from tierwise.routing.route import Priority


def test_the_facts_are_numbers_names_and_hashes() -> None:
    """Whoever adds a field that may hold what a person wrote must not: a choice is logged."""
    assert {one.name for one in fields(RequestFacts)} == {
        "blocks",
        "headers",
        "images",
        "max_tokens",
        "model",
        "priority",
        "prompt_tokens",
        "response_format",
        "stream",
        "tools",
    }


def test_a_request_of_which_nothing_is_known_is_small_plain_and_interactive() -> None:
    facts = RequestFacts("m")
    assert (facts.prompt_tokens, facts.max_tokens, facts.blocks, dict(facts.headers)) == (0, None, (), {})
    assert facts.response_format == ""
    assert not any([facts.tools, facts.images, facts.stream])
    assert facts.priority is Priority.INTERACTIVE
