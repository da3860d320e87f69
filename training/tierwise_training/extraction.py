"""Reads the final answer out of a text, and compares it: numbers, choices, JSON, or the text itself.

An answer that cannot be read is a third value, None, and never "wrong": 12 to 18 % of labels that were made by matching
letters changed when people looked again, and GSM8K's published labels call "$20.00" wrong because only its last digits
were read. Numbers are decimals, compared by value.

The final number stands after the last `####`, else in the last `\\boxed{}`, else it is the last number of the text.
Marked places hold one number and nothing that competes with it; a fraction or a range there cannot be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

KINDS = ("exact", "number", "choice", "json")
VERSION = 1
MOST_DIGITS = 100
_MOST_CHARACTERS = 1_000_000

# A sign only where no word or number ends before it: "-5", "= -5" and "-$5", but "10-5" is 10 and 5.
# A number begins where no letter, digit or dot stands before it: not in "H2O", "v1.2.3" or "x2".
_NUMBER = re.compile(
    r"(?<![\w.])(?:(?<![)\]%$€£])(?P<sign>[-+])[ ]?)?(?:\\?[$€£]|USD )?(?P<inner>[-+])?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?P<exponent>[eE][-+]?\d{1,3}(?![\w.]))?(?!\.\d)"
)
_HASHES = "####"
_BOX = "\\boxed{"
_LETTER = r"(?P<letter>[A-Ja-j])"
_STATED = re.compile(
    r"(?:answer|choice|option|correct)(?:\s+(?:is|would be|should be))?\s*[:=]?\s*"
    rf"(?:\\text\{{)?[*_`\"']*\(?{_LETTER}(?![A-Za-z0-9'’]|\s+[a-z])",
    re.IGNORECASE,
)
_ALONE = re.compile(rf"^[\s*_`\"'(\[]*{_LETTER}(?:[).:\]*_`\"']+(?:\s.*)?|\s*)$", re.DOTALL)
_BRACKETED = re.compile(r"\((?P<letter>[A-J])\)")
_FENCE = re.compile(r"```(?:json|JSON)?[ \t]*\n(.*?)```", re.DOTALL)

Reading = Callable[[str], object | None]


def number(text: str) -> Decimal | None:
    """The final number of a text; None where there is none, or where its marked place holds something else."""
    text = _plain(text[-_MOST_CHARACTERS:])
    if _HASHES in text:
        line = text.rpartition(_HASHES)[2].strip().partition("\n")[0]
        return _only_number(line)
    boxed = last_box(text)
    if boxed is not None:
        return _only_number(boxed)
    found = list(_NUMBER.finditer(text))
    return _value(found[-1]) if found else None


def _plain(text: str) -> str:
    """Without what only formats: LaTeX's thin spaces and escapes, the typographic minus, emphasis."""
    for old, new in (("{,}", ","), ("\\,", ""), ("\\!", ""), ("\\%", "%"), ("−", "-"), ("**", ""), ("\u00a0", " ")):
        text = text.replace(old, new)
    return text


def _only_number(text: str) -> Decimal | None:
    """The number of a marked place: one, behind the last `=` where there is one."""
    found = list(_NUMBER.finditer(text.rpartition("=")[2]))
    return _value(found[0]) if len(found) == 1 else None


def _value(found: re.Match[str]) -> Decimal | None:
    digits = found["digits"].replace(",", "")
    if len(digits) > MOST_DIGITS:
        return None
    negative = ((found["sign"] or "+") == "-") != ((found["inner"] or "+") == "-")
    try:
        value = Decimal(digits + (found["exponent"] or ""))
    except InvalidOperation:
        return None
    return -value if negative else value


def last_box(text: str) -> str | None:
    """What stands in the last `\\boxed{}` whose braces close; None where there is none."""
    start = text.rfind(_BOX)
    while start >= 0:
        begin = start + len(_BOX)
        depth = 1
        for place in range(begin, len(text)):
            depth += (text[place] == "{") - (text[place] == "}")
            if not depth:
                return text[begin:place]
        start = text.rfind(_BOX, 0, start)
    return None


def choice(text: str) -> str | None:
    """The letter that a text chooses, A to J; None where it chooses none, or several at once.

    Looked for after `####`, in `\\boxed{}`, as all that is said, as "the answer is (C)", then as one bracketed letter
    in the last line. A capital that is only a word ("A robe", "I think") is no choice."""
    text = _plain(text[-_MOST_CHARACTERS:]).strip()
    marked = text.rpartition(_HASHES)[2].strip().partition("\n")[0] if _HASHES in text else last_box(text)
    if marked is not None:
        inner = re.sub(r"\\text\{([^{}]*)\}", r"\1", marked).strip()
        alone = _ALONE.match(inner)
        return alone["letter"].upper() if alone else None
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return None
    if len(lines) == 1 and (alone := _ALONE.match(lines[0])):
        return alone["letter"].upper()
    stated = [found["letter"].upper() for found in _STATED.finditer(text)]
    if stated:
        return stated[-1]
    bracketed = {found["letter"] for found in _BRACKETED.finditer(lines[-1])}
    if len(bracketed) == 1:
        return bracketed.pop()
    alone = re.fullmatch(rf"\s*{_LETTER}[.)]?\s*", lines[-1])
    return alone["letter"].upper() if alone else None


def json_value(text: str) -> object | None:
    """The JSON of a text as a value that compares by meaning: the whole text, else the last fenced block,
    else its last object or list. None where there is none."""
    text = text[-_MOST_CHARACTERS:].strip()
    for part in (text, *reversed(_FENCE.findall(text))):
        found = _parsed(part)
        if found is not None:
            return found
    return _last_container(text)


def _parsed(text: str) -> object | None:
    try:
        value = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError, InvalidOperation):
        return None
    return _comparable(value)


def _refuse(word: str) -> object:
    raise ValueError(f"{word} is not JSON")


def _last_container(text: str) -> object | None:
    """The last object or list that stands in the text at its outermost level."""
    decoder = json.JSONDecoder(parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse)
    found: object | None = None
    place, tries = 0, 0
    while tries < 1_000:  # a text of brackets only must not cost minutes
        starts = [start for start in (text.find("{", place), text.find("[", place)) if start >= 0]
        if not starts:
            break
        tries += 1
        try:
            value, place = decoder.raw_decode(text, min(starts))
            found = value
        except (ValueError, RecursionError, InvalidOperation):
            place = min(starts) + 1
    return None if found is None else _comparable(found)


def _comparable(value: object) -> object:
    """Frozen, with booleans apart from numbers: Python's True equals 1, JSON's true does not."""
    if isinstance(value, dict):
        return ("object", frozenset((name, _comparable(item)) for name, item in value.items()))
    if isinstance(value, list):
        return ("list", tuple(_comparable(item) for item in value))
    if isinstance(value, bool):
        return ("boolean", value)
    return ("null", None) if value is None else (type(value).__name__, value)


def exact(text: str) -> str | None:
    """The text with its white space made one; None where nothing is said."""
    return " ".join(text.split()) or None


READINGS: dict[str, Reading] = {"exact": exact, "number": number, "choice": choice, "json": json_value}


def reading(kind: str, answer: str) -> object | None:
    """The final answer of a text by one of KINDS; values of one kind compare by `==`. None: it cannot be read."""
    return READINGS[kind](answer)


def right(kind: str, answer: str, wanted: object) -> bool | None:
    """Whether an answer says what is wanted, a value that `reading` has made. None: it cannot be read."""
    said = reading(kind, answer)
    return None if said is None else said == wanted
