"""Checks that input which is not what it should be ends in the list or in an error, and never in a traceback."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.render.convert_goldens import INPUTS
from tierwise.errors import Invalid
from tierwise_cli.convert.documents import of_command, of_text
from tierwise_cli.convert.draft import Conversion, Draft, Reader

TEMPLATE = "{{ .Values.x }}"


def paths(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place below a document but for what says of which kind it is."""
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, below in entries:
        if key not in ("kind", "apiVersion"):
            yield (*at, key)
            yield from paths(below, (*at, key))


@pytest.mark.parametrize("value", [TEMPLATE, 7, [1], {"a": "b"}], ids=["template", "number", "list", "mapping"])
@pytest.mark.parametrize("name", ["gke", "kserve-coder", "openshift-ai", "production-stack-tools", "vllm-nvidia"])
def test_no_value_ends_in_a_traceback(name: str, value: Any) -> None:
    documents = list(yaml.safe_load_all((INPUTS / f"{name}.yaml").read_text(encoding="utf-8")))
    tried = 0
    for path in paths(documents):
        if len(path) < 2:
            continue
        changed = copy.deepcopy(documents)
        below: Any = changed
        for key in path[:-1]:
            below = below[key]
        below[path[-1]] = value
        tried += 1
        try:
            of_text(json.dumps({"kind": "List", "items": changed}))
        except Invalid:
            continue
    assert tried > 20


def test_whole_numbers_are_read_in_every_form_that_yaml_gives_them() -> None:
    draft = Draft("a")
    given = {"a": 2, "b": "3", "c": 4.0, "d": "", "f": "{{ x }}", "g": True, "h": 1.5, "i": "many"}
    reader = Reader(given, "spec", draft)
    assert [reader.number(key, 9) for key in "abcdefghi"] == [2, 3, 4, 9, 9, 9, 9, 9, 9]
    assert {each.where for each in draft.dropped} == {"spec.f", "spec.g", "spec.h", "spec.i"}
    assert all("a whole number was expected here" in each.reason for each in draft.dropped)
    reader.rest()
    assert len(draft.dropped) == 4, "what was read is dealt with"


def only(body: dict[str, Any]) -> Conversion:
    (made,) = of_text(json.dumps(body))
    return made


def why(made: Conversion) -> dict[str, str]:
    return {each.where: each.reason for each in made.dropped}


def deployment(spec: dict[str, Any], **pod: Any) -> dict[str, Any]:
    engine = {
        "image": "vllm/vllm-openai:v0.33.0",
        "args": ["--model=org/m"],
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
        **pod.pop("engine", {}),
    }
    template = {"spec": {"containers": [engine], **pod}}
    return {"kind": "Deployment", "metadata": {"name": "a"}, "spec": {**spec, "template": template}}


def test_replicas_that_are_text_are_a_number_in_the_tier() -> None:
    assert only(deployment({"replicas": "2"})).manifest["spec"]["scaling"] == {"minReplicas": 2, "maxReplicas": 2}
    assert only(deployment({"replicas": "0"})).manifest["spec"]["replicas"] == 0
    made = only(deployment({"replicas": TEMPLATE}))
    assert "scaling" not in made.manifest["spec"]
    assert "a whole number" in why(made)["spec.replicas"]


def test_times_that_nobody_has_rendered_are_in_the_list() -> None:
    probe = {"periodSeconds": TEMPLATE, "failureThreshold": "60", "httpGet": {"path": "/health", "port": 8000}}
    made = only(deployment({}, engine={"startupProbe": probe}, terminationGracePeriodSeconds=TEMPLATE))
    assert made.manifest["spec"]["startupTimeoutSeconds"] == 600
    assert "drainSeconds" not in made.manifest["spec"]
    assert {"spec.template.spec.terminationGracePeriodSeconds",
            "spec.template.spec.containers[0].startupProbe.periodSeconds"} <= set(why(made))  # fmt: skip


def test_an_inference_service_that_nobody_has_rendered() -> None:
    predictor = {"minReplicas": TEMPLATE, "maxReplicas": "3", "model": {"storageUri": "hf://org/m"}}
    made = only({"kind": "InferenceService", "metadata": {"name": "a"}, "spec": {"predictor": predictor}})
    assert made.manifest["spec"]["scaling"] == {"maxReplicas": 3}
    assert "spec.predictor.minReplicas" in why(made)


def test_values_that_nobody_has_rendered() -> None:
    one = {
        "name": "one",
        "modelURL": "org/one",
        "replicaCount": TEMPLATE,
        "lmcacheConfig": {"enabled": True, "cpuOffloadingBufferSize": TEMPLATE},
    }
    two = {
        "name": "two",
        "modelURL": "org/two",
        "keda": {"enabled": True, "minReplicaCount": "2", "maxReplicaCount": TEMPLATE},
    }
    first, second = of_text(json.dumps({"servingEngineSpec": {"modelSpec": [TEMPLATE, one, two]}}))
    assert [each.manifest["spec"]["model"]["name"] for each in (first, second)] == ["org/one", "org/two"]
    assert {"modelSpec[0]", "modelSpec[1].replicaCount", "modelSpec[1].lmcacheConfig.cpuOffloadingBufferSize"} <= set(
        why(first)
    )
    assert second.manifest["spec"]["scaling"] == {"minReplicas": 2, "maxReplicas": 2}
    assert {"modelSpec[2].keda", "modelSpec[2].keda.maxReplicaCount"} <= set(why(second))


def test_text_where_the_api_takes_a_number_is_told_of() -> None:
    toleration = {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": "60"}
    found = why(only(deployment({}, tolerations=[toleration])))
    assert "valid integer" in found["correct placement.tolerations.0.tolerationSeconds"]


def test_words_in_the_place_of_a_flags_number_are_in_the_list() -> None:
    rope = '{"rope_scaling":{"type":"yarn","factor":4,"original_max_position_embeddings":4096},"rope_theta":"x"}'
    made = of_command(["vllm", "serve", "org/m", "--kv-offloading-size", "inf", "--hf-overrides", rope])
    assert {"--kv-offloading-size", "--hf-overrides"} <= set(why(made))
