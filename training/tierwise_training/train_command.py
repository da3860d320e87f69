"""Runs `tierwise train`: reads labels, learns, says what was found, writes the classifier and the report.

Prompts are read and never printed; the report names single frequent words of them, the terminal does too.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tierwise import times
from tierwise.errors import Invalid
from tierwise.routing.question import question_of
from tierwise.routing.text_features import Features, features_of
from tierwise_training import labels as label_file
from tierwise_training import prices, prompts, route_verdicts, train_html, train_text
from tierwise_training.findings import Findings
from tierwise_training.labels import Label
from tierwise_training.manifest import default_name, manifest
from tierwise_training.training import Trained, Wanted, train


def run(given: argparse.Namespace, now: float | None = None) -> int:
    """The exit code: 1 when the classifier must not be used. Raises Invalid, OSError."""
    if not 50 <= given.quality <= 100:
        raise Invalid(f"--quality is {given.quality}; it is a percentage of 50 to 100")
    salt = b"" if given.salt_file is None else prompts.read_salt(given.salt_file)
    wanted = Wanted(
        quality_percent=given.quality,
        created_at=times.rfc3339(time.time() if now is None else now),
        salt=salt,
        prices={} if given.prices is None else prices.parse(given.prices.read_text("utf-8"), str(given.prices)),
    )
    found = _labels(given, salt)
    if not salt and any(label.prompt is None and label.features is not None for label in found):
        raise Invalid(
            "the labels hold hashed features: give their secret with --salt-file, since a router that hashed requests "
            "without it would score nonsense"
        )
    unlabelled = [] if given.unlabelled is None else _unlabelled(given.unlabelled, salt)
    trained = _with_progress(found, wanted, unlabelled)
    if given.out:
        _write(trained, given)
    if given.report:
        given.report.write_text(train_html.page(trained.findings, trained.classifier.header), encoding="utf-8")
    if given.output == "json":
        print(json.dumps(_plain(asdict(trained.findings)), indent=1, ensure_ascii=False))
    else:
        Console().print(train_text.as_text(trained.findings))
        _say_where(given, trained.findings)
    return 1 if trained.findings.refusal else 0


def _labels(given: argparse.Namespace, salt: bytes) -> list[Label]:
    if (given.from_route is None) != (not given.verdicts) or bool(given.labels) == bool(given.verdicts):
        raise Invalid("give files of labels, or --from-route with --verdicts")
    if given.from_route is None:
        found = [label for path in given.labels for label in label_file.read(path)]
    else:
        if not salt:
            raise Invalid("the verdicts of a route hold salted features: --salt-file must hold the salt of the route")
        read = route_verdicts.read(given.verdicts, salt)
        for line in read.sentences():
            print(line, file=sys.stderr)
        found = list(read.labels)
    for wanted, name, attribute in (
        (given.from_route or given.route, "route", "route"),
        (given.from_tier, "cheap tier", "from_tier"),
        (given.reference, "reference tier", "reference_tier"),
    ):
        found = found if wanted is None else _only(found, wanted, name, attribute)
    return found


def _only(found: list[Label], wanted: str, name: str, attribute: str) -> list[Label]:
    chosen = [label for label in found if getattr(label, attribute) == wanted]
    if not chosen:
        there = ", ".join(sorted({getattr(label, attribute) for label in found})) or "none"
        raise Invalid(f"no label is of {name} {wanted}; there are labels of: {there}")
    return chosen


def _unlabelled(path: Path, salt: bytes) -> list[Features]:
    bodies = ({"messages": list(each.messages), "tools": each.request.get("tools")} for each in prompts.read(path))
    return [features_of(*question_of(body), salt) for body in bodies]


def _with_progress(found: list[Label], wanted: Wanted, unlabelled: list[Features]) -> Trained:
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task(f"learning from {len(found):,} labels, and again with fewer to see what more would bring")
        return train(found, wanted, unlabelled)


def _write(trained: Trained, given: argparse.Namespace) -> None:
    if given.out.suffix == ".bin":
        given.out.write_bytes(trained.classifier.write())
        return
    name = given.name or default_name(trained.findings.route)
    given.out.write_text(manifest(trained.classifier, name, given.namespace), encoding="utf-8")


def _say_where(given: argparse.Namespace, found: Findings) -> None:
    if given.out and given.out.suffix != ".bin":
        name = given.name or default_name(found.route)
        print(f"{given.out}: kubectl apply --server-side -f {given.out}")
        print(f"then in ModelRoute {found.route}: policy.type: Classifier, policy.classifier.configMapName: {name}")
    elif given.out:
        print(f"{given.out}: policy.classifier.file of a route file")
    if given.report:
        print(f"{given.report}: the whole report")
    sys.stdout.flush()


def _plain(value: Any) -> Any:
    """JSON has no nan: what is not known is null."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
