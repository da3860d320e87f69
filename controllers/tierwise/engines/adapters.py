"""Renders the engine's arguments for LoRA adapters.

The engine downloads an adapter by its repository's name, but knows no revision, and goes on with a word in its log when
that fails. So an adapter with a revision is fetched before the engine starts, by an init container, and found in a
folder like one of a claim.
"""

from __future__ import annotations

from tierwise.api.model_source import Adapter, ModelSource

ADAPTERS = "/mnt/adapters"
MOST_SLOTS = 8  # each takes memory of the GPU, whether it is used or not
_HUB = "hf://"
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what --max-lora-rank takes, in 0.30 to 0.33


def fetched(model: ModelSource) -> tuple[Adapter, ...]:
    """The adapters that an init container fetches."""
    return tuple(each for each in model.adapters if each.uri.startswith(_HUB) and each.revision is not None)


def folder(model: ModelSource, adapter: Adapter) -> str:
    """Where an adapter is that the engine does not download itself: by its place, since names may have slashes."""
    return f"{ADAPTERS}/{model.adapters.index(adapter)}"


def adapter_arguments(model: ModelSource) -> list[str]:
    """The arguments; none without adapters."""
    if not model.adapters:
        return []
    highest, number = max(each.rank for each in model.adapters), len(model.adapters)
    slots = min(model.adapter_slots or MOST_SLOTS, number)
    return [
        "--enable-lora",
        f"--max-lora-rank={min(rank for rank in _RANKS if rank >= highest)}",
        f"--max-loras={slots}",
        f"--max-cpu-loras={number}",
        "--lora-modules",
        *(f"{each.name}={_source(model, each)}" for each in model.adapters),
    ]


def _source(model: ModelSource, adapter: Adapter) -> str:
    if adapter.uri.startswith(_HUB) and adapter.revision is None:
        return adapter.uri.removeprefix(_HUB)
    return folder(model, adapter)
