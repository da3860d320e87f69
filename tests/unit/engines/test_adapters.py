"""Adapters, chat templates, further names and overrides: what the engine is told of them, and what is checked."""

from __future__ import annotations

from typing import Any

import pytest

from tests.render.goldens import tier
from tierwise import reasons
from tierwise.act.render import render
from tierwise.api.model_source import Adapter
from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import arguments, check
from tierwise.engines.overrides import stretched_context
from tierwise.types.capabilities import Facts, ModelShape

HUB, CLAIM = "hf://your-org/lora", "pvc://adapters/b/v2"
COMMIT = "0e9e39f249a16976918f6564b8830bc894c89659"


def spec(*adapters: dict[str, Any], **model: Any) -> ModelTierSpec:
    written = {"name": "chat", "uri": "hf://org/chat", "adapters": list(adapters), **model}
    return ModelTierSpec.model_validate({"model": written})


def option(given: tuple[str, ...], name: str) -> str | None:
    return next((each.partition("=")[2] for each in given if each.startswith(f"{name}=")), None)


@pytest.mark.parametrize(
    ("ranks", "slots", "told"),
    [
        ([16], None, ("16", "1", "1")),
        ([1, 8], None, ("8", "2", "2")),
        ([9], None, ("16", "1", "1")),
        ([64, 65, 8], 2, ("128", "2", "3")),
        ([512], 8, ("512", "1", "1")),
        ([8] * 12, None, ("8", "8", "12")),
        ([8] * 12, 12, ("8", "12", "12")),
        ([8] * 12, 1, ("8", "1", "12")),
    ],
)
def test_rank_and_slots(ranks: list[int], slots: int | None, told: tuple[str, str, str]) -> None:
    adapters = [{"name": f"a{n}", "uri": HUB, "rank": rank} for n, rank in enumerate(ranks)]
    given = arguments(spec(*adapters, **({} if slots is None else {"adapterSlots": slots})))
    assert "--enable-lora" in given
    assert tuple(option(given, f"--max-{name}") for name in ("lora-rank", "loras", "cpu-loras")) == told


def test_each_adapter_has_its_place_and_the_pod_has_it_there() -> None:
    adapters = [
        {"name": "hub", "uri": HUB},
        {"name": "claim", "uri": CLAIM},
        {"name": "pinned", "uri": HUB, "revision": COMMIT},
        {"name": "whole", "uri": "pvc://adapters"},
    ]
    given = arguments(spec(*adapters))
    begin = given.index("--lora-modules") + 1
    assert given[begin : begin + 4] == (
        "hub=your-org/lora",
        "claim=/mnt/adapters/1",
        "pinned=/mnt/adapters/2",
        "whole=/mnt/adapters/3",
    )
    assert given[begin + 4].startswith("--")
    written = {"model": {"name": "chat", "uri": "hf://org/chat", "adapters": adapters}}
    pod = render(tier("chat", written), scaler="external")["spec"]["predictor"]
    places = {each["mountPath"]: each for each in pod["containers"][0]["volumeMounts"]}
    volumes = {each["name"]: each for each in pod["volumes"]}
    claimed = {"persistentVolumeClaim": {"claimName": "adapters"}, "name": "adapters-0"}
    for path, folder in (("/mnt/adapters/1", {"subPath": "b/v2"}), ("/mnt/adapters/3", {})):
        assert places[path] == {"mountPath": path, "name": "adapters-0", "readOnly": True, **folder}
    assert volumes["adapters-0"] == claimed
    assert places["/mnt/adapters/2"] == {"mountPath": "/mnt/adapters/2", "name": "adapters", "subPath": "2"}
    (fetching,) = pod["initContainers"]
    assert (fetching["command"], fetching["image"]) == (["hf"], pod["containers"][0]["image"])
    assert fetching["args"] == [
        "download",
        "your-org/lora",
        f"--revision={COMMIT}",
        "--local-dir=/mnt/adapters/2",
    ]
    assert {"mountPath": "/mnt/adapters", "name": "adapters"} in fetching["volumeMounts"]


def test_without_adapters_nothing_is_said_of_them() -> None:
    assert not [each for each in arguments(spec()) if "lora" in each]


