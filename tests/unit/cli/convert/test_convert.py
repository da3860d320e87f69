"""Checks `tierwise convert`: what people run today becomes a tier that is accepted, and nothing is lost unsaid."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.render.convert_goldens import INPUTS, converted, files
from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines import check
from tierwise.errors import Invalid
from tierwise_cli.convert.documents import of_command, of_text
from tierwise_cli.convert.draft import Conversion, Draft, has_field
from tierwise_cli.convert.flags import whole_number
from tierwise_cli.main import main

REPO = Path(__file__).resolve().parents[4]
MARK = "zq-nobody-has-thought-of-this"


def one(*words: str) -> Conversion:
    """A command line, converted."""
    return of_command(words)


def spec(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = one(*words).manifest["spec"]
    return found


def dropped(made: Conversion) -> dict[str, str]:
    """Where → why."""
    return {each.where: each.reason for each in made.dropped}


def test_there_are_the_kinds_of_manifest_that_people_run() -> None:
    assert set(converted()) >= {
        "vllm-nvidia", "vllm-amd", "production-stack", "production-stack-tools", "production-stack-lora",
        "gke", "openshift-ai", "kserve-coder", "command-line",
    }  # fmt: skip


@pytest.mark.parametrize(("path", "text"), sorted(files().items()), ids=lambda each: getattr(each, "stem", ""))
def test_the_result_is_the_one_that_was_looked_at(path: Path, text: str) -> None:
    assert (REPO / path).read_text(encoding="utf-8") == text


@pytest.mark.parametrize("name", sorted(converted()))
def test_the_operator_accepts_what_comes_out(name: str) -> None:
    for made in converted()[name]:
        found = ModelTierSpec.model_validate(made.manifest["spec"])
        assert [problem for problem in check(found) if problem.fatal] == []
        assert not [each for each in made.dropped if each.where.startswith("correct")]
        assert all(each.reason and "\n" not in each.reason for each in made.dropped)


def places(tree: Any) -> list[dict[str, Any]]:
    """Every mapping whose keys are fields: not maps of names to values."""
    found: list[dict[str, Any]] = []
    if isinstance(tree, dict):
        found = [tree]
        for key, value in tree.items():
            found += places(value) if key not in _OPAQUE else []
    if isinstance(tree, list):
        for each in tree:
            found += places(each)
    return found


def engines(documents: list[Any]) -> list[Any]:
    """What is converted, without its metadata."""
    kinds = ("Deployment", "InferenceService", None)
    return [each.get("spec", each) for each in documents if each.get("kind") in kinds]


# Whole values: the list repeats them as they are, or the tier takes them as they are.
_OPAQUE = (
    "nodeSelector", "tolerations", "nodeSelectorTerms", "keda", "routerSpec", "ports", "httpGet", "initContainer",
    "securityContext", "loraController", "labels", "annotations", "selector",
)  # fmt: skip


@pytest.mark.parametrize(
    "path", [path for path in sorted(INPUTS.iterdir()) if path.suffix == ".yaml"], ids=lambda p: p.stem
)
def test_whatever_nobody_thought_of_is_in_the_list(path: Path) -> None:
    """A field that does not exist, put into every place of every input in turn, is never lost."""
    text = path.read_text(encoding="utf-8")
    count = len(places(engines(list(yaml.safe_load_all(text)))))
    assert count > 5
    lost = []
    for number in range(count):
        documents = list(yaml.safe_load_all(text))
        place = places(engines(documents))[number]
        place["inventedField"] = MARK
        made = of_text(yaml.safe_dump_all(documents))
        said = [f"{each.where} {each.value}" for tier in made for each in tier.dropped]
        if not any(MARK in each or "inventedField" in each for each in said):
            lost.append(place)
    assert lost == []


FLAGS = st.from_regex(r"\A--[a-z][a-z0-9_-]{0,12}(=[a-z0-9/]{0,6})?\Z")


@settings(max_examples=60, deadline=None)
@given(st.lists(FLAGS, max_size=6, unique_by=lambda w: w.split("=")[0]))
def test_every_flag_is_carried_over_or_in_the_list(words: list[str]) -> None:
    made = one("vllm", "serve", "org/model", *words)
    text = json.dumps(made.manifest)
    for word in words:
        name = word.split("=")[0].replace("_", "-")
        listed = [each for each in made.dropped if each.where.replace("_", "-").startswith(name)]
        assert listed or name in text or name in ("--enable-prefix-caching", "--model", "--revision"), word


def test_the_forms_in_which_flags_are_written_mean_the_same() -> None:
    wanted = spec("vllm", "serve", "org/m", "--tensor-parallel-size=2", "--max-model-len=32768", "--enforce-eager")
    for words in (
        ["vllm", "serve", "org/m", "-tp", "2", "--max_model_len", "32K", "--enforce_eager"],
        ["serve", "--enforce-eager", "org/m", "-tp=2", "--max-model-len", "32768"],
        ["python3", "-m", "vllm.entrypoints.openai.api_server", "--model", "org/m", "--tensor_parallel_size", "2",
         "--max-model-len=32K", "--enforce-eager"],
        ["/bin/bash", "-c", "exec vllm serve org/m \\\n  -tp 2 --max-model-len 32768 --enforce-eager"],
        ["vllm serve org/m -tp 2 --max-model-len 32768 --enforce-eager"],
    ):  # fmt: skip
        assert spec(*words) == wanted


def test_numbers_are_read_as_vllm_reads_them() -> None:
    assert [whole_number(text) for text in ("32768", "32k", "32K", "25.6k", "1M", "2g")] == [
        32768, 32000, 32768, 25600, 1048576, 2_000_000_000,
    ]  # fmt: skip
    assert [whole_number(text) for text in ("", "-1", "1.5", "1.5K", "many")] == [None] * 5


def test_fields_of_their_own() -> None:
    found = spec(
        "vllm", "serve", "org/m", "--revision", "abc", "--served-model-name", "chat", "--max-num-seqs", "64",
        "--max-num-batched-tokens", "4k", "--no-enable-prefix-caching", "--kv-cache-dtype", "fp8", "-q", "awq_marlin",
        "--kv-offloading-size", "16", "-pp", "2", "--shutdown-timeout", "60", "--max-num-queued-reqs", "100",
        "--speculative-config", '{"method":"eagle3","model":"org/draft","num_speculative_tokens":3}',
    )  # fmt: skip
    assert found == {
        "model": {"uri": "hf://org/m", "name": "chat", "revision": "abc"},
        "quantization": {"method": "awq", "kvCacheDtype": "fp8"},
        "speculation": {"mode": "Enabled", "method": "eagle3", "draftModel": "org/draft", "tokens": 3},
        "caching": {"prefix": "Disabled", "kvOffloadGiB": 16},
        "batching": {"maxSequences": 64, "maxBatchedTokens": 4000, "maxQueuedRequests": 100},
        "parallelism": {"pipeline": 2},
        "resources": {"gpus": 2},
        "drainSeconds": 60,
    }


@pytest.mark.parametrize(
    ("words", "where", "why"),
    [
        (["--api-key", "secret-1"], "--api-key", "arguments are readable"),
        (["--no-such-flag", "1"], "--no-such-flag", "has no such option"),
        (["--max-model-len", "auto"], "--max-model-len", "the engine would choose"),
        (["--quantization", "bitsandbytes"], "--quantization", "quantization.method does not have bitsandbytes"),
        (["--kv-cache-dtype", "int3"], "--kv-cache-dtype", "quantization.kvCacheDtype does not have int3"),
        (["--dtype", "float8"], "--dtype", "is not an accepted value"),
        (["--speculative-config", "x"], "--speculative-config", "it is no JSON object"),
        (["--speculative-config", '{"method":"oracle"}'], "--speculative-config", "does not have oracle"),
        (["--max-num-seqs", "many"], "--max-num-seqs", "is a number"),
        (["--quantization", "fp8"], "--quantization", "one that is not quantized takes fp8_per_tensor"),
        (["--enable-auto-tool-choice"], "", ""),
    ],
)
def test_why_a_flag_is_not_carried_over(words: list[str], where: str, why: str) -> None:
    made = one("vllm", "serve", "org/m", *words)
    found = dropped(made)
    if where:
        assert why in found[where]
    else:
        assert any("needs --tool-call-parser" in reason for reason in found.values())
    assert "secret-1" not in json.dumps([each.value for each in made.dropped])


def test_a_shell_is_read_as_far_as_it_starts_the_engine() -> None:
    made = one("sh", "-c", "pip install x && export NCCL_DEBUG=INFO; HF_HOME=/x vllm serve org/m -tp 2 # comment")
    assert dropped(made)["command"] == "no shell runs in a tier: build it into engine.image"
    assert "env HF_HOME" in dropped(made)
    assert made.manifest["spec"]["env"] == [{"name": "NCCL_DEBUG", "value": "INFO"}]


PLACED = """
kind: Pod
metadata: {name: placed, annotations: {example.com/team: search}}
spec:
  schedulerName: volcano
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms:
          - matchExpressions: [{key: gpu, operator: In, values: [A100, H100]}]
            matchFields: [{key: metadata.name, operator: In, values: [a]}]
      preferredDuringSchedulingIgnoredDuringExecution:
        - {weight: 7, preference: {matchExpressions: [{key: spot, operator: DoesNotExist}]}}
    podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname}]}
  topologySpreadConstraints:
    - {topologyKey: topology.kubernetes.io/zone, maxSkew: 2, whenUnsatisfiable: ScheduleAnyway, labelSelector: {}}
    - {topologyKey: rack, maxSkew: 1, whenUnsatisfiable: DoNotSchedule}
  containers:
    - image: vllm/vllm-openai:v0.33.0
      args: [--model=org/m]
      volumeMounts: [{name: cache, mountPath: /root/.cache/huggingface, subPath: hub}]
      env:
        - {name: REFERRED, valueFrom: {configMapKeyRef: {name: settings, key: a}}}
        - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        - {name: JOINED, value: "$(NODE)-x"}
  volumes: [{name: cache, hostPath: {path: /mnt/nvme, type: Directory}}]
