"""Can this release of the engine serve what the spec asks for, and does it pay?

Fatal findings are what the engine would refuse after minutes of loading; they are found here in microseconds. What
only fails to pay, or silently does nothing, is a warning: the user may know better.
"""

from __future__ import annotations

import re
from itertools import pairwise

from tierwise.api.v1alpha1 import ModelSource, ModelTierSpec, Speculation
from tierwise.engines.extra import check_extra
from tierwise.engines.problem import Problem
from tierwise.engines.profiles import Profile, profile
from tierwise.engines.speculation import NEEDS_DRAFT_MODEL, TAKES_DRAFT_MODEL
from tierwise.engines.words import check_words
from tierwise.facts import UNKNOWN, Facts
from tierwise.reasons import INVALID_SPEC, UNSUPPORTED, VALID

HF_SCHEME = "hf://"
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_EXPERTS_ONLY = frozenset({"int8_per_channel_weight_only", "nvfp4_per_token"})
_FOUR_BIT = frozenset({"mxfp4", "nvfp4_per_token", "awq", "gptq", "modelopt_fp4"})
LONG_CONTEXT = 65536


def check(spec: ModelTierSpec, facts: Facts = UNKNOWN) -> tuple[Problem, ...]:
    """Everything that is wrong or doubtful about a spec, fatal findings first; () for an external tier. What `facts`
    does not tell refuses nothing.

    Raises tierwise.errors.Unsupported when the engine's release is not known at all."""
    if spec.model is None:
        return ()
    release = profile(spec.engine)
    found = [
        *check_words(spec, spec.model),
        *_model(spec.model),
        *_quantization(spec, release),
        *_speculation(spec, release),
        *check_extra(tuple(spec.extra_args), release),
    ]
    return tuple(sorted(found, key=lambda problem: not problem.fatal))


def _advice(message: str) -> Problem:
    return Problem(VALID, message, fatal=False)


def _model(model: ModelSource) -> list[Problem]:
    if not model.uri.startswith(HF_SCHEME):
        if model.revision is None:
            return []
        return [_advice(f"model.revision has no effect on {model.uri.split(':')[0]}://: only hf:// has revisions")]
    repository = model.uri.removeprefix(HF_SCHEME)
    if _REPOSITORY.fullmatch(repository):
        return []
    return [
        Problem(
            INVALID_SPEC, f"model.uri: {repository!r} is not ORGANISATION/REPOSITORY; a revision goes to model.revision"
        )
    ]


def _quantization(spec: ModelTierSpec, release: Profile) -> list[Problem]:
    method, dtype = spec.quantization.method, spec.quantization.kv_cache_dtype
    found = []
    if method != "none" and method not in release.online_quantization | release.checkpoint_quantization:
        found.append(_missing(release, f"quantization.method {method}", method))
    if dtype not in release.kv_cache_dtypes:
        found.append(_missing(release, f"quantization.kvCacheDtype {dtype}", dtype))
    if method in _EXPERTS_ONLY:
        found.append(_advice(f"quantization.method {method} quantizes only the experts of a mixture-of-experts model"))
    if method in _FOUR_BIT and (spec.context_length or 0) >= LONG_CONTEXT:
        found.append(
            _advice(f"4-bit weights ({method}) can lose much quality at {LONG_CONTEXT} tokens and more: evaluate")
        )
    return found


def _missing(release: Profile, what: str, name: str) -> Problem:
    remedy = release.removed.get(name)
    return Problem(
        UNSUPPORTED, f"{release.engine} {release.release} does not have {what}" + (f": {remedy}" if remedy else "")
    )


def _speculation(spec: ModelTierSpec, release: Profile) -> list[Problem]:
    speculation = spec.speculation
    if speculation.mode == "Disabled" or speculation.method is None:
        return []
    method = speculation.method
    found = []
    if method not in release.speculation:
        found.append(_missing(release, f"speculation.method {method}", method))
    if method in NEEDS_DRAFT_MODEL and speculation.draft_model is None:
        found.append(Problem(INVALID_SPEC, f"speculation.draftModel is required for the method {method}"))
    if method not in TAKES_DRAFT_MODEL and speculation.draft_model is not None:
        found.append(_advice(f"speculation.draftModel has no effect with the method {method}"))
    if method == "suffix":
        found.extend(_suffix(spec))
    return found + _schedule(speculation, spec.batching.max_sequences)


def _suffix(spec: ModelTierSpec) -> list[Problem]:
    found = []
    if spec.engine.image is None:
        found.append(_advice("speculation.method suffix needs an engine.image with the package arctic-inference"))
    if spec.speculation.mode == "Auto" or spec.speculation.schedule:
        found.append(_advice("the engine ignores a schedule with speculation.method suffix: it always drafts"))
    return found


def _schedule(speculation: Speculation, max_sequences: int) -> list[Problem]:
    steps = speculation.schedule or []
    starts = [step.from_batch for step in steps]
    found = []
    if starts and (starts[0] != 1 or any(after <= before for before, after in pairwise(starts))):
        found.append(
            Problem(INVALID_SPEC, "speculation.schedule: fromBatch must begin at 1 and grow from step to step")
        )
    if steps and not any(step.tokens for step in steps):
        found.append(Problem(INVALID_SPEC, "speculation.schedule never drafts a token: use mode Disabled"))
    if starts and starts[-1] > max_sequences:
        found.append(_advice(f"speculation.schedule has a step from batch {starts[-1]}, above batching.maxSequences"))
    return found
