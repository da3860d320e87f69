"""Checks that each row of the bill is made by other manifests, and that they are ones the operator accepts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import pytest

from tierwise_sim.capacity import Workload
from tierwise_sim.replay.manifests import Assumed, read
from tierwise_sim.replay.scaler import Order, World
from tierwise_sim.replay.scenario import ServedTier
from tierwise_sim.traces import transform
from tools.bill import drafting, fleets, page, parts, picture, sizing
from tools.bill.__main__ import made
from tools.bill.fleets import API, H100, L40S, LARGE, LARGE_MODEL, SMALL, Fleet, Served, Step
from tools.bill.procedure import Procedure, described, judged, scaler_of, shrunk
from tools.bill.run import Counted, Held, Load, TierCount, tiers_of
from tools.bill.shares import shares

QUANTIZED = Served(LARGE, LARGE_MODEL, H100, 2, quantized=True)
DRAFTING = replace(QUANTIZED, drafts=(Step(1, 3), Step(64, 0)))
SHARES = {
    "rows": [
        {"benchmark": name, "split": "random", "contender": "tierwise", "large_share": share}
        for name, share in (("MMLU, 29 subjects", 51.0), ("GSM8K, labels repaired", 68.0))
    ],
    "promise": [{"split": "random", "labels": 1000, "method": "promised", "share": 65.0}],
}


def spec(fleet: Fleet, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(each for each in fleet.documents() if each["metadata"]["name"] == name)["spec"]
    return found


def test_one_tactic_is_one_difference_in_what_is_applied() -> None:
    plain = spec(Fleet((QUANTIZED,)), LARGE)
    changed = {
        "caching": replace(QUANTIZED, prefix_cache=True),
        "speculation": DRAFTING,
        "quantization": replace(QUANTIZED, quantized=False),
        "replicas": replace(QUANTIZED, replicas=3),
        "batching": replace(QUANTIZED, sequences=64),
    }
    for field, served in changed.items():
        other = spec(Fleet((served,)), LARGE)
        assert {key for key in {*plain, *other} if plain.get(key) != other.get(key)} == {field}


def test_the_reference_has_none_of_the_tactics() -> None:
    tier = spec(fleets.reference(128, None), LARGE)
    assert (tier["quantization"], tier["caching"]) == ({"method": "none"}, {"prefix": "Disabled"})
    assert "speculation" not in tier
    assert "policy" not in spec(fleets.reference(128, None), "chat")


def test_the_engines_that_start_are_those_of_the_rows() -> None:
    fleet = Fleet((fleets.small(64, None), DRAFTING), api=Decimal(5))
    found = read(fleet.documents(), Assumed())
    small, large, hosted = found.tiers
    assert isinstance(small, ServedTier)
    assert isinstance(large, ServedTier)
    assert (small.gpu, small.settings.tensor_parallel, small.settings.prefix_caching) == (L40S, 1, True)
    assert (large.gpu, large.settings.tensor_parallel, large.settings.prefix_caching) == (H100, 2, False)
    assert large.settings.precision.name == "fp8"
    assert large.settings.kv_element_bytes == 1.0
    assert large.settings.speculation is not None
    assert large.settings.speculation.tokens_at(64) == 0
    assert hosted.name == API
    assert found.route.tiers[2].use == "Overflow"
    assert found.route.policy.type == "Classifier"
    assert found.route.reference_tier == LARGE


def test_prices_are_list_prices_that_say_so() -> None:
    assert str(fleets.price(H100).usd) == "6.88"
    assert str(fleets.price(L40S).usd) == "1.861"
    assert "assumed: AWS us-east-1" in fleets.price(H100).assumed


def test_smaller_batches_change_every_tier_and_nothing_else() -> None:
    fleet = Fleet((fleets.small(128, None), DRAFTING))
    halved = shrunk(fleet, 0.5)
    assert [tier.sequences for tier in halved.tiers] == [64, 64]
    assert replace(halved, tiers=fleet.tiers) == fleet
    assert described(fleet) == "Llama-3.1-70B-Instruct fp8 on 2 H100 + Llama-3.1-8B-Instruct fp8 on 1 L40S"
    assert scaler_of(fleet, "tierwise") == "tierwise"
    assert scaler_of(fleets.reference(1, 8), "tierwise") == "static"


def test_drafting_takes_time_and_no_drafts_take_none() -> None:
    (tier,) = tiers_of(Fleet((DRAFTING,)))
    assert isinstance(tier, ServedTier)
    settings = tier.settings
    one, three = (drafting.draft_seconds(settings, 8, tokens) for tokens in (1, 3))
    assert 0 < one < 0.005
    assert three == pytest.approx(3 * one)
    assert drafting.draft_seconds(settings, 8, 0) == drafting.draft_seconds(settings, 0, 3) == 0
    assert drafting.draft_seconds(replace(settings, speculation=None), 8, 3) == 0


def test_a_larger_batch_is_never_allowed_than_the_target_allows() -> None:
    mean = Workload(1155, 211)
    loose, tight = (sizing.sequences(QUANTIZED, mean, target) for target in (0.2, 0.05))
    assert tight < loose
    assert sizing.rate(replace(QUANTIZED, sequences=tight), mean) > 0


class Remembered:
    """A simulation that keeps what it was asked, and says that all is well from a given fleet on."""

    def __init__(self) -> None:
        self.asked: dict[str, tuple[str, float | None, str]] = {}

    def __call__(
        self, fleet: Fleet, load: Load, share: float | None, initial: Mapping[str, int], autoscaler: str, what: str
    ) -> Counted:
        self.asked.setdefault(what, (json.dumps(fleet.documents()), share, autoscaler))
        large = TierCount(Decimal(10), 3600.0, 1.0, 100, 100, 100)
        names = [tier.name for tier in fleet.tiers] + ([API] if fleet.api is not None else [])
        return Counted(1800.0, 100, 100, 100, 100, 100, dict.fromkeys(names, large), None, None, {LARGE: "fitted"})


def test_every_row_is_run_with_manifests_a_share_or_a_scaler_of_its_own() -> None:
    trace, folder = parts.read({})
    assert folder is None
    simulated = Remembered()
    chosen, rows = Procedure(transform.scale(trace, 0.02), shares(SHARES), simulated).main()
    asked = [simulated.asked[row.title] for row in rows]
    assert len(set(asked)) == len(rows) == 10
    by_key = dict(zip((row.key for row in rows), asked, strict=True))
    assert by_key["keda"][2] == f"keda-epp:running={chosen.threshold}"
    assert by_key["routing"][1] == by_key["autoscaling"][1] == 51.0
    assert (by_key["promised"][1], by_key["gsm8k"][1]) == (65.0, 68.0)
    assert '"replicas"' in by_key["routing"][0]
    assert '"replicas"' not in by_key["autoscaling"][0]
    assert API in by_key["spill"][0]
    assert API not in by_key["autoscaling"][0]
    assert rows[0].replicas == {LARGE: 1.0}
    assert chosen.smaller == 1.0
    assert SMALL in by_key["routing"][0]
    assert SMALL not in by_key["speculation"][0]


def test_a_whole_bill_can_be_written_and_read() -> None:
    trace, _ = parts.read({})
    bill = made(Procedure(transform.scale(trace, 0.02), shares(SHARES), Remembered()), None)
    again = json.loads(json.dumps(bill))
    assert [row["key"] for row in again["rows"]][:2] == ["static", "keda"]
    assert again["about"]["trace"].startswith("a synthetic conversation")
    assert "not known" in again["about"]["quality"], "nobody knows which request is hard"
    assert again["missed"], "every row cost as much as the others here"
    text = page.page(again)
    assert "Not run: the trace with prefixes" in text
    for kind in again["break_even"]["kinds"].values():
        assert f"{kind['requests']:,.0f}" in text
    assert picture.svg(again).count("<rect") == len(again["rows"])


class Wishes:
    """A scaler that wants one replica, whatever there is."""

    period_seconds = 15.0
    instant = False
    wakes_at_once = True

    def orders(self, world: World, now: float) -> Sequence[Order]:
        return [Order(LARGE, 1, limited_by="Window"), Order(SMALL, 9)]


def test_nothing_is_removed_before_the_part_that_is_judged() -> None:
    held = Held(Wishes(), {LARGE: 4, SMALL: 2}, 240.0)
    world = cast("World", None)
    assert [order.replicas for order in held.orders(world, 239.9)] == [4, 9]
    assert held.orders(world, 240.0) == Wishes().orders(world, 240.0)
    assert (held.period_seconds, held.instant, held.wakes_at_once) == (15.0, False, True)


def test_ours_is_told_what_all_are_judged_by_and_nothing_else_changes() -> None:
    fleet = Fleet((fleets.small(128, None), DRAFTING))
    for name in (SMALL, LARGE):
        before, after = spec(fleet, name), spec(judged(fleet), name)
        told = after["scaling"].pop("targets")
        assert (told["ttft"]["milliseconds"], told["interToken"]["milliseconds"]) == (2500, 100)
        assert before == after
