"""Says what a bill stands on, and where its tiers do not pay: everything in it that is not a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tierwise_sim.capacity import Workload
from tierwise_sim.replay.scenario import DEFAULT_TARGETS
from tierwise_sim.traces.arrival import Trace
from tools.bill import break_even, fleets, parts, sizing
from tools.bill.break_even import Api, Kind
from tools.bill.fleets import API_MODEL, API_PRICES, H100, L40S, Served
from tools.bill.procedure import SMALLER, Chosen
from tools.bill.rows import Row
from tools.bill.run import ACCEPTANCE
from tools.bill.shares import Shares

COMMAND = "make bill"
APIS = (
    Api(API_MODEL, API_PRICES["input"], API_PRICES["output"]),
    Api("gpt-4.1-mini", "0.40", "1.60"),
    Api("gpt-4.1-nano", "0.10", "0.40"),
    Api("an API that is cheaper still", "0.05", "0.20"),
)
QUALITY = (
    "right answers in percent of the large model's alone, by Mixtral-8x7B's and GPT-4's published answers to "
    "MMLU, which "
    "stand for the small and the large model, scored by the project's classifier out of fold."
)
NO_QUALITY = "not known: TIERWISE_DATA names no folder with questions, so which request is hard is drawn."
NO_PREFIXES = (
    "The trace has no hashes of prompts, so the prefix cache earns nothing in it (docs/bill.md has another trace)."
)
NOTES = (
    (
        "No GPU ran. Step times are sums of measured kernels and fitted overheads; docs/fidelity.md says how far "
        "they are off."
    ),
    (
        "The models that the questions were asked are not the models that are priced: Mixtral-8x7B and GPT-4 are as "
        "far apart "
        "as their answers are, which is not how far Llama-3.1-8B and 70B are. Your labels decide (`tierwise label`)."
    ),
    "fp8 is counted as if it answered as well as bf16. Whether it does is for your own evaluation.",
    "An answer has the same length whichever tier gives it. Where the small model says more, it earns less.",
    "Requests and questions are drawn together at random: nothing says that hard questions have long prompts.",
    (
        "The acceptance of drafts is declared. Its reports are for chat; other text has another. The draft model's "
        "passes are "
        "counted from the data sheet."
    ),
    (
        "List prices are nobody's prices: docs/gpus.md has those of four providers, between which an H100 differs by "
        "four times."
    ),
    "What spills is answered by an API at list price, counted as good as the large model.",
    (
        "The promise of 95 % with 90 % confidence is the mean share of 400 draws of 1,000 labels from MMLU; none was "
        "made for "
        "GSM8K, which has 1,319 questions."
    ),
    "Network, idle nodes, storage, the routers and people are in no row.",
)


def about(trace: Trace, published: bool, questions: bool, chosen: Chosen, rows: Sequence[Row]) -> dict[str, Any]:
    """What the table stands on."""
    judged = parts.judged(trace)
    duration = judged.trace.duration - judged.begin
    count = sum(1 for each in judged.trace.arrivals if each.at >= judged.begin)
    return {
        "command": COMMAND,
        "trace": "azure-llm-2023-conv" if published else "a synthetic conversation (TIERWISE_DATA names no trace)",
        "published": published,
        "scale": chosen.scale,
        "minutes": round(duration / 60, 1),
        "requests": round(count * chosen.scale),
        "ttft": DEFAULT_TARGETS.ttft,
        "inter_token": DEFAULT_TARGETS.inter_token,
        "acceptance": ACCEPTANCE,
        "quality": QUALITY if questions else NO_QUALITY,
        "prefix": NO_PREFIXES,
        "steps": ", ".join(sorted({row.steps for row in rows})),
        "prices": {"H100": fleets.price(H100).assumed, "L40S": fleets.price(L40S).assumed},
    }


def where_not(
    trace: Trace, tiers: Sequence[Served], shares: Shares, chosen: Chosen, rows: Sequence[Row]
) -> dict[str, Any]:
    """The break-evens. `tiers`: the large tier with every tactic, and the small one, as `Procedure.tiers` gives
    them."""
    mean = sizing.workload(parts.chosen_on(trace).trace)
    factor = chosen.smaller or SMALLER[-1]
    large, small = (_kind(tier, factor, mean) for tier in tiers)
    share = shares.average / 100
    judged = parts.judged(trace)
    hourly = sum(1 for each in judged.trace.arrivals if each.at >= judged.begin) / (
        (judged.trace.duration - judged.begin) / 3600
    )
    prompt, answer = round(mean.prompt_tokens), round(mean.output_tokens)
    together = next(row for row in rows if row.key == "autoscaling")
    return {
        "kinds": {
            "large (70B fp8 with drafts, 2 H100)": _shown(large),
            "small (8B fp8, 1 L40S)": _shown(small),
        },
        "routing": break_even.routing_pays_from(large, small, share),
        "shares": [
            {"requests": round(requests), "percent": break_even.share_where_routing_ends(large, small, requests)}
            for requests in (hourly, hourly * chosen.scale)
        ],
        "apis": [
            {
                "name": api.name,
                "input": api.input,
                "output": api.output,
                "large": break_even.api_pays_below(large, api, prompt, answer),
                "small": break_even.api_pays_below(small, api, prompt, answer),
            }
            for api in APIS
        ],
        "blended": round(break_even.blended_price(together.dollars_per_hour, hourly * chosen.scale, prompt, answer), 4),
    }


def _kind(tier: Served, factor: float, mean: Workload) -> Kind:
    smaller = replace(tier, sequences=max(1, round(tier.sequences * factor)))
    return Kind(float(fleets.price(tier.gpu).usd) * tier.gpus, sizing.rate(smaller, mean) * 3600)


def _shown(kind: Kind) -> Mapping[str, float]:
    return {"dollars": round(kind.dollars, 2), "requests": round(kind.requests)}
