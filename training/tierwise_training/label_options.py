"""Defines the options of `tierwise label`.

A module of its own, since the command line shows them without importing what the command needs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
examples:
  tierwise label --prompts prompts.jsonl --route-url http://127.0.0.1:8080 --route chat \\
      --from small --reference large --judge number --prices route.yaml --out labels.jsonl
  tierwise label ... --judge tier:judge          a tier compares both answers, in both orders
  tierwise label ... --judge tier:judge --audit 60     you judge 60 pairs: how far is the judge to be trusted
  tierwise label --report labels.jsonl"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("--report", type=Path, metavar="LABELS", help="only show what a file of labels says of itself")
    parser.add_argument(
        "--prompts", type=Path, metavar="FILE", help="JSON lines with messages or prompt, and perhaps id, group, gold"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the labels; beside it FILE.answers keeps the answers")
    parser.add_argument("--route-url", metavar="URL", help="the route's endpoint, as clients use it")
    parser.add_argument(
        "--route", metavar="NAME", help="the route's name (default: the one model name that is no tier of these)"
    )
    parser.add_argument("--from", dest="small", metavar="TIER", help="the cheap tier")
    parser.add_argument("--reference", metavar="TIER", help="the tier whose answers are good enough by definition")
    parser.add_argument("--judge", metavar="HOW", help="exact, number, choice, json, or tier:NAME")
    parser.add_argument(
        "--ties",
        choices=("right", "unknown"),
        default="right",
        help="what a judge's verdicts that contradict each other make of a label (default: right, a tie)",
    )
    parser.add_argument(
        "--request",
        metavar="JSON",
        default="{}",
        help='further fields of each request, such as {"temperature": 0, "max_tokens": 1000}',
    )
    parser.add_argument("--prices", type=Path, metavar="FILE", help="prices by tier, or the route file of the router")
    parser.add_argument(
        "--budget-usd", metavar="USD", default="5", help="what all runs for these labels may cost (default: 5)"
    )
    parser.add_argument("--rate", type=float, default=5.0, help="requests per second (default: 5)")
    parser.add_argument("--concurrency", type=int, default=8, help="requests at a time (default: 8)")
    parser.add_argument("--api-key-file", type=Path, metavar="FILE", help="holds the client key of the route")
    parser.add_argument(
        "--audit", type=int, metavar="N", help="judge pairs yourself until N are, of what is asked already"
    )
    parser.add_argument("--features-only", action="store_true", help="keep hashed features instead of the prompts")
    parser.add_argument(
        "--salt-file", type=Path, metavar="FILE", help="the secret that features and prompts are hashed with"
    )
    parser.add_argument(
        "--keep-prompts", action="store_true", help="keep the prompts, as is the default, without a reminder of it"
    )
    parser.add_argument("--estimate-only", action="store_true", help="stop when the cost is estimated")
    parser.add_argument("--yes", action="store_true", help="do not ask whether to go on")
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="the report for people or programs"
    )
