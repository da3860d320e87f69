"""Checks whether the engine can draft as the spec asks, and what that costs.

Rules of vLLM's config/speculative.py (`verify_equal_vocab_size_if_draft_model`, the multiples of n_predict, the model
types that have layers for multi-token prediction) and config/vllm.py (`_maybe_disable_dynamic_sd_for_v1`); of
sampling_params.py what requests may no longer say.
"""

from __future__ import annotations

from itertools import pairwise

from tierwise.api.modeltier import ModelTierSpec, Speculation
from tierwise.engines.finding import Finding, missing
from tierwise.engines.profiles import Profile
from tierwise.engines.speculation import NEEDS_DRAFT_MODEL, most_tokens
from tierwise.reasons import CONTRACT_CHANGES, DRAFT_UNFIT, INVALID_SPEC, NEEDS_PACKAGE, NO_EFFECT
from tierwise.types.capabilities import Facts

# Model types without any layer for multi-token prediction: none of them is named in the engine's speculative.py.
NEVER_MTP = frozenset(
    {"falcon", "gemma", "gemma2", "gpt2", "gpt_neox", "gpt_oss", "llama", "mistral", "mixtral", "olmo2", "opt", "phi3"}
    | {"qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "starcoder2"}
)


def check_drafts(spec: ModelTierSpec, release: Profile, facts: Facts) -> list[Finding]:
    """What is wrong or doubtful about drafting; nothing when it is off. `facts` are effective ones."""
    speculation = spec.speculation
    if speculation.mode == "Disabled" or speculation.method is None:
        return []
    method = speculation.method
    found = []
    if method not in release.speculation:
        found.append(
            missing(release.engine, release.release, f"speculation.method {method}", release.removed.get(method))
        )
    if method in NEEDS_DRAFT_MODEL and speculation.draft_model is None:
        found.append(Finding(INVALID_SPEC, f"speculation.draftModel is required for the method {method}"))
    if method not in NEEDS_DRAFT_MODEL and speculation.draft_model is not None:
        found.append(_advice(NO_EFFECT, f"speculation.draftModel has no effect with the method {method}"))
    if method == "suffix":
        found.extend(_suffix(spec))
    found.extend(_schedule(speculation, spec.batching.max_sequences))
    found.extend(_multi_token(spec, facts))
    found.extend(_draft(spec, facts))
    refused = " and ".join(release.speculation_refuses)
    message = f"speculation.mode {speculation.mode}: requests with {refused} are answered with HTTP 400"
    return [*found, _advice(CONTRACT_CHANGES, message)]


def _advice(reason: str, message: str) -> Finding:
    return Finding(reason, message, fatal=False)


def _suffix(spec: ModelTierSpec) -> list[Finding]:
    message = "speculation.method suffix needs an engine.image with the package arctic-inference"
    if spec.engine.image is not None:
        message = "speculation.method suffix needs the package arctic-inference: make sure that engine.image has it"
    found = [_advice(NEEDS_PACKAGE, message)]
    if spec.speculation.mode == "Auto" or spec.speculation.schedule:
        message = "the engine ignores a schedule with speculation.method suffix: it always drafts"
        found.append(_advice(NO_EFFECT, message))
    return found


def _schedule(speculation: Speculation, max_sequences: int) -> list[Finding]:
    steps = speculation.schedule or []
    starts = [step.from_batch for step in steps]
    found = []
    if starts and (starts[0] != 1 or any(after <= before for before, after in pairwise(starts))):
        message = "speculation.schedule: fromBatch must begin at 1 and grow from step to step"
        found.append(Finding(INVALID_SPEC, message))
    if steps and not any(step.tokens for step in steps):
        found.append(Finding(INVALID_SPEC, "speculation.schedule never drafts a token: use mode Disabled"))
    if starts and starts[-1] > max_sequences:
        message = f"speculation.schedule has a step from batch {starts[-1]}, above batching.maxSequences"
        found.append(_advice(NO_EFFECT, message))
    return found


def _multi_token(spec: ModelTierSpec, facts: Facts) -> list[Finding]:
    shape = facts.model
    if spec.speculation.method != "mtp" or shape is None:
        return []
    if shape.model_type in NEVER_MTP:
        message = f"speculation.method mtp: {shape.model_type} models have no layers for it; use eagle3 or ngram"
        return [Finding(DRAFT_UNFIT, message)]
    if shape.model_type == "deepseek_v41":
        return [Finding(DRAFT_UNFIT, "speculation.method mtp: deepseek_v41 models cannot draft that way; use ngram")]
    tokens, layers = most_tokens(spec.speculation, spec.batching.max_sequences), shape.draft_layers
    if layers is not None and tokens > layers and tokens % layers:
        message = f"speculation.tokens {tokens} must be a multiple of the {layers} layers that the model drafts with"
        return [Finding(DRAFT_UNFIT, message)]
    return []


def _draft(spec: ModelTierSpec, facts: Facts) -> list[Finding]:
    draft, model, method = facts.draft, facts.model, spec.speculation.method
    if draft is None or method not in NEEDS_DRAFT_MODEL:
        return []
    found = []
    theirs = model.vocabulary if model is not None else None
    if method == "draft_model" and theirs is not None and draft.vocabulary not in (None, theirs):
        message = (
            f"speculation.draftModel has a vocabulary of {draft.vocabulary:,} tokens and the model one of {theirs:,}: "
            "use a draft of the same family"
        )
        found.append(Finding(DRAFT_UNFIT, message))
    heads, tensor = draft.attention_heads, spec.parallelism.tensor
    if method in ("draft_model", "eagle", "eagle3") and heads is not None and heads % tensor:
        message = f"parallelism.tensor {tensor} does not divide the {heads} attention heads of speculation.draftModel"
        found.append(Finding(DRAFT_UNFIT, message))
    return found