"""


def test_which_gpus_a_machine_gave_says_nothing_about_a_pod() -> None:
    made = one("CUDA_VISIBLE_DEVICES=2,3", "vllm", "serve", "org/m", "-tp", "2")
    assert "env CUDA_VISIBLE_DEVICES" in dropped(made)
    assert "env" not in made.manifest["spec"]


def test_where_pods_run_and_what_they_have() -> None:
    (made,) = of_text(PLACED)
    found, why = made.manifest["spec"], dropped(made)
    assert found["placement"] == {
        "affinity": {
            "required": [{"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["A100", "H100"]}]}],
            "preferred": [{"weight": 7, "matchExpressions": [{"key": "spot", "operator": "DoesNotExist"}]}],
        },
        "spread": [{"over": "Zones", "mode": "Preferred", "maxSkew": 2}],
        "schedulerName": "volcano",
    }
    assert found["modelCache"] == {"hostPath": "/mnt/nvme/hub"}
    assert found["podMetadata"] == {"annotations": {"example.com/team": "search"}}
    assert found["env"] == [{"name": "REFERRED", "configMapKeyRef": {"name": "settings", "key": "a"}}]
    assert {"spec.affinity.podAntiAffinity", "spec.topologySpreadConstraints[1].topologyKey", "env JOINED"} <= set(why)
    assert any("fieldRef" in where for where in why)
    assert any("matchFields" in where for where in why)


def test_adapters_aliases_and_code_of_the_checkpoint() -> None:
    made = one(
        "vllm", "serve", "org/m", "--max-loras", "2", "--served-model-name", "m", "llama:8b", "tierwise",
        "--enable-lora", "--max-lora-rank=64", "--trust-remote-code",
        "--lora-modules", "a=org/a", '{"name":"b","path":"org/b","base_model_name":"m"}', "c=/data/c",
    )  # fmt: skip
    assert made.manifest["spec"]["model"] == {
        "uri": "hf://org/m",
        "name": "m",
        "aliases": ["llama:8b"],
        "adapters": [
            {"name": "a", "uri": "hf://org/a", "rank": 64},
            {"name": "b", "uri": "hf://org/b", "rank": 64},
        ],
        "adapterSlots": 2,
        "trustRemoteCode": "Enabled",
    }
    assert {"--lora-modules", "--served-model-name", "--trust-remote-code"} == set(dropped(made))
    alone = dropped(one("vllm", "serve", "org/m", "--enable-lora", "--max-loras=4", "--max-lora-rank=8"))
    assert {"--enable-lora", "--max-loras", "--max-lora-rank"} == set(alone)


def test_position_embeddings() -> None:
    rope = '{"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":32768,"rope_theta":1000000}'
    made = one("vllm", "serve", "org/m", "--hf-overrides", f'{{"rope_parameters":{rope},"architectures":["X"]}}')
    assert made.manifest["spec"]["model"]["overrides"] == {
        "rope": {"type": "yarn", "factor": "4.0", "originalContextLength": 32768, "theta": "1000000"}
    }
    assert dropped(made) == {"--hf-overrides architectures": "model.overrides is a closed list"}
    for text in ('{"rope_scaling":{"rope_type":"yarn","factor":4.0}}', "x", "[]"):
        assert "--hf-overrides" in dropped(one("vllm", "serve", "org/m", "--hf-overrides", text))


def test_a_template_of_a_config_map() -> None:
    volume = {"name": "t", "configMap": {"name": "templates"}}
    mount = {"name": "t", "mountPath": "/templates"}
    engine = {"image": "vllm/vllm-openai:v0.33.0", "args": ["--model=org/m", "--chat-template=/templates/chat.jinja"]}
    pod = {"volumes": [volume], "containers": [{**engine, "volumeMounts": [mount]}]}
    (made,) = of_text(json.dumps({"kind": "Pod", "metadata": {"name": "a"}, "spec": pod}))
    assert made.manifest["spec"]["model"]["chatTemplate"] == {"configMapName": "templates", "key": "chat.jinja"}
    assert not [each for each in made.dropped if "template" in each.where or "volume" in each.where]


def test_a_field_that_this_release_does_not_have_is_in_the_list() -> None:
    draft = Draft("a")
    assert not has_field("model.inventedField")
    assert not draft.put("model.inventedField.deeper", 1, "there")
    assert [each.reason for each in draft.dropped] == ["a ModelTier has no field for it"]


WORKLOAD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: Llama_3.70B, namespace: llm}
spec:
  replicas: 0
  template:
    spec:
      volumes:
        - {name: weights, persistentVolumeClaim: {claimName: weights}}
        - {name: other, configMap: {name: other}}
      initContainers: [{name: download}]
      containers:
        - {name: proxy, image: envoy:v1}
        - name: main
          image: registry.example.com/vllm/vllm-openai:v0.11.0
          args: [--model=/data/llama/70b, --tensor-parallel-size=4]
          volumeMounts:
            - {name: weights, mountPath: /data, subPath: models}
            - {name: other, mountPath: /etc/other}
            - {name: lost, mountPath: /lost}
          resources: {limits: {nvidia.com/gpu: 8, nvidia.com/mig-1g.10gb: 1}}
"""


