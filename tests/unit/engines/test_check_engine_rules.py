"""What the installer has not allowed is refused, and nothing where the installer has said nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tierwise import reasons
from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import check
from tierwise.types.capabilities import EngineRules, Facts


def found(told: EngineRules | None, **fields: Any) -> list[tuple[str, str]]:
    model = {"name": "chat", "uri": "hf://Qwen/Qwen3-8B", **fields.pop("model", {})}
    written = {"model": model, **fields}
    spec = ModelTierSpec.model_validate(written)
    return [(each.reason, each.message) for each in check(spec, Facts(engine_rules=told)) if each.fatal]


@pytest.mark.parametrize("path", ["/mnt/nvme", "/mnt/nvme/", "/mnt/nvme/models/qwen", "/mnt/./nvme/a", "/data/x"])
def test_a_folder_below_an_allowed_one_passes(path: str) -> None:
    assert found(EngineRules(host_paths=("/data/", "/mnt/nvme")), modelCache={"hostPath": path}) == []


@pytest.mark.parametrize("path", ["/mnt", "/mnt/nvme2", "/etc", "/mnt/nvme/../../etc", "/data/x/..", "/./"])
def test_any_other_is_refused(path: str) -> None:
    ((reason, message),) = found(EngineRules(host_paths=("/data", "/mnt/nvme")), modelCache={"hostPath": path})
    assert reason == reasons.HOST_PATH_NOT_ALLOWED
    assert message.endswith("engines.hostPaths (/data, /mnt/nvme)")


def test_none_is_allowed_by_default_and_nothing_is_refused_unasked() -> None:
    ((reason, message),) = found(EngineRules(), modelCache={"hostPath": "/mnt/nvme"})
    assert (reason, message.endswith("(none)")) == (reasons.HOST_PATH_NOT_ALLOWED, True)
    assert found(None, modelCache={"hostPath": "/etc"}) == []
    assert found(EngineRules(host_paths=("/",)), modelCache={"hostPath": "/mnt/nvme"}) == []


def test_code_of_checkpoints_runs_only_where_it_is_allowed() -> None:
    remote = {"trustRemoteCode": "Enabled"}
    ((reason, message),) = found(EngineRules(), model=remote)
    assert (reason, "engines.trustRemoteCode" in message) == (reasons.REMOTE_CODE_NOT_ALLOWED, True)
    assert found(EngineRules(remote_code=True), model=remote) == found(None, model=remote) == []
    assert found(EngineRules()) == []


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({}, True),
        ({"modelCache": {"emptyDir": {}}}, True),
        ({"modelCache": {"ephemeral": {"size": "10Gi"}}}, True),
        ({"modelCache": {"pvc": "hub"}}, False),
        ({"modelCache": {"hostPath": "/mnt/hub"}}, False),
        ({"model": {"cachePVC": "hub"}}, False),
        ({"model": {"uri": "pvc://weights/qwen"}}, False),
        ({"model": {"uri": "s3://weights/qwen"}}, False),
    ],
)
def test_offline_weights_must_be_kept_somewhere(fields: dict[str, Any], refused: bool) -> None:
    offline = EngineRules(offline=True, host_paths=("/mnt",))
    assert [reason for reason, _ in found(offline, **fields)] == ([reasons.HUB_OFFLINE] if refused else [])
    assert found(EngineRules(host_paths=("/mnt",)), **fields) == []


def test_offline_adapters_and_a_draft_model_must_be_kept_too() -> None:
    offline = EngineRules(offline=True)
    adapters = [{"name": "sql", "uri": "hf://org/sql"}, {"name": "kept", "uri": "pvc://weights/kept"}]
    speculation = {"mode": "Enabled", "method": "draft_model", "draftModel": "Qwen/Qwen3-0.6B"}
    model = {"uri": "pvc://weights/qwen", "adapters": adapters}
    said = found(offline, model=model, speculation=speculation)
    assert [(reason, message.partition(":")[0]) for reason, message in said] == [
        (reasons.HUB_OFFLINE, "model.adapters sql"),
        (reasons.HUB_OFFLINE, "speculation.draftModel"),
    ]
    assert found(offline, model={"adapters": adapters, "cachePVC": "hub"}, speculation=speculation) == []
    assert found(offline, model={**model, "adapters": adapters[1:]}) == []
