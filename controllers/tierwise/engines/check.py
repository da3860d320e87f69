"""Checks whether an engine release can serve a spec on the given GPUs, and whether it pays.

A fatal finding is what the engine would refuse after minutes of loading; it is found here in microseconds. What only
brings no benefit, or silently does nothing, is advice: the user may know better. Missing information never causes a
rejection. The rules about the model's sizes, about drafting and about GPUs have files of their own.
"""

from __future__ import annotations

import re

from tierwise.api.modeltier import ModelSource, ModelTierSpec
from tierwise.engines.arg_safety import check_words
from tierwise.engines.check_drafts import check_drafts
from tierwise.engines.check_engine_rules import check_engine_rules
from tierwise.engines.check_gpus import check_gpus
from tierwise.engines.check_model import check_model
from tierwise.engines.check_names import check_names
from tierwise.engines.check_options import check_options
from tierwise.engines.check_pod import check_pod
from tierwise.engines.extra_args import check_extra
from tierwise.engines.finding import Finding, missing
from tierwise.engines.methods import METHODS, method_in_use
from tierwise.engines.profiles import Profile, profile
from tierwise.engines.resolved_facts import effective_facts
from tierwise.reasons import (
    EXPERTS_ONLY,
    FEW_BITS_LONG_CONTEXT,
    INVALID_SPEC,
    NEEDS_PACKAGE,
    NO_EFFECT,
    UNCALIBRATED,
    UNPINNED_CODE,
)
from tierwise.types.capabilities import UNKNOWN, Facts, ModelShape

HF_SCHEME = "hf://"
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
LONG_CONTEXT = 65536


def check(spec: ModelTierSpec, facts: Facts = UNKNOWN) -> tuple[Finding, ...]:
    """Everything that is wrong or doubtful about a spec, fatal findings first; () for an external tier. What `facts`
    does not tell refuses nothing.

    Raises tierwise.errors.Unsupported when the engine's release is not known at all."""
    if spec.model is None:
        return ()
    release, effective = profile(spec.engine), effective_facts(spec, facts)
    found = [
        *check_words(spec, spec.model),
        *check_pod(spec),
        *check_engine_rules(spec, spec.model, facts.engine_rules),
        *_model(spec.model),
        *_quantization(spec, release, effective),
        *check_model(spec, release, facts, effective),
        *check_drafts(spec, release, effective),
        *check_extra(tuple(spec.extra_args), release),
        *check_names(spec, release),
        *check_options(spec, effective.model),
        *check_gpus(spec, release, effective),
        *_image(spec),
    ]
    return tuple(sorted(found, key=lambda problem: not problem.fatal))


def _advice(reason: str, message: str) -> Finding:
    return Finding(reason, message, fatal=False)


def _model(model: ModelSource) -> list[Finding]:
    return [*_repository(model), *_unpinned(model)]


def _unpinned(model: ModelSource) -> list[Finding]:
    """Code that may change between two starts of one tier."""
    hub = model.uri.startswith(HF_SCHEME)
    if model.trust_remote_code != "Enabled" or not hub or _COMMIT.fullmatch(model.revision or ""):
        return []
    message = "model.trustRemoteCode: model.revision is no commit, so the code that runs may change with any start"
    return [_advice(UNPINNED_CODE, message)]


def _repository(model: ModelSource) -> list[Finding]:
    if not model.uri.startswith(HF_SCHEME):
        if model.revision is None:
            return []
        message = f"model.revision has no effect on {model.uri.split(':')[0]}://: only hf:// has revisions"
        return [_advice(NO_EFFECT, message)]
    repository = model.uri.removeprefix(HF_SCHEME)
    if _REPOSITORY.fullmatch(repository):
        return []
    message = f"model.uri: {repository!r} is not ORGANISATION/REPOSITORY; a revision goes to model.revision"
    return [Finding(INVALID_SPEC, message)]


def _quantization(spec: ModelTierSpec, release: Profile, facts: Facts) -> list[Finding]:
    method, dtype = spec.quantization.method, spec.quantization.kv_cache_dtype
    found = []
    if method != "none" and method not in release.online_quantization | release.checkpoint_quantization:
        what = f"quantization.method {method}"
        found.append(missing(release.engine, release.release, what, release.removed.get(method)))
    if dtype not in release.kv_cache_dtypes:
        what = f"quantization.kvCacheDtype {dtype}"
        found.append(missing(release.engine, release.release, what, release.removed.get(dtype)))
    if method in METHODS and METHODS[method].experts_only and facts.model is None:
        message = f"quantization.method {method} quantizes only the experts of a mixture-of-experts model"
        found.append(_advice(EXPERTS_ONLY, message))
    real, few = _few_bits(method, facts.model)
    if few and _longest(spec, facts) >= LONG_CONTEXT:
        message = f"4-bit weights ({real}) can lose much quality at {LONG_CONTEXT} tokens and more: evaluate"
        found.append(_advice(FEW_BITS_LONG_CONTEXT, f"quantization.method: {message}"))
    if dtype.startswith("fp8"):
        message = f"quantization.kvCacheDtype {dtype}: without scales in the checkpoint answers may get worse: evaluate"
        found.append(_advice(UNCALIBRATED, message))
    return found


def _few_bits(said: str, shape: ModelShape | None) -> tuple[str, bool]:
    """The method in use, and whether its weights have 4 bits or fewer: a checkpoint may say how many."""
    name, method = method_in_use(said, shape.quantization if shape is not None else "")
    if shape is not None and shape.quantization and shape.weight_bits is not None:
        return name, shape.weight_bits <= 4
    return name, method is not None and method.four_bits


def _longest(spec: ModelTierSpec, facts: Facts) -> int:
    """The longest context that is served, 0 when nobody knows."""
    own = facts.model.default_context or facts.model.context_length if facts.model is not None else None
    return spec.context_length or own or 0


def _image(spec: ModelTierSpec) -> list[Finding]:
    """The API refuses this in new objects; one that was there before is served, with a word."""
    resources = spec.resources
    if spec.engine.image is not None or (resources.gpus > 0 and resources.resource_name.startswith("nvidia.com/")):
        return []
    what = f"with {resources.resource_name} name a build for it" if resources.gpus else "without GPUs name a CPU build"
    return [_advice(NEEDS_PACKAGE, f"the engine's own image is for NVIDIA GPUs: {what} in engine.image")]