def test_a_model_on_a_claim_and_what_stands_around_it() -> None:
    (made,) = of_text(WORKLOAD)
    spec_, why = made.manifest["spec"], dropped(made)
    assert made.manifest["metadata"] == {"name": "llama-3-70b", "namespace": "llm"}
    assert spec_["model"] == {"uri": "pvc://weights/models/llama/70b", "name": "Llama_3.70B"}
    assert (spec_["replicas"], spec_["resources"]["gpus"]) == (0, 4)
    assert "engine" not in spec_
    assert "is not known: the tier runs 0.33" in why["spec.template.spec.containers[1].image"]
    assert why["resources"] == "the engine used 4, tensor times pipeline"
    assert {"spec.template.spec.volumes[1].configMap", "spec.template.spec.containers[0]", "metadata.name"} <= set(why)
    assert "spec.template.spec.initContainers" in why


@pytest.mark.parametrize(
    ("image", "engine", "reason"),
    [
        ("vllm/vllm-openai:v0.33.0", {"version": "0.33.0"}, ""),
        ("docker.io/vllm/vllm-openai:v0.32.1", {"version": "0.32.1"}, ""),
        ("mirror.example.com/vllm:v0.33.0", {"version": "0.33.0", "image": "mirror.example.com/vllm:v0.33.0"}, ""),
        ("vllm/vllm-openai:nightly", None, "an image needs a release"),
        ("mirror.example.com:5000/vllm", None, "must end in a tag that stays"),
        ("rocm/vllm:rocm7", {"image": "rocm/vllm:rocm7"}, "the tag tells no vLLM release"),
    ],
)
def test_images(image: str, engine: dict[str, str] | None, reason: str) -> None:
    gpu = {"limits": {"nvidia.com/gpu": 1}}
    pod = {"containers": [{"image": image, "args": ["--model=org/m"], "resources": gpu}]}
    (made,) = of_text(json.dumps({"kind": "Pod", "metadata": {"name": "a"}, "spec": pod}))
    assert made.manifest["spec"].get("engine") == engine
    assert [each.reason for each in made.dropped if "image" in each.where and reason not in each.reason] == []
    assert bool(reason) == any("image" in each.where for each in made.dropped)


