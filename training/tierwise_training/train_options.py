"""Defines the options of `tierwise train`.

A module of its own, since the command line shows them without importing what the command needs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
examples:
  tierwise train labels.jsonl --out classifier.yaml --report report.html
  tierwise train labels.jsonl --quality 97 --prices route.yaml -o json
  tierwise train --from-route chat --verdicts chat-*.jsonl --salt-file salt --out classifier.yaml
  kubectl apply --server-side -f classifier.yaml

exit codes: 0 the classifier may be used; 1 it must not be (the file says why, and routers go by rules); 2 it was asked
for wrongly"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("labels", type=Path, nargs="*", help="files that `tierwise label` wrote")
    parser.add_argument(
        "--from-route", metavar="NAME", help="learn from what the routers of this route have judged, see --verdicts"
    )
    parser.add_argument(
        "--verdicts",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="with --from-route: the routers' files of verdicts, one of each router; - is standard input",
    )
    parser.add_argument("--route", metavar="NAME", help="only the labels of this route")
    parser.add_argument("--from", dest="from_tier", metavar="TIER", help="only those of this cheap tier")
    parser.add_argument("--reference", metavar="TIER", help="only those against this reference tier")
    parser.add_argument(
        "--quality",
        type=int,
        default=95,
        metavar="PERCENT",
        help="percent of the reference tier's right answers that are to be kept, with 90 %% confidence (default: 95)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the ConfigMap; .bin: the classifier file alone")
    parser.add_argument("--name", help="of the ConfigMap (default: ROUTE-classifier)")
    parser.add_argument("-n", "--namespace", help="of the ConfigMap (default: whatever kubectl uses)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="all that was found, as one HTML page")
    parser.add_argument(
        "--unlabelled",
        type=Path,
        metavar="FILE",
        help="prompts as they come (JSON lines): shares are quantiles of them",
    )
    parser.add_argument("--prices", type=Path, metavar="FILE", help="prices by tier, or the route file of the router")
    parser.add_argument(
        "--salt-file", type=Path, metavar="FILE", help="the secret that features are hashed with; routers need it too"
    )
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="the report for people or programs"
    )
