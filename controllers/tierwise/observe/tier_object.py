"""Reads a ModelTier, also one that does not match the present schema.

The API server checks the CRD's schema and rules, but an object may be older than a rule. So a spec that does not parse
becomes a sentence for the condition Accepted, never an exception: one bad tier must not stop the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.modeltier_status import ModelTierStatus
from tierwise.kube.objects import RESTARTED_AT
from tierwise.observe.object_fields import mapping, number, text
from tierwise.types import TierKey, TierObject

_SHOWN_ERRORS = 3
_TIME = re.compile(r"[0-9A-Za-z:.+-]{1,64}")


def tier_object(body: Mapping[str, Any]) -> TierObject:
    """A ModelTier as a value. Never raises for what the object holds; a status that does not parse counts as empty."""
    metadata = mapping(body, "metadata")
    spec, invalid = _spec(body.get("spec"))
    return TierObject(
        key=TierKey(text(metadata, "namespace"), text(metadata, "name")),
        uid=text(metadata, "uid"),
        generation=number(metadata, "generation"),
        resource_version=text(metadata, "resourceVersion"),
        spec=spec,
        status=_status(body.get("status")),
        invalid=invalid,
        deleting=bool(metadata.get("deletionTimestamp")),
        restarted_at=_restarted_at(metadata),
    )


def _restarted_at(metadata: Mapping[str, Any]) -> str:
    """When somebody asked for a restart, as `kubectl rollout restart` writes it; empty for what is no time at all."""
    said = text(mapping(metadata, "annotations"), RESTARTED_AT)
    return said if _TIME.fullmatch(said) else ""


def _spec(raw: object) -> tuple[ModelTierSpec | None, str]:
    try:
        spec = ModelTierSpec.model_validate(raw if raw is not None else {})
    except ValidationError as error:
        return None, sentence(error)
    if (spec.model is None) == (spec.external is None):
        return None, "set exactly one of spec.model (served here) and spec.external (an API)"
    if spec.scaling.min_replicas > spec.scaling.max_replicas:
        return None, "spec.scaling.minReplicas must not exceed spec.scaling.maxReplicas"
    return spec, ""


def _status(raw: object) -> ModelTierStatus:
    try:
        return ModelTierStatus.model_validate(raw if raw is not None else {})
    except ValidationError:
        return ModelTierStatus()  # nothing remembered: replicas are held for one window


def sentence(error: ValidationError) -> str:
    """Field and complaint of the first errors; never the value, which may be long or secret."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    said = [f"{'.'.join(['spec', *map(str, each['loc'])])}: {each['msg']}" for each in found[:_SHOWN_ERRORS]]
    more = f" (and {len(found) - _SHOWN_ERRORS} more)" if len(found) > _SHOWN_ERRORS else ""
    return "; ".join(said) + more
