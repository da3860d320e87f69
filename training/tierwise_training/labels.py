"""Reads and writes labels.jsonl: for each prompt, whether the cheap and the reference tier answered rightly.

`tierwise label` writes the file and `tierwise train` reads it. It is a format of its own, one JSON object a line, so
that people can make labels by other means too. A file is written whole and then renamed: nobody reads half of one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from tierwise.errors import Invalid

VERSION: Literal[1] = 1
Verdict = Literal["win", "tie", "loss"]
"""Of the cheap tier's answer against the reference tier's."""
Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class Tokens(_Part):
    """Of one request, as its usage says. `reasoning` is a part of `output`; None where upstream does not say."""

    input: Count
    output: Count
    reasoning: Count | None = None


class TierAnswer(_Part):
    """What one tier did. `right` is None where it is not known: nothing could be read out of the answer, say."""

    right: bool | None
    tokens: Tokens | None = None
    finish_reason: str = ""


class Pair(_Part):
    """One comparison. `orders`: a judge's verdict with the first answer shown first, and shown second; None is a
    verdict that could not be read. `identical`: both answers say the same, so nobody was asked."""

    verdict: Verdict | None = None
    orders: tuple[Verdict | None, ...] = ()
    identical: bool = False


class JudgeRecord(Pair):
    """How it was judged. `audit` is a person's verdict; `ceiling` compares the reference tier's second answer with its
    first, `again` the cheap tier's second answer with the reference tier's first."""

    kind: str = Field(default="", description="exact, number, choice, json or tier:NAME; empty: by other means.")
    against: Literal["gold", "reference"] = "reference"
    version: int = Field(default=1, description="Of the rule, or of the judge's instructions.")
    models: dict[str, str] = Field(default_factory=dict, description="What the tiers called their models.")
    ceiling: Pair | None = None
    again: Pair | None = None
    audit: Verdict | None = None
    cost_usd: str | None = Field(
        default=None,
        validation_alias="costUSD",
        serialization_alias="costUSD",
        description="Of all questions about this prompt.",
    )


class Label(_Part):
    """One prompt with both answers. Training uses those where both `right` are known."""

    id: str
    prompt_hash: str
    group: str | None = None
    prompt: str | list[dict[str, Any]] | None = Field(
        default=None, description="The text that was asked, or the messages. Absent where only features are kept."
    )
    tools: bool = Field(default=False, description="Whether the request brought tools.")
    features: dict[str, Any] | None = None
    salt_check: str = Field(default="", description="Tells whether a salt is the one of the features, not what it is.")
    sampling_rate: float | None = Field(
        default=None, gt=0, le=1, description="The share of requests like this one that were labelled; None: not known."
    )
    small: TierAnswer
    reference: TierAnswer
    judge: JudgeRecord | None = None
    from_tier: str = Field(validation_alias="from", serialization_alias="from", description="The cheap tier.")
    reference_tier: str
    route: str
    version: Literal[1] = VERSION

    @property
    def known(self) -> bool:
        """Whether both answers are known to be right or wrong."""
        return self.small.right is not None and self.reference.right is not None


def to_line(label: Label) -> str:
    """The label as JSON without a line end; fields that are not set are left out, `right` never is."""
    said = label.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    for name in ("small", "reference"):
        said[name].setdefault("right", None)
    said["version"] = VERSION
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def parse(text: str, source: str = "the labels") -> list[Label]:
    """The labels of a file's text. Raises Invalid, which names the line and never quotes it."""
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            found.append(_label(line, f"line {number} of {source}"))
    return found


def _label(line: str, where: str) -> Label:
    try:
        given = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{where} is not JSON; each line holds one label") from error
    if isinstance(given, dict) and given.get("version", VERSION) != VERSION:
        raise Invalid(f"{where} is of version {given['version']!r}; this release reads version {VERSION}")
    try:
        return Label.model_validate(given)
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in mistake["loc"]) or "the label"
        raise Invalid(f"{where} is no label: {place}: {mistake['msg']}") from error


def read(path: Path) -> list[Label]:
    """The labels of a file. Raises Invalid."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"the labels in {path} cannot be read: {type(error).__name__}") from error
    return parse(text, str(path))


def write(path: Path, labels: Iterable[Label]) -> None:
    """Write a file for its owner's eyes only: it may hold prompts. Raises OSError."""
    write_private(path, "".join(to_line(label) + "\n" for label in labels))


def write_private(path: Path, text: str) -> None:
    """Replace a file as a whole, readable by its owner only. Raises OSError."""
    beside = path.with_name(f".{path.name}.new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def usable(labels: Sequence[Label]) -> list[Label]:
    """Those that can be trained on: both answers are known."""
    return [label for label in labels if label.known]
