"""Runs `tierwise label`: what its options mean together, and which part of it was asked for.

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
        keep_prompts=given.keep_prompts,
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
