"""Checks that what the CRD's rules refuse of a converted tier is said with it."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from tierwise.api.base import Rule
from tierwise.api.modeltier import ModelTierSpec
from tierwise_cli.convert import api_rules
from tierwise_cli.convert.documents import of_command, of_text

UNDERSTOOD = (
    ast.Constant, ast.Name, ast.List, ast.Attribute, ast.Subscript, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not,
    ast.BinOp, ast.Compare, ast.Call, ast.Load, *api_rules._OPERATORS,
)  # fmt: skip
CALLED = {"has", *api_rules._FUNCTIONS, *api_rules._METHODS, *api_rules._MACROS}


def classes(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every class of the API below an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from classes(field.annotation)
    for each in get_args(annotation):
        yield from classes(each)


RULES: list[Rule] = [rule for each in dict.fromkeys(classes(ModelTierSpec)) for rule in getattr(each, "cel", ())]


def test_every_rule_of_the_crd_is_understood() -> None:
    assert len(RULES) > 60
    for rule in RULES:
        for node in ast.walk(api_rules.parsed(rule.expression)):
            assert isinstance(node, UNDERSTOOD), rule.expression
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr  # type: ignore[attr-defined]
                assert name in CALLED, rule.expression


def rejected(spec: dict[str, Any]) -> list[str]:
    """The fields that are refused."""
    return [where for where, _, _ in api_rules.refused(ModelTierSpec.model_validate(spec))]


MODEL = {"name": "m", "uri": "hf://org/m"}


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("https://api.example.com/v1", True),
        ("https://api.example.com/v1beta/openai", True),
        ("http://llm.team.svc:65535", True),
        ("https://example.services.com/models", True),
        ("https://api.example.com/v1/", False),
        ("https://api.example.com/v1/chat/completions", False),
        ("https://api.example.com/v1/embeddings", False),
        ("https://api.example.com/v1/models", False),
        ("http://llm.team.svc:65536/v1", False),
        ("http://llm.team.svc:99999", False),
        ("http://llm.team.svc:0/v1", False),
    ],
)
def test_what_is_the_base_url_of_an_api(url: str, taken: bool) -> None:
    api = {"baseURL": url, "model": "m", "prices": {"input": "1", "output": "1"}}
    assert rejected({"external": api}) == ([] if taken else ["external.baseURL"])


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({"model": MODEL}, []),
        ({}, [""]),
        ({"model": {**MODEL, "aliases": ["a", "m"]}}, ["model.aliases"]),
        ({"model": {**MODEL, "adapters": [{"name": "m", "uri": "pvc://a/b"}]}}, ["model.adapters"]),
        ({"model": {"name": "m", "uri": "https://huggingface.co/org/m"}}, ["model.uri"]),
        ({"model": MODEL, "resources": {"gpus": 2}}, ["resources.gpus"]),
        ({"model": MODEL, "resources": {"cpu": "2", "cpuLimit": "1500m"}}, ["resources.cpuLimit"]),
        ({"model": MODEL, "resources": {"cpu": "2", "cpuLimit": "2000m", "memory": "0"}}, ["resources.memory"]),
        ({"model": MODEL, "engine": {"image": "a.example/b@sha256:" + "0" * 64}}, []),
        ({"model": MODEL, "engine": {"image": "https://a.example/b:c"}}, ["engine.image"]),
        ({"model": MODEL, "speculation": {"mode": "Enabled", "method": "eagle3"}}, ["speculation.draftModel"]),
        (
            {
                "model": MODEL,
                "speculation": {
                    "mode": "Auto",
                    "method": "ngram",
                    "schedule": [{"fromBatch": 1, "tokens": 3}, {"fromBatch": 1, "tokens": 0}],
                },
            },
            ["speculation.schedule"],
        ),
        ({"model": MODEL, "modelCache": {"hostPath": "/a/../b"}}, ["modelCache.hostPath"]),
        ({"model": MODEL, "modelCache": {"hostPath": "/a", "pvc": "b"}}, ["modelCache"]),
        ({"model": MODEL, "env": [{"name": "A", "value": "1"}, {"name": "HOME", "value": "/"}]}, ["env[1].name"]),
        ({"model": MODEL, "placement": {"tolerations": [{"operator": "Equal"}]}}, ["placement.tolerations[0]"]),
    ],
)
def test_rules_are_read_as_the_api_server_reads_them(spec: dict[str, Any], fields: list[str]) -> None:
    assert rejected(spec) == fields


def of_pod(**engine: Any) -> dict[str, tuple[str, str]]:
    """What is said of a converted pod: where → value, why."""
    volumes = engine.pop("volumes", [])
    container = {"image": "vllm/vllm-openai:v0.33.0", "args": ["--model=org/m"], **engine}
    body = {"kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [container], "volumes": volumes}}
    (made,) = of_text(json.dumps(body))
    return {each.where: (each.value, each.reason) for each in made.dropped}


def test_an_engine_without_gpus_on_the_image_for_nvidia_is_told_of() -> None:
    value, why = of_pod()["correct engine.image"]
    assert value == "unset"
    assert "the engine's own image is for NVIDIA GPUs" in why
    assert "correct engine.image" not in of_pod(resources={"limits": {"nvidia.com/gpu": 1}})


def test_two_places_for_the_weights_are_told_of() -> None:
    volumes = [{"name": "a", "persistentVolumeClaim": {"claimName": "hub"}}, {"name": "b", "hostPath": {"path": "/b"}}]
    mounts = [
        {"name": "a", "mountPath": "/root/.cache/huggingface"},
        {"name": "b", "mountPath": "/.cache/huggingface"},
    ]
    found = of_pod(volumes=volumes, volumeMounts=mounts, resources={"limits": {"nvidia.com/gpu": 1}})
    assert "set modelCache or model.cachePVC, not both" in found["correct modelCache"][1]


def test_a_small_batch_is_told_of_from_a_command_line() -> None:
    made = of_command(["vllm", "serve", "org/m", "--max-num-batched-tokens", "64"])
    assert "maxBatchedTokens must not be below" in {each.where: each.reason for each in made.dropped}[
        "correct batching.maxBatchedTokens"
    ]  # fmt: skip


@pytest.mark.parametrize("expression", ["self.a.unheard()", "unheard(self.a)", "self.a.unheard('b')"])
def test_a_rule_that_asks_for_more_is_told_by_what_it_asks(expression: str) -> None:
    with pytest.raises(NotImplementedError, match="unheard"):
        api_rules.holds(Rule(expression=expression, message="a sentence"), {"a": "b"})
