"""Checks that a user's value is safe as a word of the engine's command line or environment.

The CRD's patterns let nothing else pass, but a pattern is easily loosened, and an object may be older than it. So the
renderer checks again, against four traps: a word that begins with a dash would be an option; Kubernetes expands
`$(NAME)` in arguments and environment (HF_TOKEN among the names); `..` leaves the folder that a name is joined to (the
hub's cache keeps a file by the name of a revision); and vLLM's parser reads the word `None` as no value, so a revision
of that name would silently be the default branch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tierwise.api.modeltier import ModelSource, ModelTierSpec
from tierwise.engines.finding import Finding
from tierwise.reasons import INVALID_SPEC

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/@:%-]*")
_NO_PARENT = ", and no '..'"


def check_words(spec: ModelTierSpec, model: ModelSource) -> list[Finding]:
    """A fatal Problem for every value that is no such word, in the order of the fields."""
    found = []
    for field, value, further in _written(spec, model):
        if not _WORD.fullmatch(value) or (further and ".." in value):
            said = f"{value[:64]!r} is not a name: letters, digits and ._/@:%- only{further}"
            found.append(Finding(INVALID_SPEC, f"{field}: {said}"))
        elif value.rpartition("//")[2] == "None":
            found.append(Finding(INVALID_SPEC, f"{field}: the engine reads the name None as no name"))
    return found


def _written(spec: ModelTierSpec, model: ModelSource) -> Iterator[tuple[str, str, str]]:
    """Field, value, and what is further asked of one that names a place."""
    yield "model.name", model.name, ""
    yield "model.uri", model.uri, _NO_PARENT
    if model.revision is not None:
        yield "model.revision", model.revision, _NO_PARENT
    for alias in model.aliases:
        yield "model.aliases", alias, ""
    for adapter in model.adapters:
        yield "model.adapters.name", adapter.name, ""
        yield "model.adapters.uri", adapter.uri, _NO_PARENT
        if adapter.revision is not None:
            yield "model.adapters.revision", adapter.revision, _NO_PARENT
    if spec.speculation.draft_model is not None:
        yield "speculation.draftModel", spec.speculation.draft_model, _NO_PARENT
