"""Says what could stand at the end of a command line.

The parsers of the commands are what is read, so a new option is completed without further work. Names of objects,
namespaces and contexts come from where the words before them point to: another context, another namespace. Whatever
fails completes nothing: a shell that waits for an answer is no place for an error.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tierwise.errors import TierwiseError
from tierwise.kube import kubeconfig
from tierwise.kube.user_client import UserClient, path_of
from tierwise_cli import cluster_options
from tierwise_cli.commands import COMMANDS
from tierwise_cli.kinds import KINDS, ROUTES, TIERS, Kind, kind_of
from tierwise_cli.main import parser

SECONDS = 3.0  # a shell that waits longer looks dead
FILES, NO_FILES = 0, 4  # of cobra's protocol, which kubectl speaks with plugins
_FILE_WORDS = frozenset({"FILE", "FOLDER", "PATH"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """One word, and what it is for."""

    word: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Completion:
    """What could stand there; `files`: names of files, too."""

    candidates: tuple[Candidate, ...] = ()
    files: bool = False

    def lines(self) -> Iterator[str]:
        """In cobra's protocol: a candidate a line, with its description after a tab, and a directive at the end."""
        for each in self.candidates:
            yield f"{each.word}\t{each.description}" if each.description else each.word
        yield f":{FILES if self.files else NO_FILES}"


def complete(words: Sequence[str]) -> Completion:
    """What the last of `words` (which may be empty) could become, after the others."""
    *before, last = words or [""]
    at = next((place for place, word in enumerate(before) if not word.startswith("-")), None)
    if at is None:
        commands = (Candidate(each.name, each.help) for each in COMMANDS)
        return Completion(_beginning(last, commands))
    return _of_command(before[at], before[at + 1 :], last)


def _of_command(name: str, before: Sequence[str], last: str) -> Completion:
    actions = _actions(name)
    options = {word: action for action in actions for word in action.option_strings}
    if last.startswith("--") and "=" in last:
        option, _, value = last.partition("=")
        found = _values(name, options.get(option), before, value)
        return Completion(tuple(Candidate(f"{option}={each.word}") for each in found.candidates), found.files)
    if before and _takes_value(options.get(before[-1])):
        return _values(name, options[before[-1]], before, last)
    if last.startswith("-"):
        listed = (Candidate(word, _help(action)) for word, action in options.items() if word.startswith("--"))
        return Completion(_beginning(last, listed))
    given = list(_positionals(before, options))
    action = next((action for action in actions if not action.option_strings and action.dest != "command"), None)
    if action is None or (action.nargs not in ("*", "+") and given):
        return Completion()
    return _values(name, action, before, last, given)


def _actions(name: str) -> Sequence[argparse.Action]:
    whole = parser([name])
    choices: Any = next(each for each in whole._actions if isinstance(each, argparse._SubParsersAction)).choices
    return choices[name]._actions if name in choices else ()


def _takes_value(action: argparse.Action | None) -> bool:
    return action is not None and bool(action.option_strings) and action.nargs != 0


def _positionals(before: Sequence[str], options: dict[str, argparse.Action]) -> Iterator[str]:
    taken = False
    for word in before:
        if not taken and not word.startswith("-"):
            yield word
        taken = not taken and _takes_value(options.get(word))


def _help(action: argparse.Action) -> str:
    return " ".join((action.help or "").split()) if action.help != argparse.SUPPRESS else ""


def _values(
    command: str, action: argparse.Action | None, before: Sequence[str], last: str, given: Sequence[str] = ()
) -> Completion:
    if action is None:
        return Completion()
    if action.choices is not None:
        return Completion(_beginning(last, (Candidate(str(each)) for each in action.choices)))
    metavar = str(action.metavar or "")
    if action.dest == "kubeconfig" or action.type is Path or metavar in _FILE_WORDS:
        return Completion(files=True)
    try:
        return Completion(_beginning(last, _live(command, action.dest, before, last, given)))
    except (TierwiseError, OSError):
        return Completion()


def _live(command: str, dest: str, before: Sequence[str], last: str, given: Sequence[str]) -> Iterable[Candidate]:
    """What the kubeconfig or the cluster knows. Raises TierwiseError, OSError."""
    where = _where(before)
    if dest == "context":
        found = kubeconfig.contexts(where.kubeconfig)
        return [Candidate(name, f"namespace {space}") for name, space in sorted(found.namespaces.items())]
    if dest == "namespace":
        with _client(where) as client:
            spaces = client.items("list namespaces", path_of("v1", "namespaces"))
        return [Candidate(str(each["metadata"]["name"])) for each in spaces]
    if (command, dest) in (("get", "what"), ("explain", "what")):
        kinds = KINDS if command == "get" else (TIERS, ROUTES)
        return _kinds_or_names(where, command, kinds, last, given)
    if (command, dest) == ("restart", "tiers"):
        return _names(where, TIERS)
    if (command, dest) == ("savings", "route"):
        return _names(where, ROUTES)
    return ()


def _kinds_or_names(
    where: argparse.Namespace, command: str, kinds: Sequence[Kind], last: str, given: Sequence[str]
) -> list[Candidate]:
    kind, slash, _ = last.partition("/")
    named = kind_of(kind)
    if slash:
        return [Candidate(f"{kind}/{each.word}", each.description) for each in _names(where, named)] if named else []
    if given:
        named = kind_of(given[0])
        return _names(where, named) if named else []
    words = [Candidate(each.words[1] if command == "get" else each.words[0], each.name) for each in kinds]
    return words if command == "get" else [*_names(where, TIERS), *words]


def _where(before: Sequence[str]) -> argparse.Namespace:
    """The options about the cluster that stand before the word."""
    reader = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    cluster_options.add(reader, all_namespaces=True)
    try:
        return reader.parse_known_args(before)[0]
    except (argparse.ArgumentError, SystemExit):
        return reader.parse_args([])


def _client(where: argparse.Namespace) -> UserClient:
    return UserClient(cluster_options.access(where), seconds=SECONDS)


def _names(where: argparse.Namespace, kind: Kind) -> list[Candidate]:
    with _client(where) as client:
        path = kind.path(cluster_options.namespace(where, client))
        found = client.items(f"list {kind.plural}", path)
    return [
        Candidate(str(each["metadata"]["name"]), str((each.get("status") or {}).get("state") or ""))
        for each in sorted(found, key=lambda each: str(each["metadata"]["name"]))
    ]


def _beginning(start: str, candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    return tuple(each for each in candidates if each.word.startswith(start))
