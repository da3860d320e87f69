"""Checks that pods in the playground start, fail, restart and end as with a real kubelet, at the same times."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from playground.handle import Playground
from playground.kubelet.model import parse_timestamp
from tests.cluster.kubectl import Object, eventually
from tests.cluster.pods import Room, echo, new_room, pod, script, service

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def room(playground: Playground) -> Iterator[Room]:
    with new_room(playground, "lifecycle") as made:
        yield made


def http(path: str, **fields: object) -> Object:
    # A second, as by default, is too short on a busy machine: a probe that is late is a failure.
    return {"httpGet": {"path": path, "port": "http"}, "periodSeconds": 1, "timeoutSeconds": 10, **fields}


def condition(item: Object, kind: str) -> str:
    return next((str(c["status"]) for c in item["status"].get("conditions", []) if c["type"] == kind), "")


def first(item: Object) -> Object:
    return dict(item["status"]["containerStatuses"][0])


def test_readiness_follows_the_probe_and_the_endpoint_follows_readiness(room: Room) -> None:
    room.kubectl.apply(service("probed"))
    room.ready(pod("probed", echo(readinessProbe=http("/readyz", failureThreshold=1))))
    eventually(lambda: room.fetch("probed")[0], lambda code: code == 200, 120, "the Service answers")
    assert room.fetch("probed", "/unready")[0] == 200
    eventually(lambda: condition(room.get("probed"), "Ready"), lambda s: s == "False", 120, "not ready")
    assert first(room.get("probed"))["restartCount"] == 0
    address = room.get("probed")["status"]["podIP"]
    room.ready(pod("asker", echo()))
    room.kubectl.apply(service("asker"))
    eventually(lambda: room.fetch("asker")[0], lambda code: code == 200, 120, "the asker answers")
    # Its Service has no endpoint any more and refuses; the pod itself still answers.
    refused = room.from_pod("asker", "http://probed/")
    assert refused[0] == 502
    assert "refused" in refused[1]
    assert room.from_pod("asker", f"http://{address}:8080/ready")[0] == 200
    room.wait("probed", "condition=Ready")


def test_liveness_restarts_the_container_in_its_pod(room: Room) -> None:
    room.kubectl.apply(service("lively"))
    room.ready(pod("lively", echo(livenessProbe=http("/healthz", failureThreshold=2))))
    before = room.get("lively")["status"]
    eventually(lambda: room.fetch("lively", "/fail")[0], lambda code: code == 200, 120, "the Service answers")
    after = eventually(
        lambda: room.get("lively"),
        lambda p: first(p)["restartCount"] == 1 and first(p)["ready"],
        120,
        "restarted",
    )
    assert after["status"]["podIP"] == before["podIP"]
    assert first(after)["lastState"]["terminated"]["exitCode"] == 0
    assert "signal 15" in room.kubectl("logs", "lively", "--previous")


def test_a_startup_probe_holds_the_others_back_and_its_failure_restarts(room: Room) -> None:
    never = {"tcpSocket": {"port": 9999}, "periodSeconds": 1, "failureThreshold": 2}
    slow = {"exec": {"command": ["python3", "-c", "import os; os.stat('/tmp/up')"]}, "periodSeconds": 1}
    code = "import time; time.sleep(1.5); open('/tmp/up', 'w'); time.sleep(60)"
    room.kubectl.apply(
        pod("dead", echo(startupProbe=never, readinessProbe=http("/readyz"))),
        pod("slow", script(code, startupProbe={**slow, "failureThreshold": 120, "timeoutSeconds": 10})),
    )
    eventually(lambda: room.get("dead"), lambda p: first(p)["restartCount"] >= 1, 120, "restarted")
    assert first(room.get("dead"))["ready"] is False
    item = room.wait("slow", "condition=Ready")
    ready = next(c for c in item["status"]["conditions"] if c["type"] == "Ready")["lastTransitionTime"]
    started = first(item)["state"]["running"]["startedAt"]
    assert 1 <= (parse_timestamp(ready) - parse_timestamp(started)).total_seconds() <= 30


def test_deletion_is_prestop_then_term_then_kill_and_as_ready_as_the_probe_says(room: Room) -> None:
    hook = {"preStop": {"sleep": {"seconds": 2}}}
    stubborn = echo(args=["--ignore-term"], lifecycle=hook, readinessProbe=http("/readyz", failureThreshold=1))
    room.kubectl.apply(service("stubborn"))
    room.ready(pod("stubborn", stubborn, terminationGracePeriodSeconds=12))
    with room.follow("stubborn") as following:
        began = time.monotonic()
        room.kubectl("delete", "pod", "stubborn", "--wait=false")
        leaving = room.get("stubborn")
        assert condition(leaving, "Ready") == "True"
        assert "running" in first(leaving)["state"]
        assert room.fetch("stubborn", "/unready")[0] == 200, "a Service that has no other endpoint uses this one"
        eventually(lambda: condition(room.get("stubborn"), "Ready"), lambda s: s == "False", 10, "watched to the end")
        room.gone("stubborn")
        took = time.monotonic() - began
        assert following.stdout is not None
        assert "signal 15" in following.stdout.read()
    assert 11.5 <= took <= 20, "killed when its time was over"


def test_a_hook_runs_before_the_signal_and_a_polite_end_is_quick(room: Room) -> None:
    hook = "print('hook', file=open('/proc/1/fd/1', 'w'))"
    code = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("signal", flush=True), sys.exit(0)))
print("up", flush=True)
while True: time.sleep(1)
"""
    polite = {
        "polite": echo(lifecycle={"preStop": {"httpGet": {"path": "/hook", "port": "http"}}}),
        "handy": script(code, lifecycle={"preStop": {"exec": {"command": ["python3", "-c", hook]}}}),
    }
    room.ready(*(pod(name, container, terminationGracePeriodSeconds=150) for name, container in polite.items()))
    for name in polite:
        with room.follow(name) as following:
            assert following.stdout is not None
            assert following.stdout.readline(), "kubectl follows before the pod goes"
            began = time.monotonic()
            room.kubectl("delete", "pod", name, timeout=180)
            assert time.monotonic() - began < 120, "long before its time is over"
            lines = following.stdout.read().splitlines()
        told = [line for line in lines if "hook" in line or "signal" in line]
        assert ["hook" in told[0], "signal" in told[1]] == [True, True], lines


