"""Reads the short text that asks for a generated trace, such as `sine:mean=5,bursts=4,seed=7`.

For command lines: NAME, then NAME=VALUE pairs; lists are separated by `/`. What may be set is what the shapes in
`generators` have, so a new field needs no parser.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tierwise_sim.traces.arrival import Trace
from tierwise_sim.traces.errors import FieldProblem, TraceError
from tierwise_sim.traces.fields import count, number
from tierwise_sim.traces.generators import Constant, Draw, Peaks, Ramp, Shape, Sine, Step, generate
from tierwise_sim.traces.lengths import CONVERSATION, Lengths, fixed

SHAPES: Mapping[str, tuple[type[Any], Mapping[str, Any]]] = {
    "apart": (Peaks, {"together": False}),
    "constant": (Constant, {}),
    "ramp": (Ramp, {}),
    "sine": (Sine, {}),
    "step": (Step, {}),
    "together": (Peaks, {"together": True}),
}
"""By name: the shape, and what the name already says of it."""
DRAWN = ("seed", "burstiness", "prompt_tokens", "output_tokens")


def is_generator(text: str) -> bool:
    """Whether this text asks for a generated trace: it begins with the name of a shape, and a colon or nothing."""
    return text.partition(":")[0] in SHAPES


def generated(text: str) -> Trace:
    """The trace that this text asks for. Raises TraceError, which says what may be set."""
    name, _, rest = text.partition(":")
    if name not in SHAPES:
        raise TraceError(f"no generator {name!r}; expected one of {', '.join(sorted(SHAPES))}")
    kind, said = SHAPES[name]
    given = _pairs(text, rest)
    known = {field.name: field.default for field in fields(kind) if field.name not in said}
    for each in given:
        if each not in known and each not in DRAWN:
            raise TraceError(f"{text}: {name} has no {each}; expected one of {', '.join((*known, *DRAWN))}")
    try:
        shape: Shape = kind(**said, **{each: _like(known[each], given[each], each) for each in known if each in given})
        draw = Draw(
            seed=count(given.get("seed", 0), "seed", 2.0**63),
            burstiness=number(given.get("burstiness", 1.0), "burstiness"),
            lengths=_lengths(given),
        )
    except FieldProblem as problem:
        raise TraceError(f"{text}: {problem}") from None
    return generate(text, shape, draw)


def _pairs(text: str, rest: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in filter(None, rest.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not value:
            raise TraceError(f"{text}: {part!r}; expected NAME=VALUE, separated by commas")
        if name in pairs:
            raise TraceError(f"{text}: {name} is set twice")
        pairs[name] = value
    return pairs


def _like(default: object, value: str, name: str) -> object:
    """The value, as the default is: a number, numbers or names."""
    if not isinstance(default, tuple):
        return number(value, name)
    parts = value.split("/")
    if all(isinstance(each, str) for each in default):
        if len(set(parts)) != len(parts) or not all(parts):
            raise FieldProblem(f"{name} is {value!r}", "different names, separated by /")
        return tuple(parts)
    return tuple(number(each, name) for each in parts)


def _lengths(given: Mapping[str, str]) -> Lengths:
    if "prompt_tokens" not in given and "output_tokens" not in given:
        return CONVERSATION
    for name in ("prompt_tokens", "output_tokens"):
        if name not in given:
            raise FieldProblem(f"no {name}", "both prompt_tokens and output_tokens, or none (a conversation's lengths)")
    return fixed(*(count(given[name], name) for name in ("prompt_tokens", "output_tokens")))
