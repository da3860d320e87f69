"""Generates the table of what each engine release can use on each GPU: quantization, KV type, speculation.

docs/validity.md for people and docs/results/validity.json for programs, both made by asking `check` about a plain spec
of that one tactic on that one GPU: so the table is what the operator does, and cannot say anything else. The GPUs are
those that the clouds rent; their figures are what the node labels of the GPU operator tell.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines.check import check
from tierwise.engines.hardware import AMD, attention_backend, batch_limits, vendor
from tierwise.engines.profiles import Profile, profiles
from tierwise.engines.speculation import NEEDS_DRAFT_MODEL
from tierwise.gpus import GpuFacts, find
from tierwise.reasons import CONTRACT_CHANGES
from tierwise.types.capabilities import GPU, Facts
from tools.generated import Files, main

PAGE, DATA = Path("docs/validity.md"), Path("docs/results/validity.json")
ACCEPTED, WARNED, REFUSED = "accepted", "warned", "refused"
_SIGNS = {ACCEPTED: "yes", WARNED: "but", REFUSED: "no"}
_DRIVER = 580

_SHOWN = (
    "Tesla-T4",
    "NVIDIA-A10G",
    "NVIDIA-L4",
    "NVIDIA-L40S",
    "NVIDIA-A100-SXM4-40GB",
    "NVIDIA-A100-SXM4-80GB",
    "NVIDIA-H100-80GB-HBM3",
    "NVIDIA-H100-NVL",
    "NVIDIA-H200",
    "NVIDIA-B200",
    "NVIDIA-GB200",
    "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition",
    "AMD_Instinct_MI300X_OAM",
)


def _gpu(facts: GpuFacts) -> GPU:
    """As the node's labels say it. AMD's nodes have no label for a capability or a driver."""
    if facts.amd:
        return GPU(facts.product, None, facts.memory_mib)
    return GPU(facts.product, facts.capability, facts.memory_mib, _DRIVER)


GPUS: tuple[GPU, ...] = tuple(_gpu(find(product)) for product in _SHOWN)
_SHORT = {
    "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition": "RTX PRO 6000",
    "AMD_Instinct_MI300X_OAM": "MI300X",
    "NVIDIA-H100-80GB-HBM3": "H100",
    "NVIDIA-H100-NVL": "H100 NVL",
    "NVIDIA-A100-SXM4-40GB": "A100 40",
    "NVIDIA-A100-SXM4-80GB": "A100 80",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One tactic on one release and one GPU: what is said of it. `kind` is a field of the spec."""

    kind: str
    method: str
    release: str
    gpu: str
    verdict: str
    why: tuple[str, ...]
    spec: ModelTierSpec


def rows() -> tuple[Row, ...]:
    """Every tactic that any release has, on every release and GPU, in that order."""
    releases = profiles()
    quantization = sorted(
        {name for each in releases for name in each.online_quantization | each.checkpoint_quantization}
    )
    tactics = {
        "quantization.method": ["none", *quantization],
        "quantization.kvCacheDtype": sorted({name for each in releases for name in each.kv_cache_dtypes}),
        "speculation.method": sorted({name for each in releases for name in each.speculation}),
    }
    return tuple(
        _row(kind, method, release, gpu)
        for kind, methods in tactics.items()
        for method in methods
        for release in releases
        for gpu in GPUS
    )


def _row(kind: str, method: str, release: Profile, gpu: GPU) -> Row:
    spec = _spec(kind, method, release, gpu)
    found = check(spec, Facts(gpus=(gpu,)))
    fatal = [problem.message for problem in found if problem.fatal]
    # That drafting changes what requests may say holds for every row alike, and stands above the table.
    advice = [problem.message for problem in found if not problem.fatal and problem.reason != CONTRACT_CHANGES]
    verdict = REFUSED if fatal else WARNED if advice else ACCEPTED
    return Row(kind, method, release.release, gpu.product, verdict, tuple(fatal or advice), spec)


def _spec(kind: str, method: str, release: Profile, gpu: GPU) -> ModelTierSpec:
    written: dict[str, Any] = {
        "model": {"name": "chat", "uri": "hf://organisation/model"},
        "engine": {"version": f"{release.release}.0"},
    }
    if vendor(gpu) == AMD:
        written["engine"]["image"] = f"vllm/vllm-openai-rocm:v{release.release}.0"
        written["resources"] = {"resourceName": "amd.com/gpu"}
    if kind.startswith("quantization."):
        written["quantization"] = {kind.removeprefix("quantization."): method}
    else:
        draft = {"draftModel": "organisation/draft"} if method in NEEDS_DRAFT_MODEL else {}
        written["speculation"] = {"mode": "Enabled", "method": method, **draft}
    return ModelTierSpec.model_validate(written)


