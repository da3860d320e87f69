"""Defines `tierwise label`: its options, and what they mean together.

Everything that can be wrong in the files is found here, before anything is asked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from decimal import Decimal, InvalidOperation
from pathlib import Path

from rich.console import Console

from tierwise.errors import Invalid
from tierwise_training import extraction, label_run, labels, prices, prompts
from tierwise_training.asking import Limits, read_key
from tierwise_training.label_run import Job
from tierwise_training.make_labels import unreadable_gold
from tierwise_training.questions import Plan, shuffled
from tierwise_training.report import report
from tierwise_training.report_text import as_json, as_text

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
        "--keep-prompts", action="store_true", help="keep the prompts (the default; says that you know)"
    )
    parser.add_argument("--estimate-only", action="store_true", help="stop when the cost is estimated")
    parser.add_argument("--yes", action="store_true", help="do not ask whether to go on")
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="the report for people or programs"
    )


def run(given: argparse.Namespace) -> int:
    """Do what was asked; the exit code: 0 all labels, 1 not all of them, 130 stopped by a signal. Raises
    TierwiseError."""
    if given.report is not None:
        _show(given.report, given.output)
        return 0
    wanted = job(given)
    if given.audit is not None:
        label_run.audit_pairs(wanted, given.audit, Console())
        code = 0
    else:
        code = asyncio.run(label_run.label(wanted, Console(stderr=True)))
    if wanted.out.exists() and not given.estimate_only:
        _show(wanted.out, given.output)
    return code


def _show(path: Path, output: str) -> None:
    found = labels.read(path)
    if not found:
        raise Invalid(f"there is no label in {path}")
    said = report(found)
    if output == "json":
        print(json.dumps(as_json(said), indent=2))
    else:
        Console().print(as_text(said, found[0].from_tier, found[0].reference_tier))


def job(given: argparse.Namespace) -> Job:
    """Read and check everything that the options name. Raises Invalid."""
    needed = {
        "--prompts": given.prompts,
        "--out": given.out,
        "--from": given.small,
        "--reference": given.reference,
        "--judge": given.judge,
    }
    if given.audit is None:
        needed["--route-url"] = given.route_url
    if missing := [name for name, value in needed.items() if value is None]:
        raise Invalid(f"give {', '.join(missing)} (or --report LABELS alone)")
    if given.features_only != (given.salt_file is not None):
        raise Invalid("--features-only and --salt-file belong together: without a secret salt words could be looked up")
    if given.features_only and given.keep_prompts:
        raise Invalid("--features-only and --keep-prompts contradict each other")
    if given.small == given.reference:
        raise Invalid("--from and --reference name the same tier")
    if not (given.rate > 0 and 1 <= given.concurrency <= 1000):
        raise Invalid("--rate must be above 0, and --concurrency from 1 to 1000")
    salt = None if given.salt_file is None else prompts.read_salt(given.salt_file)
    plan = Plan(
        given.small, given.reference, _judge(given.judge), given.route or "", _request(given.request), ties=given.ties
    )
    found = prompts.read(given.prompts, salt or b"")
    if unread := unreadable_gold(found, plan.judge):
        raise Invalid(
            f"{len(unread)} gold answers hold no {plan.judge} that can be read, the first is of id {unread[0]!r}"
        )
    return Job(
        prompts=shuffled(found),
        plan=plan,
        out=given.out,
        url=given.route_url or "",
        rates=prices.read(given.prices),
        budget=_usd(given.budget_usd),
        limits=Limits(given.rate, given.concurrency),
        key=read_key(given.api_key_file),
        salt=salt,
        yes=given.yes,
        estimate_only=given.estimate_only,
    )


def _judge(said: str) -> str:
    kind, colon, name = said.partition(":")
    if said in extraction.KINDS or (kind == "tier" and colon and name):
        return said
    raise Invalid(f"--judge {said!r} is none of {', '.join(extraction.KINDS)} and tier:NAME")


def _request(said: str) -> dict[str, object]:
    try:
        fields = json.loads(said)
    except ValueError as error:
        raise Invalid(f"--request is not JSON: {error}") from error
    if not isinstance(fields, dict) or prompts.OURS & set(fields):
        raise Invalid(f"--request is an object of further fields, none of {', '.join(sorted(prompts.OURS))}")
    return fields


def _usd(said: str) -> Decimal:
    try:
        amount = Decimal(said)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or amount <= 0:
        raise Invalid(f"--budget-usd {said!r} is no amount above 0")
    return amount
