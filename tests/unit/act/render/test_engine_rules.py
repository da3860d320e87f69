"""What the operator was told of the hub reaches the engines, and nothing does unless it was told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.render.goldens import cases, tier
from tierwise.act.render import render
from tierwise.pod_template_hash import fingerprint
from tierwise.types.capabilities import EngineRules

PLAIN: dict[str, Any] = {"model": {"name": "chat", "uri": "hf://Qwen/Qwen3-8B", "cachePVC": "hub"}}


def predictor(engine_rules: EngineRules | None, **fields: Any) -> dict[str, Any]:
    manifest = render(tier("chat", {**PLAIN, **fields}), scaler="external", engine_rules=engine_rules)
    found: dict[str, Any] = manifest["spec"]["predictor"]
    return found


def variables(engine_rules: EngineRules | None, **fields: Any) -> dict[str, str]:
    return {each["name"]: each.get("value", "") for each in predictor(engine_rules, **fields)["containers"][0]["env"]}


def test_a_mirror_and_an_offline_cluster_are_said_to_engines() -> None:
    told = EngineRules("https://mirror.example.com/hf", offline=True)
    plain = variables(None)
    assert variables(told) == {**plain, "HF_ENDPOINT": "https://mirror.example.com/hf", "HF_HUB_OFFLINE": "1"}


def test_a_tier_may_say_for_itself_that_it_is_offline() -> None:
    own = [{"name": "HF_HUB_OFFLINE", "value": "0"}]
    assert variables(EngineRules(offline=True), env=own)["HF_HUB_OFFLINE"] == "0"
    names = [each["name"] for each in predictor(EngineRules(offline=True), env=own)["containers"][0]["env"]]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", sorted(cases()))
def test_an_installation_that_says_nothing_changes_no_byte(name: str) -> None:
    written = tier(name, cases()[name])
    permissive = EngineRules(remote_code=True, host_paths=("/mnt",))
    assert render(written, scaler="external", engine_rules=permissive) == render(written, scaler="external")


def test_a_changed_hub_is_another_pod() -> None:
    told = [
        EngineRules(),
        EngineRules("https://a.example.com"),
        EngineRules("https://b.example.com"),
        EngineRules(offline=True),
    ]
    assert len({fingerprint(predictor(each)) for each in told}) == 4


def test_the_certificate_is_trusted_by_every_client_of_the_engine() -> None:
    found = predictor(None, certificates={"configMapName": "company"})
    values = {each["name"]: each.get("value") for each in found["containers"][0]["env"]}
    (mount,) = (each for each in found["containers"][0]["volumeMounts"] if each["name"] == "certificates")
    (volume,) = (each for each in found["volumes"] if each["name"] == "certificates")
    assert volume["configMap"] == {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "company"}
    assert mount["readOnly"] is True
    assert values["SSL_CERT_FILE"] == values["REQUESTS_CA_BUNDLE"] == f"{mount['mountPath']}/ca.crt"
