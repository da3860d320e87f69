"""Checks that the demo's load is what its explanation says."""

from __future__ import annotations

from pathlib import Path

import pytest

from playground.demo import scenario
from tierwise.observe.route_object import route_object
from tierwise.observe.tier_object import tier_object
from tierwise_sim.workloads import AZURE_CONVERSATION, TraceError


def test_without_data_the_built_in_workload_is_taken_and_the_text_says_so() -> None:
    load = scenario.load({})
    assert "built-in" in load.source
    assert load.seconds == pytest.approx(scenario.TRACE_SECONDS / scenario.ARRIVALS_FASTER, rel=0.02)
    expected = scenario.TRACE_SECONDS * scenario.TRACE_RATE * scenario.KEPT
    assert load.requests == pytest.approx(expected, rel=0.1)
    text = scenario.explanation(load)
    assert "A classifier, trained on 400 made labels, chooses the tier by what is asked" in text
    assert "for at most 5 dollars an hour" in text
    for word in ("20 times faster than recorded", "2 times faster than the GPUs", "1 request in 10", "Simulated"):
        assert word in text


def test_the_route_and_the_tiers_are_what_the_kinds_allow() -> None:
    found = route_object(scenario.route() | {"metadata": {"name": scenario.ROUTE}})
    assert found.spec is not None, found.invalid
    assert [tier.use for tier in found.spec.tiers] == ["Always", "Always", "Overflow"]
    assert found.spec.reference_tier == "large"
    assert found.spec.policy.type == "Classifier"
    assert found.spec.policy.classifier is not None
    assert found.spec.policy.classifier.config_map_name == scenario.CLASSIFIER
    assert found.spec.quality is not None
    assert found.spec.quality.judge_tier == scenario.BOUGHT
    bought = tier_object(scenario.bought())
    assert bought.spec is not None, bought.invalid
    assert bought.spec.external is not None
    secret, service, deployment = scenario.provider()
    assert bought.spec.external.base_url == f"http://{service['metadata']['name']}.chat.svc.cluster.local/v1"
    assert bought.spec.external.api_key_secret_ref is not None
    assert bought.spec.external.api_key_secret_ref.key in secret["stringData"]
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]


def test_a_trace_is_read_thinned_and_compressed(tmp_path: Path) -> None:
    rows = [f"2023-11-16 18:{second // 60:02d}:{second % 60:02d}.0000000,{100 + second},10" for second in range(1000)]
    (tmp_path / AZURE_CONVERSATION).write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows, ""]))
    load = scenario.load({"TIERWISE_DATA": str(tmp_path)})
    assert "Azure LLM inference trace 2023" in load.source
    assert "built-in" not in load.source
    assert load.seconds <= 1000 / scenario.ARRIVALS_FASTER
    assert load.requests == pytest.approx(1000 * scenario.KEPT, rel=0.5)
    assert load == scenario.load({"TIERWISE_DATA": str(tmp_path)}), "the same folder gives the same requests"


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(TraceError, match="TIERWISE_DATA=/no/such/folder"):
        scenario.load({"TIERWISE_DATA": "/no/such/folder"})
