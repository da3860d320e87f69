"""Runs `tierwise restart`: every replica of a tier is started anew, as the tier's rollout says.

It writes the annotation that `kubectl rollout restart` writes, on the ModelTier: KServe takes it away from a Deployment
within seconds. The operator passes it on to the pods, and a surge or a replacement follows as after any change.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from tierwise.errors import Gone, Invalid
from tierwise.kube.objects import RESTARTED_AT
from tierwise_cli import cluster_options
from tierwise_cli.kinds import TIERS, kind_of

EXAMPLES = """\
examples:
  tierwise restart chat
  tierwise restart chat summaries -n models
  tierwise restart tier/chat --dry-run"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("tiers", nargs="+", metavar="TIER", help="name of a ModelTier (also as tier/NAME)")
    parser.add_argument("--dry-run", action="store_true", help="only ask the API server whether it would do it")
    cluster_options.add(parser)


def run(given: argparse.Namespace) -> int:
    """Restart; the exit code. Raises TierwiseError."""
    names = [_name(word) for word in given.tiers]
    # With its fraction: the same value again would restart nothing.
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    body = {"metadata": {"annotations": {RESTARTED_AT: stamp}}}
    with cluster_options.client(given) as client:
        namespace = cluster_options.namespace(given, client)
        for name in names:
            try:
                tier = client.get(f"get modeltiers {namespace}/{name}", TIERS.path(namespace, name)).body
                if tier["spec"].get("external") is not None:
                    raise Invalid(f"the ModelTier {name} is external: it has no replicas that could be restarted")
                client.merge(
                    f"annotate modeltiers {namespace}/{name}", TIERS.path(namespace, name), body, dry_run=given.dry_run
                )
            except Gone as gone:
                raise Gone(f"there is no ModelTier {name} in namespace {namespace}", status=404) from gone
            print(f"modeltier.tierwise.io/{name} {'would be restarted' if given.dry_run else 'restarts'}")
    return 0


def _name(word: str) -> str:
    before, slash, name = word.partition("/")
    if not slash:
        return word
    if kind_of(before) is not TIERS or not name:
        raise Invalid(f"{word!r} is no tier: give its name, or tier/NAME")
    return name
