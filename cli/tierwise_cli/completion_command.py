"""Runs `tierwise completion`, and answers the shells that have read what it printed.

The scripts hold no knowledge: they hand the words to `tierwise __complete` and show what comes back, in the protocol
that kubectl speaks with the completions of its plugins.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.resources import files

QUESTION = "__complete"
SHELLS = ("bash", "zsh", "fish")
EXAMPLES = """\
examples:
  source <(tierwise completion bash)          # in ~/.bashrc; for zsh alike in ~/.zshrc
  tierwise completion fish > ~/.config/fish/completions/tierwise.fish

`kubectl tierwise` completes through the program kubectl_complete-tierwise, which is installed beside this one, where
kubectl's own completion is on (kubectl completion --help)."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("shell", choices=SHELLS, help="the shell whose script is printed")


def run(given: argparse.Namespace) -> int:
    """Print a script; the exit code."""
    print(script(given.shell), end="")
    return 0


def script(shell: str) -> str:
    """What a shell reads to complete the commands."""
    return (files("tierwise_cli") / "shells" / f"tierwise.{shell}").read_text(encoding="utf-8")


def answer(words: Sequence[str]) -> int:
    """Print what could stand at the end of `words`; the exit code."""
    from tierwise_cli.completion import complete  # it reads the commands, which read this module

    print("\n".join(complete(words).lines()))
    return 0


def kubectl() -> int:
    """What kubectl calls to complete `kubectl tierwise`."""
    return answer(sys.argv[1:])
