"""Describes which model repositories a tier uses, and what they publish.

A repository on a Hugging Face-compatible hub has a config.json, from which the size and the shape of the model follow
before anything is downloaded. This module holds the values. `tierwise.observe.model_metadata_cache` keeps them up to
date; `tierwise.hub` reads them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from tierwise.api.modeltier import ModelTierSpec
from tierwise.types.capabilities import ModelShape

HF_SCHEME = "hf://"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
DEFAULT_REVISION = "main"


@dataclass(frozen=True, slots=True, order=True)
class Repository:
    """A repository of the hub at one revision: a branch, a tag or a commit."""

    name: str
    revision: str = DEFAULT_REVISION

    def __str__(self) -> str:
        return self.name if self.revision == DEFAULT_REVISION else f"{self.name} at {self.revision}"

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit, whose files never change."""
        return _COMMIT.fullmatch(self.revision) is not None


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What is known of one repository: its shape, or why it is not known, in a sentence for a person."""

    shape: ModelShape | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ModelMetadataSet:
    """What is known of all repositories. `asking`: those whose first answer is on its way."""

    known: Mapping[Repository, ModelMetadata] = field(default_factory=dict)
    asking: frozenset[Repository] = frozenset()

    def shape(self, repository: Repository | None) -> ModelShape | None:
        """The shape of the model, if it is known."""
        found = self.known.get(repository) if repository is not None else None
        return found.shape if found is not None else None

    def problem(self, repository: Repository) -> str:
        """Why it is not known; empty when it is, or when nobody has asked."""
        found = self.known.get(repository)
        return found.problem if found is not None and found.shape is None else ""


NOTHING = ModelMetadataSet()


def repositories(spec: ModelTierSpec) -> tuple[Repository | None, Repository | None]:
    """The repositories of the model and of its draft model; None for what is elsewhere, absent or no repository name.

    Both end in the path of a request, so both are checked again here: an object may be older than the CRD's rule."""
    model = None
    if spec.model is not None and spec.model.uri.startswith(HF_SCHEME):
        model = _repository(spec.model.uri.removeprefix(HF_SCHEME), spec.model.revision)
    speculation = spec.speculation
    if speculation.mode == "Disabled" or speculation.draft_model is None:
        return model, None
    return model, _repository(speculation.draft_model, None)


def _repository(name: str, revision: str | None) -> Repository | None:
    revision = revision or DEFAULT_REVISION
    if ".." in name or ".." in revision or not _NAME.fullmatch(name) or not _REVISION.fullmatch(revision):
        return None
    return Repository(name, revision)
