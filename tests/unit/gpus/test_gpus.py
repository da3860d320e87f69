"""Every row of the table of GPUs, and of prices: it is complete, it is sane, and it says where it is from."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import date
from decimal import Decimal

import pytest

from playground.nodes import H100, L4
from tierwise.gpus import FACTS, PRICES, GpuFacts, Price, UnknownGpu, find, prices_of
from tierwise.gpus.prices import ON_DEMAND, SPOT
from tierwise_sim.hardware import GPUS
from tools.gpus_page import PAGE, files
from tools.settled_cluster import GPUS as SETTLED

BY_PRODUCT = {each.product: each for each in FACTS}


@pytest.mark.parametrize("facts", FACTS, ids=lambda facts: facts.product)
def test_a_row_of_facts(facts: GpuFacts) -> None:
    assert 4_096 <= facts.memory_mib <= 400_000
    assert 100 <= facts.bandwidth <= 10_000
    assert 50 <= facts.bf16 <= 5_000
    assert 16 <= facts.link <= 1_000
    assert 50 <= facts.watts <= 1_500
    assert facts.fabric is (facts.link > 64), "PCIe has at most 64 GB/s in a direction, a fabric more"
    for narrow, wide in ((facts.fp8, facts.bf16), (facts.fp4, facts.fp8)):
        assert narrow == 0 or 1.9 * wide <= narrow <= 2.1 * wide, "half the bits, twice the rate: dense, both of them"
    assert bool(facts.fp8) is (facts.amd or facts.capability >= (8, 9))
    assert bool(facts.fp4) is (not facts.amd and facts.capability >= (10, 0))
    assert re.search(r"systems/\w+\.yaml|data sheet|AWS", facts.source)
    assert "nvidia-smi" in facts.source or "rocm-smi" in facts.source
    assert " " not in "".join((facts.product, *facts.names)), "a node label has no spaces"


@pytest.mark.parametrize("price", PRICES, ids=lambda price: f"{price.product}-{price.provider}-{price.terms}")
def test_a_row_of_prices(price: Price) -> None:
    assert price.product in BY_PRODUCT
    assert Decimal("0.1") < price.usd < 20
    assert price.terms in (ON_DEMAND, SPOT)
    assert re.search(r"^[\w-]+/[\w-]+ @[0-9a-f]{7,}, \S+$", price.source), "repository, commit and file"
    if price.date:
        assert date.fromisoformat(price.date) >= date(2026, 1, 1)
    for said in ("assumed", price.provider, price.terms, price.date or "undated", str(price.usd)):
        assert said in price.assumed
    if price.terms == SPOT:
        (regular,) = (
            each
            for each in PRICES
            if (each.product, each.provider, each.terms) == (price.product, price.provider, ON_DEMAND)
        )
        assert price.usd < regular.usd


def test_no_row_stands_twice() -> None:
    names = [name.lower() for facts in FACTS for name in (facts.product, *facts.names)]
    assert len(set(names)) == len(names)
    rows = [(each.product, each.provider, each.instance, each.terms) for each in PRICES]
    assert len(set(rows)) == len(rows)


def test_every_name_is_found_with_and_without_the_maker_and_what_is_shared() -> None:
    for facts in FACTS:
        for name in (facts.product, *facts.names):
            for said in (name, name.lower(), f"{name}-SHARED", f"{name}-MIG-1g.10gb"):
                assert find(said) is facts
    assert find("L40S") is BY_PRODUCT["NVIDIA-L40S"]


def test_what_is_not_known_is_said_with_what_is() -> None:
    with pytest.raises(UnknownGpu, match="no facts of GPU 'TPU-v5'; known: AMD_Instinct"):
        find("TPU-v5")


def test_prices_of_one_product_the_cheapest_first_and_those_that_stay_before_spot() -> None:
    found = prices_of("NVIDIA-H100-80GB-HBM3")
    assert [str(each.usd) for each in found] == ["2.95", "6.88", "11.06", "12.29", "1.25", "6.33"]
    assert found[0].assumed == "$2.95 per GPU-hour (assumed: Nebius, on demand, undated)"
    assert prices_of("Tesla-T4") == ()


def test_the_simulated_engine_has_the_same_figures() -> None:
    assert [gpu.product for gpu in GPUS] == [facts.product for facts in FACTS]
    for gpu, facts in zip(GPUS, FACTS, strict=True):
        for each in fields(gpu):
            assert getattr(gpu, each.name) == getattr(facts, each.name), (gpu.product, each.name)


def test_the_playground_and_the_benchmarks_have_nodes_as_the_table_says() -> None:
    for node in (L4, H100):
        facts = find(node.product)
        assert (node.memory_mib, node.compute) == (facts.memory_mib, facts.capability)
    for product, memory, (major, minor) in SETTLED:
        facts = find(product)
        assert (int(memory), int(major), int(minor)) == (facts.memory_mib, *facts.capability)


def test_the_page_has_every_row_and_marks_what_is_assumed_and_uncertain() -> None:
    page = files()[PAGE]
    for facts in FACTS:
        assert f"| `{facts.product}`" in page
        assert facts.source in page
        assert facts.doubt in page
    for price in PRICES:
        assert f"| `{price.product}` | {price.usd} | {price.provider} |" in page
    assert "says so: assumed" in page