def test_further_names_follow_ours() -> None:
    given = arguments(spec(aliases=["gpt-4o-mini", "qwen3:8b"]))
    begin = given.index("--served-model-name")
    assert given[begin + 1 : begin + 5] == ("chat", "tierwise", "gpt-4o-mini", "qwen3:8b")


@pytest.mark.parametrize(
    ("field", "model"),
    [
        ("model.aliases", {"aliases": ["--host"]}),
        ("model.aliases", {"aliases": ["None"]}),
        ("model.adapters.name", {"adapters": [{"name": "$(HF_TOKEN)", "uri": HUB}]}),
        ("model.adapters.uri", {"adapters": [{"name": "a", "uri": "pvc://claim/../../etc"}]}),
        ("model.adapters.revision", {"adapters": [{"name": "a", "uri": HUB, "revision": "../x"}]}),
    ],
)
def test_no_word_of_an_older_object_becomes_an_option_or_leaves_its_folder(field: str, model: dict[str, Any]) -> None:
    plain = spec()
    assert plain.model is not None
    older = [Adapter.model_construct(**{"revision": None, "rank": 8, **each}) for each in model.get("adapters", ())]
    changed = plain.model.model_copy(update={"aliases": model.get("aliases", []), "adapters": older})
    found = [each.message for each in check(plain.model_copy(update={"model": changed})) if each.fatal]
    assert [message.partition(":")[0] for message in found] == [field]


@pytest.mark.parametrize(
    ("argument", "instead"),
    [
        ("--chat-template=x", "use model.chatTemplate"),
        ("--enable-lora", "use model.adapters"),
        ("--lora-modules=a=b", "use model.adapters"),
        ("--max-loras=2", "use model.adapterSlots"),
        ("--max-lora-rank=8", "use model.adapters"),
        ("--trust-remote-code", "use model.trustRemoteCode"),
        ("--hf-overrides={}", "use model.overrides"),
        ("--download-dir=/x", "use modelCache"),
        ("--served-model-name=x", "use model.name and model.aliases"),
    ],
)
def test_the_refusal_of_an_argument_names_the_field(argument: str, instead: str) -> None:
    written = ModelTierSpec.model_validate({"model": {"name": "a", "uri": "hf://a/b"}, "extraArgs": [argument]})
    (found,) = (each for each in check(written) if each.fatal)
    assert instead in found.message


@pytest.mark.parametrize(
    ("kind", "positions"), [("yarn", 131072), ("linear", 32768), ("dynamic", 32768)], ids=["yarn", "linear", "dynamic"]
)
def test_a_stretched_context_is_what_the_engine_and_the_check_take(kind: str, positions: int) -> None:
    rope = {"type": kind, "factor": "4.0", "originalContextLength": 32768, "theta": "1000000"}
    stretched = spec(overrides={"rope": rope})
    assert stretched.model is not None
    assert stretched.model.overrides is not None
    assert stretched.model.overrides.rope is not None
    assert stretched_context(stretched.model.overrides.rope) == 131072
    assert f'"max_position_embeddings":{positions},' in (option(arguments(stretched), "--hf-overrides") or "")

    def refused(length: int, said: ModelTierSpec) -> bool:
        asked = said.model_copy(update={"context_length": length})
        facts = Facts(model=ModelShape(context_length=40960, model_type="qwen3"))
        return reasons.CONTEXT_TOO_LONG in [each.reason for each in check(asked, facts) if each.fatal]

    assert refused(131072, spec())
    assert not refused(131072, stretched)
    assert refused(131073, stretched)


@pytest.mark.parametrize(
    ("model", "advised"),
    [
        ({"trustRemoteCode": "Enabled"}, True),
        ({"trustRemoteCode": "Enabled", "revision": "main"}, True),
        ({"trustRemoteCode": "Enabled", "revision": COMMIT}, False),
        ({"trustRemoteCode": "Enabled", "uri": "pvc://weights/a"}, False),
        ({}, False),
    ],
)
def test_code_that_may_change_is_told_of(model: dict[str, Any], advised: bool) -> None:
    found = [each.reason for each in check(spec(**model)) if not each.fatal]
    assert (reasons.UNPINNED_CODE in found) == advised
    assert ("--trust-remote-code" in arguments(spec(**model))) == ("trustRemoteCode" in model)
