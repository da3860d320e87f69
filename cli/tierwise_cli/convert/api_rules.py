"""Asks the CEL rules of the CRD what the API server would refuse of a spec.

The rules are read where the CRD is made from, so that a new one counts here by itself. Of the language as much is
understood as they use, and a test fails for a rule that uses more. Fields are those that a person wrote, with the
defaults that the API server fills in.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from tierwise.api.base import Model, Rule
from tierwise.quantity import parse_quantity

_TOKEN = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|\|\||&&|!(?!=)|\b(?:true|false|null)\b")
_PYTHON = {"||": " or ", "&&": " and ", "!": " not ", "true": "True", "false": "False", "null": "None"}
_OPERATORS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, many: one in many,
    ast.Mod: operator.mod,
    ast.Mult: operator.mul,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
}
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "isQuantity": lambda text: parse_quantity(text) is not None,
    "quantity": parse_quantity,
    "size": len,
    "string": str,
}
_METHODS: dict[str, Callable[..., Any]] = {
    "compareTo": lambda one, other: (one > other) - (one < other),
    "contains": lambda text, part: part in text,
    "endsWith": str.endswith,
    "isGreaterThan": operator.gt,
    "isSorted": lambda values: list(values) == sorted(values),
    "matches": lambda text, pattern: re.search(pattern, text) is not None,
    "size": len,
    "split": str.split,
    "startsWith": str.startswith,
}
_MACROS: dict[str, Callable[[list[Any], list[Any]], Any]] = {
    "all": lambda _, found: all(found),
    "exists": lambda _, found: any(found),
    "exists_one": lambda _, found: sum(map(bool, found)) == 1,
    "filter": lambda items, found: [item for item, kept in zip(items, found, strict=True) if kept],
    "map": lambda _, found: found,
}


def refused(spec: Model) -> Iterator[tuple[str, Any, str]]:
    """What the API server refuses of a spec that is new: field, its value (None: it is not set), and the sentence."""
    yield from _refused(spec, "")


def _refused(value: Any, where: str) -> Iterator[tuple[str, Any, str]]:
    if isinstance(value, Model):
        sent = _sent(value)
        for rule in type(value).cel:
            if "oldSelf" not in rule.expression and not holds(rule, sent):
                found = sent
                for part in (rule.field_path or "").split(".")[1:]:
                    found = found.get(part) if isinstance(found, Mapping) else None
                yield f"{where}{rule.field_path or ''}".lstrip("."), found, rule.message
        for name, info in type(value).model_fields.items():
            yield from _refused(getattr(value, name), f"{where}.{info.alias or name}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _refused(item, f"{where}[{number}]")


def _sent(value: Any) -> Any:
    """A value as it is in the API server: what is not set is absent."""
    if isinstance(value, Model):
        found = {info.alias or name: getattr(value, name) for name, info in type(value).model_fields.items()}
        return {name: _sent(each) for name, each in found.items() if each is not None and each not in ([], {})}
    if isinstance(value, list):
        return [_sent(each) for each in value]
    return value


def holds(rule: Rule, sent: Mapping[str, Any]) -> bool:
    """Whether a rule is true of an object."""
    return bool(_value(parsed(rule.expression), {"self": sent}))


@cache
def parsed(expression: str) -> ast.expr:
    """An expression of CEL. What of it is written otherwise in Python is outside of texts."""
    text = _TOKEN.sub(lambda found: _PYTHON.get(found.group(), found.group()), expression)
    return ast.parse(f"({text})", mode="eval").body


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return names[node.id]
        case ast.List():
            return [_value(each, names) for each in node.elts]
        case ast.Attribute():
            return _value(node.value, names)[node.attr]
        case ast.Subscript():
            return _value(node.value, names)[_value(node.slice, names)]
        case ast.BoolOp(op=ast.And()):
            return all(_value(each, names) for each in node.values)
        case ast.BoolOp():
            return any(_value(each, names) for each in node.values)
        case ast.UnaryOp(op=ast.Not()):
            return not _value(node.operand, names)
        case ast.BinOp():
            return _OPERATORS[type(node.op)](_value(node.left, names), _value(node.right, names))
        case ast.Compare(ops=[sign], comparators=[other]):
            return _OPERATORS[type(sign)](_value(node.left, names), _value(other, names))
        case ast.Call():
            return _called(node, names)
    raise NotImplementedError(f"a rule of the CRD says {ast.unparse(node)}, which is not understood here")


def _called(node: ast.Call, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Call(func=ast.Name(id="has"), args=[ast.Attribute() as field]):
            return field.attr in _value(field.value, names)
        case ast.Call(func=ast.Name(id=name), args=[argument]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](_value(argument, names))
        case ast.Call(func=ast.Attribute(attr=name) as method, args=[ast.Name(id=each), body]) if name in _MACROS:
            items = list(_value(method.value, names))
            return _MACROS[name](items, [_value(body, {**names, each: item}) for item in items])
        case ast.Call(func=ast.Attribute(attr=name) as method, args=arguments) if name in _METHODS:
            return _METHODS[name](_value(method.value, names), *(_value(each, names) for each in arguments))
    raise NotImplementedError(f"a rule of the CRD says {ast.unparse(node)}, which is not understood here")
