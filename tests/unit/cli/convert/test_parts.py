"""Checks what `tierwise convert` reads of command lines in files, of volumes, and of what nobody should see."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tierwise.errors import Invalid
from tierwise_cli.convert.documents import of_text
from tierwise_cli.convert_command import as_yaml
from tierwise_cli.main import main


@pytest.mark.parametrize("start", ["", "# the small one\nHF_HOME=/x ", "exec /opt/venv/bin/", "python3 -m "])
def test_a_command_line_with_json_in_a_file(start: str) -> None:
    program = "vllm.entrypoints.openai.api_server --model" if start.startswith("python3") else "vllm serve"
    drafting = '{"method": "ngram", "num_speculative_tokens": 4}'
    (made,) = of_text(f"{start}{program} org/m \\\n  --speculative-config '{drafting}'\n")
    assert made.manifest["spec"]["model"]["uri"] == "hf://org/m"
    assert made.manifest["spec"]["speculation"] == {"mode": "Enabled", "method": "ngram", "tokens": 4}


def test_a_script_that_is_cut_off_is_an_error_and_no_crash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Invalid, match="No closing quotation"):
        of_text("vllm serve org/m --tool-call-parser 'hermes")
    binary = tmp_path / "values.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert main(["convert", "-f", str(binary)]) == 2
    assert "is no text" in capsys.readouterr().err


MOUNTED = """
kind: Deployment
metadata: {name: chat}
spec:
  template:
    metadata:
      annotations: {kubectl.kubernetes.io/restartedAt: "2026-01-01T00:00:00Z"}
    spec:
      volumes:
        - {name: unused, persistentVolumeClaim: {claimName: models}}
        - {name: weights, persistentVolumeClaim: {claimName: models-2}}
        - {name: cache, persistentVolumeClaim: {claimName: hub}}
        - {name: template, configMap: {name: templates}}
      containers:
        - name: vllm
          image: vllm/vllm-openai:v0.33.0
          command: [sh, -c, "hf auth login --token hf_abc && vllm serve /b/qwen --chat-template /etc/chat.jinja"]
          env: [{name: A-B, value: "secret-1\\nspec: {}"}]
          resources: {limits: {nvidia.com/gpu: }}
          volumeMounts:
            - {name: unused, mountPath: /a}
            - {name: weights, mountPath: /b}
            - {name: cache, mountPath: /root/.cache/huggingface, subPath: team}
            - {name: template, mountPath: /etc/chat.jinja, subPath: qwen.jinja}
"""


def test_parts_of_volumes_are_not_lost_and_secrets_are_not_shown() -> None:
    (made,) = of_text(MOUNTED)
    said = {each.where: each.value for each in made.dropped}
    assert made.manifest["spec"]["model"] == {
        "name": "chat", "uri": "pvc://models-2/qwen",
        "chatTemplate": {"configMapName": "templates", "key": "qwen.jinja"},
    }  # fmt: skip
    assert said["volume models"] == "claim at /a", "models-2 is another claim"
    assert said["model.cachePVC"] == "hub", "the API refuses it beside pvc://"
    assert said["subPath of /root/.cache/huggingface"] == "team"
    assert "podMetadata" not in made.manifest["spec"], "what kubectl wrote is not for the pods"
    assert said["command"] == "hf (the rest is not shown)"
    assert not any("secret-1" in value or "hf_abc" in value for value in said.values())
    assert yaml.safe_load(as_yaml(made)) == made.manifest


def test_a_key_of_a_config_map_that_is_mounted_under_another_name() -> None:
    items = "configMap: {name: templates, items: [{key: qwen, path: chat.jinja}]}"
    text = MOUNTED.replace("configMap: {name: templates}", items).replace(", subPath: qwen.jinja", "")
    (made,) = of_text(text.replace("mountPath: /etc/chat.jinja", "mountPath: /etc"))
    assert made.manifest["spec"]["model"]["chatTemplate"] == {"configMapName": "templates", "key": "qwen"}


def test_what_only_weights_of_the_hub_have_is_left_out_beside_others() -> None:
    (made,) = of_text(MOUNTED.replace("vllm serve /b/qwen", "vllm serve s3://models/qwen --revision main"))
    assert set(made.manifest["spec"]["model"]) == {"name", "uri", "chatTemplate"}
    assert {"model.revision", "model.cachePVC"} <= {each.where for each in made.dropped}