def test_a_shorter_grace_period_counts_even_later(room: Room) -> None:
    room.ready(pod("patient", echo(args=["--ignore-term"]), terminationGracePeriodSeconds=600))
    room.kubectl("delete", "pod", "patient", "--wait=false")
    time.sleep(1)
    room.kubectl("delete", "pod", "patient", "--wait=false", "--grace-period=2")
    room.gone("patient", 120)
    room.ready(pod("forced", echo(args=["--ignore-term"]), terminationGracePeriodSeconds=600))
    address = room.get("forced")["status"]["podIP"]
    room.kubectl("delete", "pod", "forced", "--force", "--grace-period=0")
    room.kubectl.apply(service("asker"))
    room.ready(pod("asker", echo()))
    gone = eventually(
        lambda: room.from_pod("asker", f"http://{address}:8080/"),
        lambda answer: answer[0] == 502,
        120,
        "its process is gone too",
    )
    assert gone[0] == 502


def test_a_crash_loop_backs_off_and_says_why(room: Room) -> None:
    code = "import sys; open('/dev/termination-log','w').write('no such model'); print('dying'); sys.exit(3)"
    room.kubectl.apply(pod("crasher", script(code)))
    status = room.state("crasher", "CrashLoopBackOff")
    message = status["state"]["waiting"]["message"]
    assert message.startswith("back-off 10s restarting failed container=main pod=crasher_")
    ended = status["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (3, "Error", "no such model")
    assert status["restartCount"] == 1
    assert room.get("crasher")["status"]["phase"] == "Running"
    assert room.kubectl("logs", "crasher", "--previous") == "dying\n"
    eventually(lambda: first(room.get("crasher"))["restartCount"], lambda n: n == 2, 120, "tried again")


def test_the_last_words_become_the_message(room: Room) -> None:
    code = "print('ValueError: max_model_len'); raise SystemExit(1)"
    room.kubectl.apply(
        pod("words", script(code, terminationMessagePolicy="FallbackToLogsOnError"), restartPolicy="Never"),
        pod(
            "memory",
            script("open('/dev/termination-log','w').write('OOMKilled'); import os; os._exit(137)"),
            restartPolicy="Never",
        ),
        pod("nothing", {"name": "main", "image": "playground/python", "command": ["nothing"]}, restartPolicy="Never"),
    )
    words = first(room.phase("words", "Failed"))["state"]["terminated"]
    assert (words["exitCode"], words["message"]) == (1, "ValueError: max_model_len\n")
    memory = first(room.phase("memory", "Failed"))["state"]["terminated"]
    assert (memory["exitCode"], memory["reason"]) == (137, "OOMKilled")
    nothing = first(room.phase("nothing", "Failed"))["state"]["terminated"]
    assert (nothing["exitCode"], nothing["reason"]) == (128, "StartError")
    assert 'exec: "nothing": executable file not found in $PATH' in nothing["message"]


def test_init_containers_run_in_turn_and_a_sidecar_keeps_running(room: Room) -> None:
    item = pod(
        "staged",
        script("import os; print(sorted(os.listdir('/w')))", volumeMounts=[{"name": "w", "mountPath": "/w"}]),
        initContainers=[
            {**echo("helper"), "restartPolicy": "Always", "startupProbe": http("/healthz")},
            script("open('/w/one','w')", name="one", volumeMounts=[{"name": "w", "mountPath": "/w"}]),
            script(
                "import os; os.stat('/w/one'); open('/w/two','w')",
                name="two",
                volumeMounts=[{"name": "w", "mountPath": "/w"}],
            ),
        ],
        volumes=[{"name": "w", "emptyDir": {}}],
    )
    assert "['one', 'two']" in room.output(item)
    statuses = room.get("staged")["status"]["initContainerStatuses"]
    assert [s["name"] for s in statuses] == ["helper", "one", "two"]
    room.kubectl.apply(
        pod("stuck", echo(), initContainers=[script("raise SystemExit(1)", name="broken")], restartPolicy="Never")
    )
    failed = room.phase("stuck", "Failed")
    assert condition(failed, "Initialized") == "False"
    assert first(failed)["state"] == {"waiting": {"reason": "PodInitializing"}}


def test_a_job_is_complete_when_its_pod_succeeds(room: Room) -> None:
    code = "import os, sys; sys.exit(0)"
    template = {"spec": {"restartPolicy": "Never", "containers": [script(code)]}}
    room.kubectl.apply(
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {"template": template}}
    )
    room.kubectl("wait", "--for=condition=Complete", "job/job", "--timeout=120s", timeout=150)
    finished = room.kubectl.get("job", "job")
    assert finished is not None
    assert finished["status"]["succeeded"] == 1
    assert "failed" not in finished["status"]


def test_a_kubelet_that_was_killed_takes_its_containers_along_and_starts_them_again(room: Room) -> None:
    room.ready(pod("survivor", echo()), pod("once", echo(), restartPolicy="Never"))
    room.playground.control("kill", "kubelet")
    room.playground.control("start", "kubelet")
    again = eventually(
        lambda: room.get("survivor"), lambda p: first(p)["restartCount"] == 1 and first(p)["ready"], 120, "again"
    )
    assert first(again)["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
    lost = first(room.phase("once", "Failed"))["state"]["terminated"]
    assert (lost["exitCode"], lost["reason"]) == (137, "ContainerStatusUnknown")


def test_an_outage_of_the_api_server_costs_no_pod(room: Room) -> None:
    room.ready(pod("steady", echo(readinessProbe=http("/readyz"))))
    before = first(room.get("steady"))
    room.playground.control("stop", "kube-apiserver")
    time.sleep(3)
    room.playground.control("start", "kube-apiserver")
    room.wait("steady", "condition=Ready")
    assert first(room.get("steady"))["containerID"] == before["containerID"]
    room.kubectl.apply(pod("after", echo()))
    room.wait("after", "condition=Ready")
