"""Runs `tierwise doctor`: what stands between a cluster and a tier that serves, each with what to do about it."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from tierwise_cli import cluster_options
from tierwise_cli.doctor.checks import judge, worst
from tierwise_cli.doctor.facts import Finding
from tierwise_cli.doctor.look import Look, digest
from tierwise_cli.output import DIM, GREEN, RED, YELLOW, paint, write_data

_COLOURS = {"ok": GREEN, "warning": YELLOW, "problem": RED, "unknown": DIM}
EXAMPLES = """\
examples:
  tierwise doctor
  tierwise doctor -n models -o json
  tierwise doctor --as system:serviceaccount:models:deployer"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "-o", "--output", choices=("text", "json", "yaml"), default="text", help="for people or programs"
    )
    parser.add_argument("--prometheus-url", metavar="URL", default="", help="default: what the operator is told")
    cluster_options.add(parser)


def expected() -> dict[str, str]:
    """The digests of the CRDs that this release brings, by their names."""
    from tierwise.api.crd import definition
    from tierwise.api.kinds import KINDS

    return {kind.crd_name: digest(definition(kind)) for kind in KINDS}


def run(given: argparse.Namespace) -> int:
    """Look and tell; exit code 1 where there is a problem. Raises Invalid."""
    with cluster_options.client(given) as client:
        namespace = cluster_options.namespace(given, client)
        findings = judge(Look(client, namespace, prometheus=given.prometheus_url).facts(expected()))
    if given.output in ("json", "yaml"):
        write_data(given.output, [asdict(each) for each in findings])
    else:
        print("\n".join(map(_text, findings)))
    return 1 if worst(findings) == "problem" else 0


def _text(finding: Finding) -> str:
    line = f"{paint(finding.level.ljust(7), _COLOURS[finding.level])}   {finding.check.ljust(16)}   {finding.found}"
    return f"{line}\n{' ' * 29}→ {finding.remedy}" if finding.remedy else line
