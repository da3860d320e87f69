"""Checks that a pod in the playground gets its environment, volumes, identity and network as on a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from playground.handle import Playground
from tests.cluster.kubectl import Refused, eventually
from tests.cluster.pods import Room, config_map, echo, new_room, parsed, pod, script, secret, service

pytestmark = pytest.mark.cluster
# A program that lies under a fresh folder of the pod is put back into it: nothing else is there.
PROGRAMS = Path(__file__).resolve().parents[2]
IN_TMP = [PROGRAMS.parts[2]] if PROGRAMS.is_relative_to("/tmp") else []


@pytest.fixture(scope="module")
def room(playground: Playground) -> Iterator[Room]:
    with new_room(playground, "kubelet") as made:
        yield made


def test_the_environment_comes_from_the_pod_alone(room: Room) -> None:
    room.kubectl.apply(config_map("settings", COLOUR="blue"), secret("keys", token="s3cret"))
    item = pod(
        "environment",
        script(
            "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv[1:]]))",
            args=["$(GREETING)", "$$(GREETING)", "$(NOBODY)"],
            envFrom=[{"configMapRef": {"name": "settings"}, "prefix": "MY_"}],
            env=[
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
                {"name": "MAYBE", "valueFrom": {"secretKeyRef": {"name": "no", "key": "x", "optional": True}}},
                {"name": "GREETING", "value": "hello $(MY_COLOUR)"},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            ],
            resources={"limits": {"cpu": "1500m", "memory": "64Mi", "nvidia.com/gpu": "2"}},
        ),
        enableServiceLinks=False,
    )
    environment, arguments = parsed(room.output(item))
    assert arguments == ["hello blue", "$(GREETING)", "$(NOBODY)"]
    status = room.get("environment")
    assert environment.pop("IP") == status["status"]["podIP"]
    assert environment.pop("NODE") == status["spec"]["nodeName"]
    assert environment.pop("NVIDIA_VISIBLE_DEVICES").count(",") == 1
    assert environment.pop("PLAYGROUND_GPU").startswith("NVIDIA-")
    for name in [name for name in environment if name.startswith("KUBERNETES_")]:
        del environment[name]
    path = environment.pop("PATH")
    assert path.endswith("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    environment.pop("LC_CTYPE", None)  # Python's own, from the C locale
    assert environment == {
        "MY_COLOUR": "blue",
        "TOKEN": "s3cret",
        "GREETING": "hello blue",
        "APP": "environment",
        "CPU": "2",
        "HOME": "/tmp",
        "HOSTNAME": "environment",
    }


LOOK = """
import json, os, stat
def look(path):
    try: return open(path).read()
    except OSError as error: return error.strerror
def tried(path):
    try: open(path, "w").write("x"); return "written"
    except OSError as error: return error.strerror
"""


def test_volumes_hold_what_they_name(room: Room) -> None:
    room.kubectl.apply(config_map("files", **{"a.txt": "A", "b.txt": "B"}), secret("secrets", password="pw"))
    code = f"""{LOOK}
