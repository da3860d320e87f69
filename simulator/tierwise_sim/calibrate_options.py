"""Defines the options of `tierwise calibrate`.

A module of its own, since the command line shows them without importing what the command needs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
examples:
  tierwise calibrate --url http://127.0.0.1:8000 --out calibration.json
  tierwise calibrate --url http://127.0.0.1:8000 --users 1 8 32 --prompt-tokens 200 4000 --output-tokens 100 400 \\
      --max-num-batched-tokens 8192 --out calibration.json
  tierwise calibrate --read calibration.json     what a file says, and how well"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--read", type=Path, metavar="FILE", help="only show what a file of this command says")
    parser.add_argument("--url", help="the engine's address, as clients use it, with or without /v1")
    parser.add_argument("--model", help="the model's name there (default: the only one that it serves)")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="holds the API key, where one is needed")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the calibration is written")
    parser.add_argument("--users", type=int, nargs="+", default=[1, 4, 16], help="how many ask at a time")
    parser.add_argument("--prompt-tokens", type=int, nargs="+", default=[100, 1500], help="lengths of prompts, about")
    parser.add_argument(
        "--output-tokens",
        type=int,
        nargs="+",
        default=[64, 160],
        help="lengths of answers; all but the first only judge the fit",
    )
    parser.add_argument("--waves", type=int, default=4, help="requests of each user")
    parser.add_argument(
        "--max-num-batched-tokens", type=int, default=2048, help="as the engine was started (vLLM's flag of this name)"
    )
    parser.add_argument(
        "--timeout-seconds", type=float, default=600.0, help="for one request; a slower one ends the command"
    )
