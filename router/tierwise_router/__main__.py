"""Runs the router alone: the entrypoint `tierwise-router` of its image.

The same options as `tierwise router`, whose word may stand first, so that one pod spec fits both images. This module
imports neither the operator nor kopf: the router's image holds neither.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tierwise import __version__
from tierwise.errors import Invalid, TierwiseError
from tierwise_router import cli


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="tierwise-router",
        description="One OpenAI endpoint over tiers, from a ModelRoute or a file.",
        epilog=cli.EXAMPLE.replace("tierwise router", "tierwise-router"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=__version__)
    cli.add_options(made)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; the exit code: 2 for what was typed or configured, 1 for what was found."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["router"]:
        given = given[1:]
    try:
        return cli.run(parser().parse_args(given))
    except Invalid as error:
        return _complain(error.message, 2)
    except (TierwiseError, OSError) as error:
        return _complain(str(error), 1)


def _complain(text: str, code: int) -> int:
    print(f"tierwise-router: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