print(json.dumps({{
  "all": sorted(os.listdir("/etc/files")), "a": look("/etc/files/a.txt"), "write": tried("/etc/files/a.txt"),
  "item": look("/opt/deep/er/sub/renamed"), "one": look("/etc/one.txt"), "password": look("/run/secret/password"),
  "mode": oct(os.stat("/run/secret/password").st_mode & 0o777), "none": os.listdir("/none"),
  "from init": look("/scratch/below/note"), "labels": look("/podinfo/labels"),
  "shm": [line.split()[2] for line in open("/proc/self/mounts") if line.split()[1] == "/dev/shm"],
}}))"""
    mounts = [
        {"name": "files", "mountPath": "/etc/files"},
        {"name": "item", "mountPath": "/opt/deep/er"},
        {"name": "files", "mountPath": "/etc/one.txt", "subPath": "a.txt"},
        {"name": "secret", "mountPath": "/var/run/secret"},
        {"name": "none", "mountPath": "/none"},
        {"name": "scratch", "mountPath": "/scratch"},
        {"name": "memory", "mountPath": "/dev/shm"},
        {"name": "info", "mountPath": "/podinfo"},
    ]
    note = script("open('/data/note', 'w').write('hello')", name="first")
    note["volumeMounts"] = [{"name": "scratch", "mountPath": "/data", "subPath": "below"}]
    volumes = [
        {"name": "files", "configMap": {"name": "files"}},
        {"name": "item", "configMap": {"name": "files", "items": [{"key": "b.txt", "path": "sub/renamed"}]}},
        {"name": "secret", "secret": {"secretName": "secrets", "defaultMode": 0o400}},
        {"name": "none", "secret": {"secretName": "missing", "optional": True}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "32Mi"}},
        {
            "name": "info",
            "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]},
        },
    ]
    seen = parsed(
        room.output(pod("volumes", script(code, volumeMounts=mounts), initContainers=[note], volumes=volumes))
    )
    assert seen == {
        "all": ["a.txt", "b.txt"] if "..data" not in seen["all"] else [*seen["all"][:2], "a.txt", "b.txt"],
        "a": "A",
        "write": "Read-only file system",
        "item": "B",
        "one": "A",
        "password": "pw",
        "mode": "0o400",
        "none": seen["none"],
        "from init": "hello",
        "labels": 'app="volumes"',
        "shm": [seen["shm"][0], "tmpfs"],
    }
    assert [name for name in seen["none"] if not name.startswith("..")] == []


def test_a_missing_secret_is_named_and_healed(room: Room) -> None:
    source = {"secretKeyRef": {"name": "later", "key": "token"}}
    room.kubectl.apply(pod("waiting", echo(env=[{"name": "TOKEN", "valueFrom": source}])))
    status = room.state("waiting", "CreateContainerConfigError")
    assert status["state"]["waiting"]["message"] == 'secret "later" not found'
    room.kubectl.apply(secret("later", other="x"))
    key = f"couldn't find key token in Secret {room.kubectl.namespace}/later"
    eventually(
        lambda: room.get("waiting")["status"]["containerStatuses"][0]["state"].get("waiting", {}).get("message"),
        lambda message: message == key,
        30,
        key,
    )
    room.kubectl.apply(secret("later", token="x"))
    room.wait("waiting", "condition=Ready")


def test_an_unknown_image_fails_as_a_pull_does(room: Room) -> None:
    room.kubectl.apply(pod("pull", {"name": "main", "image": "example.com/nobody/nothing:1"}))
    room.state("pull", "ErrImagePull")
    status = room.state("pull", "ImagePullBackOff")
    message = status["state"]["waiting"]["message"]
    assert message.startswith('Back-off pulling image "example.com/nobody/nothing:1": ErrImagePull: failed to pull')
    assert room.get("pull")["status"]["phase"] == "Pending"


def test_a_pod_is_its_own_service_account(room: Room) -> None:
    code = """
import json
from kubernetes import client, config
config.load_incluster_config()
who = client.AuthenticationV1Api().create_self_subject_review({}).status.user_info.username
try:
    client.CoreV1Api().list_namespaced_pod("default"); listed = "listed"
except client.ApiException as error: listed = error.status
print(json.dumps([who, listed]))
"""
    container = script(code)
    container["command"][1] = "-E"  # installed packages, yet nothing from the environment
    namespace = room.kubectl.namespace
    assert parsed(room.output(pod("identity", container))) == [
        f"system:serviceaccount:{namespace}:default",
        403,
    ]


def test_a_claim_outlives_the_pod(room: Room) -> None:
    room.kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "models"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
    )
    extra = {"volumes": [{"name": "m", "persistentVolumeClaim": {"claimName": "models"}}]}
    mounts = [{"name": "m", "mountPath": "/models"}]
    room.output(pod("writer", script("open('/models/x', 'w').write('kept')", volumeMounts=mounts), **extra))
    room.kubectl("delete", "pod", "writer")
    reader = pod("reader", script("print(open('/models/x').read())", volumeMounts=mounts), **extra)
    assert room.output(reader).strip() == "kept"


def test_each_pod_has_a_world_of_its_own(room: Room) -> None:
    code = f"""{LOOK}
