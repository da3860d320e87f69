"""Runs `tierwise convert`: a ModelTier from what serves a model today, and the list of what it does not have.

The list goes into the manifest as comments, where it stays with the tier, and to stderr, where a person sees it who
pipes the manifest on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import yaml

from tierwise.errors import Invalid
from tierwise_cli.convert.documents import of_command, of_text
from tierwise_cli.convert.draft import TIER_NAME, Conversion, tier_name
from tierwise_cli.output import write_data

INCOMPLETE = 3
EXAMPLES = """\
examples:
  tierwise convert -f inferenceservice.yaml
  tierwise convert -f values.yaml -n models > tiers.yaml
  tierwise convert -- vllm serve Qwen/Qwen3-8B --max-model-len 32k --enable-auto-tool-choice --tool-call-parser hermes
  kubectl get isvc chat -o yaml | tierwise convert -f -"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("words", nargs="*", metavar="-- vllm serve ...", help="the command line of an engine")
    parser.add_argument(
        "-f",
        "--filename",
        type=Path,
        metavar="FILE",
        help="an InferenceService, a Deployment, values of the vLLM production-stack, or a command line; - is stdin",
    )
    parser.add_argument("-n", "--namespace", metavar="NAME", help="namespace of the tiers (default: the file's)")
    parser.add_argument("--name", metavar="NAME", help="name of the tier, if there is one only")
    parser.add_argument("-o", "--output", choices=("yaml", "json"), default="yaml", help="json: the list as data, too")
    parser.add_argument("--strict", action="store_true", help=f"exit code {INCOMPLETE} where anything is left out")


def run(given: argparse.Namespace) -> int:
    """Convert; the exit code. Raises Invalid, OSError."""
    if (given.filename is None) == (not given.words):
        raise Invalid("give either -f FILE, or the command line of an engine after --")
    if given.name and tier_name(given.name) != given.name:
        raise Invalid(f"--name {given.name}: {TIER_NAME}: {tier_name(given.name)}, say")
    made = [of_command(given.words)] if given.words else of_text(_text(given.filename))
    for each in made:
        metadata = each.manifest["metadata"]
        metadata |= {"namespace": given.namespace} if given.namespace else {}
        if given.name:
            if len(made) > 1:
                raise Invalid(f"--name names one tier, and the file has {len(made)}")
            metadata["name"] = given.name
    if given.output == "json":
        said = [{"manifest": each.manifest, "notCarriedOver": [asdict(one) for one in each.dropped]} for each in made]
        write_data("json", said)
    else:
        print("---\n".join(as_yaml(each) for each in made), end="")
        _tell(made)
    return INCOMPLETE if given.strict and any(each.dropped for each in made) else 0


def _text(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"{file} is no text: {error.reason} at byte {error.start}") from error


def as_yaml(made: Conversion) -> str:
    """The manifest, with its list in comments before it."""
    lines = [f"# {line}" for line in _lines(made)]
    head = [f"# Not carried over as it was into {made.manifest['metadata']['name']}:", *lines] if lines else []
    return "\n".join([*head, yaml.safe_dump(made.manifest, sort_keys=False, width=110, allow_unicode=True)])


def _lines(made: Conversion) -> list[str]:
    return [f"{each.where} ({each.value}): {each.reason}" for each in made.dropped]


def _tell(made: Sequence[Conversion]) -> None:
    if sys.stdout.isatty():  # it stands above, in the comments
        return
    for each in made:
        for line in _lines(each):
            print(f"tierwise: {each.manifest['metadata']['name']}: not carried over as it was: {line}", file=sys.stderr)
