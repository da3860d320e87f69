"""Reads a command line of vLLM: its flags and values, whatever form they were written in.

vLLM takes underscores for dashes, values after `=` or after a space, short forms, and JSON by dots. A tier takes one
form. A shell around the command is read as far as it only starts the engine: a tier has none.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tierwise.engines.extra_args import ALLOWED, SWITCH
from tierwise.errors import Invalid

SHORT = {
    "-tp": "--tensor-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-dp": "--data-parallel-size",
    "-q": "--quantization",
    "-sc": "--speculative-config",
    "-cc": "--compilation-config",
    "-O": "--optimization-level",
}
# Switches that stand before the model's name without taking it for their value.
SWITCHES = frozenset(
    {name for name, allowed in ALLOWED.items() if allowed.value == SWITCH}
    | {"--trust-remote-code", "--enable-lora", "--enable-prefix-caching", "--enable-log-requests", "--headless"}
    | {"--disable-log-requests", "--disable-log-stats", "--enable-sleep-mode", "--enable-prompt-tokens-details"}
    | {
        "--enable-server-load-tracking",
        "--allow-credentials",
        "--fully-sharded-loras",
        "--disable-frontend-multiprocessing",
    }
)
_NAME = r"([A-Za-z_][A-Za-z0-9_]*)"
_ASSIGNED = re.compile(rf"^{_NAME}=")
_KUBERNETES = re.compile(rf"\$\({_NAME}\)")
_EXPANSION = re.compile(rf"\$\({_NAME}\)|\$\{{{_NAME}\}}|\${_NAME}")
_SHELLS = re.compile(r"(^|/)(ba|da|z)?sh$")
_MODULES = ("vllm.entrypoints.openai.api_server", "vllm.entrypoints.api_server")


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag as vLLM knows it, with dashes; its values (none for a switch); the whole as it was written."""

    name: str
    values: tuple[str, ...]
    written: str

    @property
    def value(self) -> str:
        """Its value; of several the first."""
        return self.values[0] if self.values else ""

    @property
    def shown(self) -> str:
        """Its name as it was written, for a list in which the value stands beside it."""
        return re.split(r"[ =]", self.written, maxsplit=1)[0]


@dataclass(frozen=True, slots=True)
class Command:
    """What a command line says: the models named without a flag, the flags, variables that a shell sets, and the other
    commands of the shell."""

    positional: tuple[str, ...] = ()
    flags: tuple[Flag, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    around: tuple[str, ...] = ()


def read(words: Sequence[str]) -> Command:
    """The command among `words`: program and arguments, or arguments alone. Raises Invalid for a script that is cut
    off inside quotes."""
    words, others = _without_shell(list(words))
    variables = [part for other in others if other[0] == "export" for part in other[1:]]
    around = [shlex.join(other) for other in others if other[0] != "export"]
    while words and (_ASSIGNED.match(words[0]) or words[0] in ("exec", "env")):
        variables += [words[0]] if "=" in words[0] else []
        words = words[1:]
    words = _without_program(words)
    positional, flags = [], []
    for each in _parsed(words):
        if isinstance(each, str):
            positional.append(each)
        else:
            flags.append(each)
    pairs = tuple((name, value) for name, _, value in (part.partition("=") for part in variables))
    return Command(tuple(positional), tuple(flags), pairs, tuple(around))


def expanded(words: Sequence[str], variables: Mapping[str, str]) -> tuple[list[str], set[str]]:
    """The words with $(NAME), and in a shell $NAME and ${NAME}, replaced where the value is known; the names used."""
    used: set[str] = set()
    pattern = _EXPANSION if words and _SHELLS.search(words[0]) else _KUBERNETES

    def value(match: re.Match[str]) -> str:
        name = next(part for part in match.groups() if part)
        if name not in variables:
            return match.group(0)
        used.add(name)
        return variables[name]

    return [pattern.sub(value, word) for word in words], used


def _without_shell(words: list[str]) -> tuple[list[str], list[list[str]]]:
    """The engine's words in a shell's script, and the other commands of it."""
    if not words or not _SHELLS.search(words[0]):
        return words, []
    script = " ".join(word for word in words[1:] if word not in ("-c", "-lc", "-ec", "-e", "-l"))
    script = script.replace("\\\n", " ")
    lexer = shlex.shlex(script, posix=True, punctuation_chars=";&|\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, "#"
    commands: list[list[str]] = [[]]
    for word in _words(lexer):
        if re.fullmatch(r"[;&|\n]+", word):
            commands.append([])
        else:
            commands[-1].append(word)
    commands = [command for command in commands if command]
    engine = next((command for command in commands if _starts_engine(command)), commands[-1] if commands else [])
    return engine, [command for command in commands if command is not engine]


def _words(lexer: shlex.shlex) -> Iterator[str]:
    try:
        yield from lexer
    except ValueError as error:
        raise Invalid(f"the command cannot be read as a shell reads it: {error}") from error


def _starts_engine(command: Sequence[str]) -> bool:
    return any(word.rsplit("/", 1)[-1] == "vllm" or word in _MODULES for word in command)


def _without_program(words: list[str]) -> list[str]:
    for number, word in enumerate(words):
        if word in _MODULES:
            return words[number + 1 :]
        if word.rsplit("/", 1)[-1] == "vllm" and words[number + 1 : number + 2] == ["serve"]:
            return words[number + 2 :]
        if word.startswith("--"):
            break
    return words[1:] if words[:1] == ["serve"] else words


def _parsed(words: Sequence[str]) -> Iterator[str | Flag]:
    place = 0
    while place < len(words):
        word = words[place]
        place += 1
        if not _is_flag(word):
            yield word
            continue
        name, value = _named(word)
        values = [] if value is None else [value]
        several = name in ("--served-model-name", "--lora-modules", "--allowed-origins", "--middleware")
        while place < len(words) and not _is_flag(words[place]) and value is None and name not in SWITCHES:
            values.append(words[place])
            place += 1
            if not several:
                break
        yield Flag(name, tuple(values), " ".join([word, *([] if value is not None else values)]))


def _is_flag(word: str) -> bool:
    return bool(re.match(r"^--?[A-Za-z]", word))


def _named(word: str) -> tuple[str, str | None]:
    """A flag's whole name with dashes, and the value that is part of the word."""
    name, equals, value = word.partition("=")
    if name in SHORT:
        return SHORT[name], value if equals else None
    if re.fullmatch(r"-O[0-3]", name):
        return SHORT["-O"], name[2:]
    return name.replace("_", "-"), value if equals else None
