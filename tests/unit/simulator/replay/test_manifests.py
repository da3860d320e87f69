"""Checks that a simulation reads what is applied, starts the engine that would start, and refuses what would be."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.simulator.replay.make import hosted, manifests, route, tier
from tierwise.errors import Invalid
from tierwise_sim.replay.manifests import Assumed, read
from tierwise_sim.replay.scenario import ExternalTier, ServedTier
from tierwise_sim.replay.what_if import change_of, variants


def served(found: object) -> ServedTier:
    assert isinstance(found, ServedTier)
    return found


def test_the_engine_is_the_one_that_the_operator_would_start() -> None:
    body = tier()
    body["spec"]["speculation"] = {"mode": "Enabled", "method": "ngram", "tokens": 3}
    body["spec"]["quantization"] = {"method": "awq", "kvCacheDtype": "fp8"}
    small = served(manifests(body).tiers[0])
    settings = small.settings
    assert settings.precision.bits == 4.25
    assert settings.kv_element_bytes == 1.0
    assert settings.max_num_seqs == 16
    assert settings.max_model_len == 8192
    assert settings.speculation is not None
    assert settings.speculation.tokens == 3
    assert str(small.gpu_hour) == "0.80"
    assert small.gpus == 1


def test_tiers_stand_in_the_order_of_the_route() -> None:
    found = manifests(tier("large"), hosted(), tier(), route("small", "large", {"name": "hosted", "use": "Overflow"}))
    assert [each.name for each in found.tiers] == ["small", "large", "hosted"]
    assert isinstance(found.tiers[2], ExternalTier)
    assert not found.assumed_route


def test_without_a_route_one_is_assumed_and_what_is_not_simulated_is_said() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    found = manifests(tier(), secret)
    assert found.assumed_route
    assert found.ignored == ("Secret objects are not simulated",)


def test_a_tier_that_the_route_does_not_name_is_left_out_and_said() -> None:
    found = manifests(tier(), tier("large"), route("small"))
    assert [each.name for each in found.tiers] == ["small"]
    assert "large" in found.ignored[0]


def changed(**spec: Any) -> dict[str, Any]:
    body = tier()
    body["spec"].update(spec)
    return body


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ([route("small")], "there is no ModelTier"),
        ([tier(), route("small", "other")], "names the tier other"),
        ([tier(), tier()], "twice"),
        ([changed(placement={})], "set placement.nodeSelector"),
        ([changed(contextLength=500000)], "would not start on NVIDIA-L4"),
        ([changed(scaling={"minReplicas": 3, "maxReplicas": 2})], "minReplicas"),
        ([changed(speculation={"method": "nonsense"})], "speculation.method"),
        ([tier(), route("small", policy={"defaultTier": "large"})], "defaultTier"),
    ],
)
def test_what_could_not_be_served_is_refused_with_the_object_and_the_reason(
    documents: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(Invalid, match=said):
        manifests(*documents)


def test_of_several_routes_one_must_be_named() -> None:
    other = route("small")
    other["metadata"] = {"name": "other"}
    with pytest.raises(Invalid, match="say which one with --route: chat, other"):
        read((tier(), route("small"), other), Assumed())
    assert read((tier(), route("small"), other), Assumed(), "other").route_name == "other"
    with pytest.raises(Invalid, match="there is no ModelRoute third"):
        read((tier(), route("small")), Assumed(), "third")


def test_weights_that_the_operator_does_not_name_get_their_size_from_the_spec() -> None:
    body = changed(
        model={
            "name": "m",
            "uri": "s3://bucket/models/Own-AWQ",
            "architecture": {"parameters": "4B"},
        }
    )
    small = served(manifests(body).tiers[0])
    assert small.settings.shape.params_b == pytest.approx(4.0)
    assert small.settings.precision.bits == 4.25


def test_a_change_of_a_field_makes_a_variant_of_each_value() -> None:
    changes = [change_of("small.maxReplicas=2,4"), change_of("chat.queue.maxRequests=10")]
    found = list(variants([tier(), route("small")], changes))
    assert [each.said for each in found] == [
        ("small.scaling.maxReplicas=2", "chat.queue.maxRequests=10"),
        ("small.scaling.maxReplicas=4", "chat.queue.maxRequests=10"),
    ]
    assert [each.documents[0]["spec"]["scaling"]["maxReplicas"] for each in found] == [2, 4]
    assert found[0].documents[1]["spec"]["queue"] == {"maxRequests": 10}
    assert tier()["spec"]["scaling"]["maxReplicas"] == 4, "what was given is not changed"


def test_an_option_takes_other_values_too_and_a_price_stays_a_text() -> None:
    changes = [change_of("startup=60,300"), change_of("small.price.gpuHour=1.50"), change_of("chat.policy.type=Rules")]
    found = list(variants([tier(), route("small")], changes))
    assert [each.options for each in found] == [{"startup": "60"}, {"startup": "300"}]
    assert found[0].said[0] == "startup=60"
    assert found[0].documents[0]["spec"]["price"] == {"gpuHour": "1.50"}
    assert found[0].documents[1]["spec"]["policy"] == {"type": "Rules"}


def test_without_changes_there_is_one_variant_the_manifests_themselves() -> None:
    (only,) = variants([tier()], [])
    assert only.said == ()
    assert only.documents == (tier(),)


@pytest.mark.parametrize("text", ["small", "small.replicas", "small.=1", "=3", "small.replicas=", "trace=x", "share="])
def test_a_change_that_is_not_understood_says_what_was_expected(text: str) -> None:
    with pytest.raises(Invalid, match=r"is not understood; expected NAME\.FIELD"):
        change_of(text)


def test_changes_that_cannot_be_made_are_refused() -> None:
    with pytest.raises(Invalid, match="no ModelRoute 'other'"):
        list(variants([tier()], [change_of("other.replicas=1")]))
    with pytest.raises(Invalid, match="at most 64"):
        list(variants([tier()], [change_of(f"small.replicas={','.join(map(str, range(65)))}")]))
    with pytest.raises(Invalid, match="uri is no object"):
        list(variants([tier()], [change_of("small.model.uri.x=1")]))
