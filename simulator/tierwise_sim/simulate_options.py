"""Defines the options of `tierwise simulate`.

A module of its own, since the command line shows them without importing what the command needs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """\
examples:
  tierwise simulate -f tiers.yaml --trace azure-llm-2023-conv.csv
  tierwise simulate -f manifests/ --trace sine:mean=5,bursts=4,seed=7 --startup 300 --autoscaler static
  tierwise simulate -f manifests/ --trace log.jsonl --what-if small.maxReplicas=2,4,8 -o json
  tierwise simulate -f manifests/ --trace step --fault prometheus-away@600+600
  tierwise simulate -f manifests/ --from-prometheus http://localhost:9090 --last 7d --match namespace=models

A trace is a file (Azure CSV, Mooncake or access-log JSON lines, a provider's usage export) or a generator:
constant, step, ramp, sine, apart, together, each with NAME=VALUE,... after a colon."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "-f",
        "--filename",
        type=Path,
        action="append",
        required=True,
        metavar="FILE",
        help="YAML with ModelTiers and a ModelRoute, or a folder of it; may be given several times",
    )
    parser.add_argument("--route", default="", metavar="NAME", help="the ModelRoute, where the files have several")
    _trace_options(parser.add_argument_group("what comes"))
    _world_options(parser.add_argument_group("what it meets"))
    _service_options(parser.add_argument_group("what is asked of it"))
    parser.add_argument(
        "--what-if",
        action="append",
        default=[],
        metavar="NAME.FIELD=VALUE,...",
        help="try these values of a field, one simulation each: small.replicas=1,2,3 or small.maxReplicas=4,8 or any "
        "other of a tier's or the route's spec, or of an option: autoscaler, budget-rule, gpus, inter-token, seed, "
        "share, startup, ttft; several make all combinations",
    )
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table", help="for people or programs")
    parser.add_argument(
        "--report", type=Path, metavar="FILE.html", help="also write one HTML page with plots, which needs nothing else"
    )


def _trace_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--trace", metavar="TRACE", help="file or generator of requests, see below")
    group.add_argument("--from-prometheus", metavar="URL", help="instead: what it remembers of your vLLM")
    group.add_argument("--last", default="7d", metavar="TIME", help="... in the last 90m, 12h, 7d (default: 7d)")
    group.add_argument("--step", type=int, default=60, metavar="SECONDS", help="... counted in steps (default: 60)")
    group.add_argument("--match", action="append", default=[], metavar="LABEL=VALUE", help="... only these series")
    group.add_argument("--bearer-file", type=Path, metavar="FILE", help="... holds the token for it")
    group.add_argument("--ca-file", type=Path, metavar="FILE", help="... holds its certificate authority")
    group.add_argument("--save-trace", type=Path, metavar="FILE", help="keep the requests, for --trace")
    group.add_argument("--format", default="", help="of the file, where it is not recognised")
    group.add_argument(
        "--from", dest="begin", type=float, default=0.0, metavar="SECOND", help="leave out what is before"
    )
    group.add_argument("--until", type=float, metavar="SECOND", help="leave out what is after")
    group.add_argument("--scale", type=float, default=1.0, metavar="FACTOR", help="so many times the requests")
    group.add_argument(
        "--burstiness",
        type=float,
        default=1.0,
        metavar="CV",
        help="of a usage export: variation of the gaps between requests within an interval (1: Poisson)",
    )
    group.add_argument(
        "--mean-prompt-tokens", type=float, metavar="TOKENS", help="of a usage export that counts no requests"
    )
    group.add_argument("--seed", type=int, default=0, help="everything that is drawn is drawn from it (default: 0)")


def _world_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--startup",
        action="append",
        default=[],
        metavar="[TIER=]SECONDS",
        help="until a new replica answers (default: 120)",
    )
    group.add_argument(
        "--initial",
        action="append",
        default=[],
        metavar="[TIER=]N",
        help="replicas that answer when the trace begins (default: minReplicas, at least one)",
    )
    group.add_argument(
        "--autoscaler",
        default="tierwise",
        metavar="NAME[:SETTING=VALUE,...]",
        help="who decides replicas (default: tierwise); or, to compare, static:replicas=4, keda-epp, wva-v2, ...",
    )
    group.add_argument(
        "--priority", action="append", default=[], metavar="TIER=N", help="under --gpus: how much a tier weighs (1)"
    )
    group.add_argument(
        "--budget-rule",
        default="",
        metavar="NAME",
        help="of another autoscaler: how tiers share --gpus, e.g. kueue-floors",
    )
    group.add_argument("--gpu", default="", metavar="PRODUCT", help="of tiers whose nodeSelector names none")
    group.add_argument(
        "--gpus",
        action="append",
        default=[],
        metavar="[PRODUCT=]N",
        help="there are so many GPUs, all products together or of one product",
    )
    group.add_argument(
        "--calibration",
        action="append",
        default=[],
        metavar="[TIER=]FILE",
        help="step times that `tierwise calibrate` has measured on your own engine",
    )
    group.add_argument("--no-kernels", action="store_true", help="step times as if no measured kernels were installed")
    group.add_argument("--acceptance", type=float, metavar="SHARE", help="of drafted tokens that are accepted, 0 to 1")
    group.add_argument(
        "--external-ttft", type=float, default=0.6, metavar="SECONDS", help="of an external API (default: 0.6)"
    )
    group.add_argument(
        "--external-inter-token", type=float, default=0.012, metavar="SECONDS", help="the same (default: 0.012)"
    )
    group.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="[TIER:]KIND@SECOND[+SECONDS]",
        help="what goes wrong: prometheus-away, pod-silent, nan, frozen-series, node-lost",
    )


def _service_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--ttft", type=float, default=2.5, metavar="SECONDS", help="target: until the first token (default: 2.5)"
    )
    group.add_argument(
        "--inter-token",
        type=float,
        default=0.1,
        metavar="SECONDS",
        help="target: mean time between the tokens of an answer (default: 0.1)",
    )
    group.add_argument(
        "--share",
        type=float,
        metavar="PERCENT",
        help="of a route with a classifier: so many requests go to the reference tier",
    )