import socket
print(json.dumps({{
  "pid": os.getpid(), "host": socket.gethostname(), "links": sorted(n for _, n in socket.if_nameindex()),
  "others": [p for p in os.listdir("/proc") if p.isdigit()], "tmp": os.listdir("/tmp"),
  "usr": tried("/usr/x"), "etc": tried("/etc/x"), "root": tried("/x"), "fds": len(os.listdir("/proc/self/fd")),
}}))"""
    seen = parsed(room.output(pod("alone", script(code))))
    assert seen == {
        "pid": 1,
        "host": "alone",
        "links": ["eth0", "lo"],
        "others": ["1"],
        "tmp": IN_TMP,
        "usr": "Read-only file system",
        "etc": "Read-only file system",
        "root": "written",
        "fds": 4,
    }
    strict = script(code, securityContext={"readOnlyRootFilesystem": True})
    assert parsed(room.output(pod("strict", strict)))["root"] == "Read-only file system"
    assert not Path("/x").exists()


def test_loopback_is_private_and_addresses_are_shared(room: Room) -> None:
    private = {"name": "main", "image": "playground/http-echo", "args": ["--host", "127.0.0.1"]}
    room.ready(pod("private", private), pod("public", echo()), pod("asker", echo()))
    room.kubectl.apply(service("asker"))
    eventually(lambda: room.fetch("asker")[0], lambda code: code == 200, 120, "the Service answers")
    address = {name: room.get(name)["status"]["podIP"] for name in ("private", "public")}
    assert room.from_pod("asker", f"http://{address['public']}:8080/")[0] == 200
    refused = room.from_pod("asker", f"http://{address['private']}:8080/")
    assert refused[0] == 502
    assert "refused" in refused[1]


def test_logs_are_kept_followed_and_cut(room: Room) -> None:
    code = "import time\nfor n in range(5): print('line', n, flush=True); time.sleep(0.3)"
    room.kubectl.apply(pod("talker", script(code), restartPolicy="Never"))
    eventually(lambda: room.get("talker")["status"]["phase"], lambda p: p != "Pending", 120, "talker runs")
    with room.follow("talker") as following:
        assert following.stdout is not None
        assert following.stdout.read().splitlines() == [f"line {n}" for n in range(5)]
    room.phase("talker", "Succeeded")
    assert room.kubectl("logs", "talker", "--tail=2").splitlines() == ["line 3", "line 4"]
    stamped = room.kubectl("logs", "talker", "--timestamps", "--tail=1")
    assert stamped.split(" ", 1)[1] == "line 4\n"
    assert stamped.startswith("20")
    with pytest.raises(Refused, match="previous terminated container"):
        room.kubectl("logs", "talker", "--previous")


def test_an_inference_service_with_a_model_becomes_ready_and_answers(room: Room) -> None:
    room.kubectl.apply(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "hello"},
            "spec": {
                "predictor": {
                    "containers": [
                        {
                            **echo("kserve-container"),
                            "env": [{"name": "STORAGE_URI", "value": "s3://bucket/model"}],
                        }
                    ]
                }
            },
        }
    )
    room.kubectl("wait", "--for=condition=Ready", "inferenceservice/hello", "--timeout=120s", timeout=150)
    code, body = room.fetch("hello-predictor")
    assert (code, json.loads(body)["path"]) == (200, "/")
    code, body = room.fetch("hello-predictor", "/file?/mnt/models/config.json")
    assert (code, json.loads(body)) == (200, {"source": "s3://bucket/model"})
