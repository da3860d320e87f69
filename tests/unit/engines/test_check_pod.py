"""No variable of a tier stands in a pod twice, and none opens the engine."""

from __future__ import annotations

import pytest

from tests.render.goldens import manifests, specs
from tierwise.api.modeltier import ModelTierSpec
from tierwise.api.pod import OPENING_VARIABLES, OWN_VARIABLES
from tierwise.engines import check

PLAIN = {"model": {"name": "chat", "uri": "hf://Qwen/Qwen3-8B"}}


def said(name: str, value: str = "1") -> list[str]:
    spec = ModelTierSpec.model_validate({**PLAIN, "env": [{"name": name, "value": value}]})
    return [found.message for found in check(spec) if found.fatal]


def test_every_variable_that_is_rendered_is_refused_to_tiers() -> None:
    theirs = {variable.name for spec in specs().values() for variable in spec.env}
    ours = {
        variable["name"]
        for manifest in manifests().values()
        for variable in manifest["spec"]["predictor"]["containers"][0]["env"]
    }
    assert theirs < ours
    assert ours - theirs <= set(OWN_VARIABLES)


@pytest.mark.parametrize("name", [*OWN_VARIABLES, *OPENING_VARIABLES])
def test_it_is_refused_by_its_name(name: str) -> None:
    (message,) = said(name)
    assert message.startswith("env: ")
    assert name in message


def test_no_value_is_put_together_by_kubernetes() -> None:
    assert said("URL", "http://$(HF_TOKEN)") == [
        "env: URL: Kubernetes would put another variable in the place of $(NAME): write it out"
    ]
    assert said("PRICE", "5$ (and more)") == []


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "NCCL_DEBUG", "VLLM_CPU_KVCACHE_SPACE", "https_proxy"])
def test_others_pass(name: str) -> None:
    assert said(name) == []
