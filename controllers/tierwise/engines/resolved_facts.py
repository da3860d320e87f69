"""Combines the model's config.json with the sizes that the spec declares.

The file wins, because the engine reads the file and not the spec. What the spec declares fills in where there is no
file, or where the file is silent. A declared size that the file contradicts becomes advice, so that nobody relies on
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from tierwise.api.modeltier import Architecture, ModelTierSpec
from tierwise.engines import arg_values
from tierwise.engines.overrides import stretched_context
from tierwise.engines.profiles import profiles
from tierwise.types.capabilities import Facts, ModelShape

_SUFFIXES = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
# Field of ModelShape -> field of Architecture, where they mean the same.
_FIELDS: Mapping[str, str] = {
    "layers": "layers",
    "hidden_size": "hidden_size",
    "attention_heads": "attention_heads",
    "kv_heads": "key_value_heads",
    "head_dim": "head_dim",
    "vocabulary": "vocabulary_size",
    "context_length": "context_length",
    "latent_size": "latent_size",
}


def parameter_number(text: str) -> int:
    """A count of parameters as people write it: "8B" is 8,000,000,000. Raises ValueError for anything else."""
    factor = _SUFFIXES.get(text[-1:], 1)
    digits = text[:-1] if text[-1:] in _SUFFIXES else text
    if not digits.replace(".", "", 1).isdecimal():
        raise ValueError(f"{text!r} is no number of parameters; write for example 8B")
    return int(Decimal(digits) * factor)


def effective_facts(spec: ModelTierSpec, facts: Facts) -> Facts:
    """`facts` with the sizes that the spec declares where no file tells them.

    What neither tells stays unknown: KV heads and layers whose cache grows are often fewer than all, and a cache that
    is taken for larger than it is would refuse what the engine serves.
    Without a file the checkpoint counts as quantized the way the spec says: there is nothing to hold against it."""
    model, draft = facts.model, facts.draft
    declared = spec.model.architecture if spec.model is not None else None
    if declared is not None:
        model = _filled(model or ModelShape(quantization=_said(spec)), declared)
    rope = spec.model.overrides.rope if spec.model is not None and spec.model.overrides is not None else None
    if rope is not None and model is not None:
        model = replace(model, context_length=stretched_context(rope), default_context=None)
    sizes = spec.speculation.draft_architecture
    if sizes is not None:
        known = draft or ModelShape()
        draft = replace(
            known,
            parameters=known.parameters or _count(sizes.parameters),
            attention_heads=known.attention_heads or sizes.attention_heads,
            vocabulary=known.vocabulary or sizes.vocabulary_size,
        )
    return replace(facts, model=model, draft=draft)


def certainly_dense(spec: ModelTierSpec, shape: ModelShape) -> bool:
    """Whether the model is known to have no experts: a file was read, or the spec says so."""
    declared = spec.model.architecture if spec.model is not None else None
    return shape.experts == 0 and (bool(shape.model_type) or (declared is not None and declared.experts == 0))


def reads_params(spec: ModelTierSpec, shape: ModelShape) -> bool:
    """Whether the engine may take the context length from params.json instead of config.json, which nobody here reads.

    transformers_utils/config.py `get_config`: it does so in a repository that has Mistral's own files, unless the
    format is said. Which repositories have them cannot be known, only which may: Mistral's, and copies of them."""
    said = arg_values.value(spec.extra_args, "--config-format") or "auto"
    if said != "auto":
        return said == "mistral"
    own = spec.model is not None and spec.model.uri.startswith("hf://mistralai/")
    return own or shape.model_type.startswith(("ministral", "mistral", "mixtral", "pixtral", "voxtral"))


def known_context(spec: ModelTierSpec, shape: ModelShape | None) -> tuple[int | None, int | None]:
    """The fewest and the most tokens that the engine may take as the longest context; None: nobody knows."""
    if spec.context_length is not None:
        return spec.context_length, spec.context_length
    if shape is None or reads_params(spec, shape):
        return None, None
    return shape.default_context or shape.context_length, shape.context_length


def contradictions(spec: ModelTierSpec, facts: Facts) -> tuple[tuple[str, int, int], ...]:
    """Declared sizes that the file contradicts: (field, declared, what the file says), in the order of the fields."""
    declared = spec.model.architecture if spec.model is not None else None
    if declared is None or facts.model is None:
        return ()
    found = []
    for ours, theirs in _FIELDS.items():
        said, read = getattr(declared, theirs), getattr(facts.model, ours)
        if said is not None and read is not None and said != read:
            found.append((f"model.architecture.{Architecture.model_fields[theirs].alias or theirs}", said, read))
    return tuple(found)


def _filled(known: ModelShape, declared: Architecture) -> ModelShape:
    sizes = {ours: getattr(known, ours) or getattr(declared, theirs) for ours, theirs in _FIELDS.items()}
    heads, hidden, full = sizes["attention_heads"], sizes["hidden_size"], known.attention_layers
    return replace(
        known,
        **sizes | {"head_dim": sizes["head_dim"] or (hidden // heads or None if heads and hidden else None)},
        attention_layers=declared.full_attention_layers if full is None else full,
        window_layers=0 if known.window_layers is None else known.window_layers,
        parameters=known.parameters or _count(declared.parameters),
        experts=known.experts or declared.experts or 0,
    )


def _count(text: str | None) -> int | None:
    return parameter_number(text) or None if text is not None else None


def _said(spec: ModelTierSpec) -> str:
    """What the checkpoint is, going by the spec alone."""
    method = spec.quantization.method
    return method if any(method in release.checkpoint_quantization for release in profiles()) else ""