def test_what_is_nothing_of_this_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, says in (
        ("kind: Service", "the file holds Service"),
        ("", "the file holds nothing"),
        ("a: [", "no YAML"),
    ):
        (tmp_path / "a").write_text(text)
        assert main(["convert", "-f", str(tmp_path / "a")]) == 2
        assert says in capsys.readouterr().err
    with pytest.raises(Invalid, match="names no model"):
        one("vllm", "serve", "--seed=1")
    assert main(["convert"]) == 2
    assert main(["convert", "-f", "a", "vllm"]) == 2
    assert main(["convert", "-f", "/no/such"]) == 1


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--", "vllm", "serve", "org/m", "--seed", "1", "--port", "80"]
    assert main(["convert", "-n", "models", "--name", "chat", *words]) == 0
    said = capsys.readouterr()
    assert yaml.safe_load(said.out)["metadata"] == {"name": "chat", "namespace": "models"}
    assert "not carried over as it was: --port (80)" in said.err
    assert main(["convert", "--strict", *words]) == 3
    capsys.readouterr()
    assert main(["convert", "-o", "json", *words]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["notCarriedOver"][0]["where"] == "--port"
    assert main(["convert", "--name", "My_Chat", *words]) == 2
    assert "--name My_Chat: a tier's name is [a-z][-a-z0-9]*, 40 at most: my-chat, say" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO((INPUTS / "production-stack.yaml").read_text()))
    assert main(["convert", "-f", "-", "--name", "x"]) == 2
    assert "--name names one tier, and the file has 2" in capsys.readouterr().err