def files() -> Files:
    """The page and the data by their paths."""
    every = rows()
    return {PAGE: "\n".join(_page(every)) + "\n", DATA: _data(every)}


def _data(every: Iterable[Row]) -> str:
    listed = [
        {"field": row.kind, "value": row.method, "engine": "vllm", "release": row.release, "gpu": row.gpu}
        | {"verdict": row.verdict, "why": list(row.why)}
        for row in every
    ]
    lines = ",\n".join(f"{json.dumps(each, sort_keys=True, separators=(',', ':'))}" for each in listed)
    return f'{{"rows":[\n{lines}\n]}}\n'


def _page(every: tuple[Row, ...]) -> Iterator[str]:
    yield "<!-- Generated by `make docs`; edit controllers/tierwise/engines, not this page. -->"
    yield from ("", "# What runs where", "")
    yield "Each tactic alone, by release of vLLM, on a GPU with driver 580: **yes** accepted, **but** accepted with"
    yield "advice, **no** refused before a GPU is taken. The numbers lead to the reasons below. The model is unknown"
    yield "here: what depends on its sizes (memory, heads, vocabulary) is checked for each tier. Speculation makes the"
    yield "engine answer requests with `min_p` or `logit_bias` with HTTP 400, on every GPU. The words of every single"
    yield f"answer are in [{DATA.name}](results/{DATA.name})."
    notes: dict[str, int] = {}
    for kind in dict.fromkeys(row.kind for row in every):
        yield from ("", f"## `{kind}`", "")
        yield from _table([row for row in every if row.kind == kind], notes)
    yield from ("", "## Why", "")
    yield from (f"{number}. {why}" for why, number in notes.items())
    yield from _by_gpu()


def _table(chosen: list[Row], notes: dict[str, int]) -> Iterator[str]:
    names = [_SHORT.get(gpu.product, gpu.product.split("-")[-1]) for gpu in GPUS]
    yield f"| | release | {' | '.join(names)} |"
    yield "|---|---|" + "---|" * len(names)
    cells = {(row.method, row.release, row.gpu): _cell(row, notes) for row in chosen}
    for method in dict.fromkeys(row.method for row in chosen):
        lines: dict[str, list[str]] = {}
        for release in dict.fromkeys(row.release for row in chosen):
            lines.setdefault(" | ".join(cells[method, release, gpu.product] for gpu in GPUS), []).append(release)
        yield from (f"| `{method}` | {', '.join(releases)} | {line} |" for line, releases in lines.items())


def _cell(row: Row, notes: dict[str, int]) -> str:
    if not row.why:
        return _SIGNS[row.verdict]
    numbers = set()
    for message in row.why:
        # What a GPU has stands after the semicolon; here the column tells it, as the line tells the release.
        why = message.split(";")[0].replace(f"vllm {row.release}", "vllm")
        numbers.add(notes.setdefault(why, len(notes) + 1))
    return f"{_SIGNS[row.verdict]} {', '.join(map(str, sorted(numbers)))}"


def _by_gpu() -> Iterator[str]:
    newest = profiles()[-1]
    yield from ("", "## What the engine chooses by itself", "")
    yield "The attention backend of a model with heads of 128 elements, by KV type, and the batch limits that the"
    yield "engine would take were they not always written out (`batching`): a tier keeps its limits on every GPU."
    yield from ("", "| GPU | compute capability | cache as the model | fp8 | fp8_e5m2 | nvfp4 | tokens | sequences |")
    yield "|---|---|---|---|---|---|---|---|"
    for gpu in GPUS:
        limits = batch_limits(newest.hardware, gpu)
        if gpu.capability is None or limits is None:
            continue
        found = [attention_backend(newest.hardware, gpu.capability, dtype, 128) for dtype in _BACKEND_COLUMNS]
        backends = " | ".join(name or "none" for name in found)
        capability = f"{gpu.capability[0]}.{gpu.capability[1]}"
        yield f"| {gpu.product} | {capability} | {backends} | {limits.tokens} | {limits.sequences} |"


_BACKEND_COLUMNS = ("auto", "fp8", "fp8_e5m2", "nvfp4")

if __name__ == "__main__":
    sys.exit(main("python -m tools.validity_page", files()))
