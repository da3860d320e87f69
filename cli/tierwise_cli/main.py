"""Defines the command line.

`tierwise COMMAND` and `kubectl tierwise COMMAND` are the same; `tierwise --help` lists the commands.

Errors are one line on stderr and exit code 2 (what was typed or configured) or 1 (what was found).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tierwise.errors import Invalid, TierwiseError
from tierwise_cli import completion_command
from tierwise_cli.commands import COMMANDS, Loaded

PROGRAM = "tierwise"
PLUGIN = "kubectl-tierwise"  # kubectl runs a program of this name for `kubectl tierwise`
INTERRUPTED = 130
EXAMPLES = """\
examples:
  tierwise get -A
  tierwise explain chat -n models
  tierwise explain route chat -n models
  tierwise restart chat -n models
  tierwise savings chat -n models
  tierwise simulate -f manifests/ --trace access-log.jsonl
  tierwise crds | kubectl apply --server-side -f -"""


def parser(words: Sequence[str] | None = None, program: str = PROGRAM) -> argparse.ArgumentParser:
    """The command line. With `words` only the command among them has its arguments; else every one has."""
    made = argparse.ArgumentParser(
        prog=program,
        description="Serves language models in tiers on Kubernetes: look, explain, plan, run.",
        epilog=_as_called(EXAMPLES, program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    wanted = None if words is None else next((word for word in words if not word.startswith("-")), "")
    for each in COMMANDS:
        loaded = each.load() if wanted in (None, each.name) else None
        one = commands.add_parser(
            each.name,
            help=each.help,
            description=each.description,
            epilog=_as_called(loaded.examples, program) if loaded else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if loaded is not None:
            loaded.add_options(one)
            one.set_defaults(loaded=loaded)
    return made


def _as_called(examples: str, program: str) -> str:
    return examples.replace(f"  {PROGRAM} ", f"  {program} ")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == [completion_command.QUESTION]:
        return completion_command.answer(words[1:])
    program = "kubectl tierwise" if Path(sys.argv[0]).name.startswith(PLUGIN) else PROGRAM
    given = parser(words, program).parse_args(words)
    loaded: Loaded = given.loaded
    try:
        code = loaded.run(given)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough; nothing may be written at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Invalid as error:
        return _complain(error.message, 2)
    except (TierwiseError, OSError) as error:
        return _complain(str(error), 1)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _complain(text: str, code: int) -> int:
    print(f"{PROGRAM}: {text}", file=sys.stderr)
    return code
