"""Checks again what the API refuses of labels, annotations and variables.

An object may be older than a rule, and a rule is easily loosened. A variable that stood twice in a pod would be the
later one, and a label of KServe's would take the pod away from its Service.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.pod import OPENING_VARIABLES, OWN_VARIABLES, RESERVED_DOMAINS, RESERVED_KEYS, Variable
from tierwise.engines.finding import Finding
from tierwise.reasons import INVALID_SPEC

_RESERVED = re.compile(RESERVED_DOMAINS)


def check_pod(spec: ModelTierSpec) -> list[Finding]:
    """What must not be in a pod: fatal findings, in the order of the fields."""
    return [Finding(INVALID_SPEC, message) for message in (*_keys(spec), *_variables(spec.env))]


def _keys(spec: ModelTierSpec) -> Iterator[str]:
    given = {"labels": spec.pod_metadata.labels, "annotations": spec.pod_metadata.annotations}
    for field, entries in given.items():
        for key in sorted(entries):
            if key in RESERVED_KEYS or _RESERVED.match(key):
                yield f"podMetadata.{field}: {key} belongs to Tierwise, KServe or Kubernetes: choose a key of your own"


def _variables(env: list[Variable]) -> Iterator[str]:
    for variable in env:
        if variable.name in OWN_VARIABLES:
            yield f"env: Tierwise sets {variable.name} itself: use the field that says the same, or leave it out"
        elif variable.name in OPENING_VARIABLES:
            yield f"env: {variable.name} opens the engine or moves its address: leave it out"
        elif "$(" in (variable.value or ""):
            yield f"env: {variable.name}: Kubernetes would put another variable in the place of $(NAME): write it out"
