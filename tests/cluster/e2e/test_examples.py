"""Checks that every example does what its README says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
import yaml

from playground.handle import Playground
from tests.cluster.e2e.audit import AuditLog
from tests.cluster.e2e.load import closed_loop
from tests.cluster.e2e.record import recorded
from tests.cluster.kubectl import Kubectl, Object, columns, conditions, eventually, has, ready
from tests.unit.router.router_process import router
from tests.unit.simulator.processes import vllm

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("release")]
EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
START = 180.0


@pytest.fixture
def new_namespace(admin: Kubectl, restricted: Callable[[str], None]) -> Iterator[Callable[[str], Kubectl]]:
    """As everywhere, but deleted after each example: what one has left running would take the next one's GPUs."""
    made: list[str] = []

    def make(name: str) -> Kubectl:
        restricted(name)
        made.append(name)
        return admin.within(name)

    yield make
    for name in made:
        admin("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def _apply(kubectl: Kubectl, example: str) -> None:
    kubectl("apply", "-f", str(EXAMPLES / example))


def _ask(playground: Playground, tier: Object, prompt: str) -> Object:
    """One chat completion through the tier's own URL."""
    proxies = {"http": playground.proxy_url}
    body = {
        "model": tier["spec"]["model"]["name"],
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": 32,
    }
    answer = requests.post(f"{tier['status']['url']}/chat/completions", json=body, proxies=proxies, timeout=60)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_01_a_small_tier_answers(playground: Playground, new_namespace: Callable[[str], Kubectl]) -> None:
    kubectl = new_namespace("example-01")
    _apply(kubectl, "01-small-tier")
    tier = ready(kubectl, "small", 1, START)
    assert _ask(playground, tier, "What is the capital of France?")["usage"]["completion_tokens"] > 0
    service = kubectl.get("inferenceservice", "small")
    assert service is not None
    owner = service["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"]) == ("ModelTier", tier["metadata"]["uid"])
    columns = kubectl("get", "mt", "small").splitlines()
    assert columns[0].split()[:4] == ["NAME", "MODEL", "READY", "DESIRED"]


def test_02_two_tiers_differ_in_quantization_and_place(new_namespace: Callable[[str], Kubectl]) -> None:
    kubectl = new_namespace("example-02")
    _apply(kubectl, "02-two-tiers")
    fast, strong = ready(kubectl, "fast", 1, START), ready(kubectl, "strong", 1, START)
    assert fast["status"]["quantization"] != strong["status"]["quantization"]
    (fast_pod,), (strong_pod,) = kubectl.pods("fast"), kubectl.pods("strong")
    assert fast_pod["spec"]["nodeName"] != strong_pod["spec"]["nodeName"]
    assert "--quantization=fp8_per_channel" in " ".join(
        strong_pod["spec"]["containers"][0]["command"] + _args(strong_pod)
    )


def _args(pod: Object) -> list[str]:
    return list(pod["spec"]["containers"][0].get("args", []))


def test_03_the_status_shows_what_speculation_and_the_prefix_cache_earn(
    playground: Playground, new_namespace: Callable[[str], Kubectl]
) -> None:
    kubectl = new_namespace("example-03")
    _apply(kubectl, "03-speculation-and-prefix-caching")
    tier = ready(kubectl, "assistant", 1, START)
    prompt = "You are a patient assistant who answers in one sentence. " * 20

    def earned() -> Object:
        for question in ("Why?", "How?", "When?"):
            _ask(playground, tier, prompt + question)
        return kubectl.tier("assistant")

    shown = eventually(
        earned,
        lambda tier: tier["status"].get("prefixHitPercent", 0) > 0 and tier["status"].get("acceptedPercent", 0) > 0,
        START,
        "prefix hits and accepted drafts are shown",
    )["status"]
    assert shown["prefixHitPercent"] <= 100
    assert shown["acceptedPercent"] <= 100
    # A rate is believed once its window of a minute is full of samples: until then the state is Unknown.
    drafting = eventually(
        earned, lambda tier: tier["status"]["speculation"]["state"] == "Drafting", START, "the tier is seen to draft"
    )["status"]["speculation"]
    assert drafting["draftedPerSecond"] > 0


def test_04_no_pod_is_ever_made_for_a_tier_pinned_at_zero_and_scale_and_unpinning_work(
    playground: Playground, new_namespace: Callable[[str], Kubectl]
) -> None:
    kubectl = new_namespace("example-04")
    made = AuditLog(playground.audit_log, "system:serviceaccount:kube-system:replicaset-controller")
    _apply(kubectl, "04-pinned-and-zero")
    eventually(
        lambda: kubectl.tier("nightly"),
        lambda tier: conditions(tier).get("Ready", {}).get("reason") == "ScaledToZero",
        START,
        "the tier says that zero is intended",
    )
    eventually(lambda: kubectl.get("deployment", "nightly-predictor"), bool, START, "everything else is in place")
    time.sleep(5)
    created = [request for request in made.requests() if (request.verb, request.resource) == ("create", "pods")]
    assert [request for request in created if request.namespace == kubectl.namespace] == []

    with recorded(kubectl, "deployment", "nightly-predictor", ".spec.replicas") as replicas:
        kubectl("scale", "modeltier", "nightly", "--replicas=2")
        assert ready(kubectl, "nightly", 2, START)["status"]["limitedBy"] == "Pinned"
        kubectl("scale", "modeltier", "nightly", "--replicas=0")
        eventually(lambda: kubectl.pods("nightly"), lambda pods: not pods, START, "no pods are left")
        kubectl("patch", "modeltier", "nightly", "--type=json", "-p", '[{"op": "remove", "path": "/spec/replicas"}]')
        ready(kubectl, "nightly", 1, START)
        assert replicas.values == [0, 2, 0, 1]


def test_05_an_external_tier_needs_nothing_here(new_namespace: Callable[[str], Kubectl]) -> None:
    kubectl = new_namespace("example-05")
    _apply(kubectl, "05-external-tier")
    (name,) = [tier["metadata"]["name"] for tier in kubectl.find("modeltiers")]
    eventually(lambda: kubectl.tier(name), lambda tier: has(tier, "Ready", "True"), START, "an external tier is ready")
    assert kubectl.find("inferenceservices") == []
    assert kubectl.find("pods") == []


def test_13_the_pod_is_what_the_company_asks_for_and_answers_to_an_old_name(
    playground: Playground, new_namespace: Callable[[str], Kubectl]
) -> None:
    kubectl = new_namespace("example-13")
    _apply(kubectl, "13-in-a-companys-cluster")
    tier = ready(kubectl, "support", 1, START)
    (pod,) = kubectl.find("pods", "example.com/cost-centre=4711")
    assert pod["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
    node = kubectl.get("node", pod["spec"]["nodeName"])
    assert node is not None
    assert node["metadata"]["labels"]["nvidia.com/gpu.product"] == "NVIDIA-L4"
    (engine,) = pod["spec"]["containers"]
    variables = {each["name"]: each for each in engine["env"]}
    assert variables["NO_PROXY"]["valueFrom"]["configMapKeyRef"]["name"] == "network"
    assert (engine["resources"]["limits"]["cpu"], engine["resources"]["requests"]["cpu"]) == ("8", "4")
    old = {**tier, "spec": {"model": {"name": "gpt-4o-mini"}}}
    assert _ask(playground, old, "Hello?")["usage"]["completion_tokens"] > 0

    kubectl("patch", "mt", "support", "--type=json", "-p", '[{"op": "remove", "path": "/spec/podMetadata/labels"}]')
    gone = eventually(
        lambda: kubectl.get("inferenceservice", "support") or {},
        lambda service: "labels" not in service["spec"]["predictor"],
        START,
        "a label that leaves the tier leaves the object",
    )
    assert gone["spec"]["predictor"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"


def test_06_rules_choose_the_tier_behind_one_endpoint(
    playground: Playground, new_namespace: Callable[[str], Kubectl]
) -> None:
    kubectl = new_namespace("example-06")
    _apply(kubectl, "06-route-by-rules")

    def shown() -> Object:
        found = kubectl.get("modelroute", "chat")
        assert found is not None
        return found

    route = eventually(shown, lambda route: has(route, "Ready", "True", "RouteReady"), START, "the route is ready")
    url, proxies = f"{route['status']['url']}/chat/completions", {"http": playground.proxy_url}
    body = {"model": "chat", "messages": [{"role": "user", "content": "Why?"}], "max_tokens": 8}
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    for fields, tier in (({}, "fast"), ({"tools": [tool]}, "strong"), ({"model": "strong"}, "strong")):
        answer = requests.post(url, json={**body, **fields}, proxies=proxies, timeout=60)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-tierwise-tier"] == tier


KEY = "key-of-the-provider"


def _provider() -> list[Object]:
    """An OpenAI-compatible API that asks for a key: an engine that is no tier, behind a Service of its own."""
    labels = {"app": "provider"}
    container = {
        "name": "api",
        "image": "vllm/vllm-openai:v0.33.0",
        "args": ["Qwen/Qwen3-8B", "--served-model-name=gpt-4.1-mini", f"--api-key={KEY}", "--port=8000"],
        "ports": [{"name": "api", "containerPort": 8000}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": "api"}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 2000, "seccompProfile": {"type": "RuntimeDefault"}}
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "provider", "labels": labels},
            "spec": {"containers": [container], "securityContext": security, "terminationGracePeriodSeconds": 1},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "provider"},
            "spec": {"selector": labels, "ports": [{"name": "api", "port": 80, "targetPort": "api"}]},
        },
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "openai"}, "stringData": {"token": KEY}},
    ]


def test_07_what_does_not_fit_spills_to_the_external_api_until_the_cap_is_reached(
    playground: Playground, new_namespace: Callable[[str], Kubectl]
) -> None:
    """The example's own files, but for the provider's address, and one replica at most, so that it stays full."""
    kubectl = new_namespace("example-07")
    folder = EXAMPLES / "07-spill-under-a-cap"
    small, hosted = yaml.safe_load_all((folder / "tiers.yaml").read_text(encoding="utf-8"))
    small["spec"]["scaling"]["maxReplicas"] = 1
    hosted["spec"]["external"]["baseURL"] = f"http://provider.{kubectl.namespace}.svc.cluster.local/v1"
    kubectl.apply(*_provider(), small, hosted, yaml.safe_load((folder / "route.yaml").read_text(encoding="utf-8")))
    route = eventually(
        lambda: kubectl.get("modelroute", "chat") or {},
        lambda route: has(route, "Ready", "True", "RouteReady") and route["status"].get("ready") == "2/2",
        START,
        "the route is ready",
    )
    kubectl("wait", "--for=condition=Ready", "pod/provider", "--timeout=180s", timeout=210)
    url, proxies = f"{route['status']['url']}/chat/completions", {"http": playground.proxy_url}

    def ask(model: str = "chat", max_tokens: int = 4) -> tuple[int, str | None, str | None]:
        body = {"model": model, "messages": [{"role": "user", "content": "Why?"}], "max_tokens": max_tokens}
        answer = requests.post(url, json=body, proxies=proxies, timeout=120)
        return answer.status_code, answer.headers.get("x-tierwise-tier"), answer.headers.get("x-tierwise-reason")

    def refused_by_the_cap() -> float:
        pods = kubectl.find("pods", "tierwise.io/route=chat")
        pages = [
            requests.get(f"http://{pod['status']['podIP']}:9090/metrics", proxies=proxies, timeout=10) for pod in pods
        ]
        lines = [line for page in pages for line in page.text.splitlines()]
        told = 'tierwise_router_refused_total{reason="spill_cap",tier="hosted"}'
        return sum(float(line.split()[-1]) for line in lines if line.startswith(told))

    assert ask() == (200, "small", "Default")
    eventually(lambda: ask("hosted"), lambda seen: seen == (200, "hosted", "Direct"), START, "the provider answers")
    with ThreadPoolExecutor(96) as pool:
        # By its own name: these never spill. One replica decodes 16 together, the rest waits there.
        filling = [pool.submit(ask, "small", 400) for _ in range(48)]
        time.sleep(3)  # the routers ask an engine every second how many wait in it
        seen = eventually(ask, lambda answer: answer[1] != "small", 30, "small is full, and the API answers")
        assert seen == (200, "hosted", "Spill")
        assert refused_by_the_cap() == 0
        cap = '{"spec": {"overflow": {"maxCostPerHour": "0.000001"}}}'
        kubectl("patch", "modelroute", "chat", "--type=merge", "-p", cap)

        def held_back() -> float:
            waiting.append(pool.submit(ask))
            return refused_by_the_cap()

        waiting: list[Future[tuple[int, str | None, str | None]]] = []
        eventually(held_back, lambda count: count > 0, 30, "the cap holds requests back")
        capped = [pool.submit(ask) for _ in range(4)]
        assert {answer.result()[1] for answer in capped} == {"small"}
        assert {answer.result() for answer in filling} == {(200, "small", "Direct")}


def test_08_an_idle_tier_is_at_zero_and_a_request_starts_it(
    playground: Playground, new_namespace: Callable[[str], Kubectl]
) -> None:
    kubectl = new_namespace("example-08")
    _apply(kubectl, "08-from-zero")
    ready(kubectl, "rare", 1, START)
    route = eventually(
        lambda: kubectl.get("modelroute", "chat") or {}, lambda seen: has(seen, "Ready", "True"), START, "the route"
    )
    kubectl("patch", "modeltier", "rare", "--type=merge", "-p", '{"spec": {"scaling": {"idleSeconds": 10}}}')
    eventually(lambda: kubectl.tier("rare"), lambda tier: has(tier, "Ready", "False", "Idle"), START, "nobody wants it")
    eventually(lambda: kubectl.pods("rare"), lambda pods: not pods, START, "no pods are left")
    body = {"model": "chat", "messages": [{"role": "user", "content": "Why?"}], "max_tokens": 8}
    url, proxies = f"{route['status']['url']}/chat/completions", {"http": playground.proxy_url}
    answer = requests.post(url, json=body, proxies=proxies, timeout=START)
    assert (answer.status_code, answer.headers.get("x-tierwise-tier")) == (200, "rare"), answer.text


def test_09_a_route_from_a_file_is_served_without_a_cluster(tmp_path: Path) -> None:
    """The example's own file, with the addresses of engines that run here in place of its fixed ports."""
    given = yaml.safe_load((EXAMPLES / "09-router-from-a-file/route.yaml").read_text(encoding="utf-8"))
    with vllm() as one, vllm() as two, vllm() as three:
        urls = iter([one.url, two.url, three.url])
        for tier in given["tiers"]:
            tier |= {"servers": [next(urls) for _ in tier["servers"]], "model": "chat"}
        with router(given, tmp_path) as process:
            body = {"model": "chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
            long = {"messages": [{"role": "user", "content": "word " * 4000}]}
            for fields, tier in (({}, "small"), (long, "large"), ({"model": "large"}, "large")):
                answer = requests.post(f"{process.url}/v1/chat/completions", json={**body, **fields}, timeout=60)
                assert (answer.status_code, answer.headers["x-tierwise-tier"]) == (200, tier), answer.text
            one.process.kill()
            again = [requests.post(f"{process.url}/v1/chat/completions", json=body, timeout=60) for _ in range(4)]
            assert [answer.status_code for answer in again] == [200] * 4
            assert process.metrics()['tierwise_router_cost_usd_total{tier="small"}'] > 0


def test_11_a_classifier_that_was_trained_on_the_labels_chooses_the_tier(
    playground: Playground, new_namespace: Callable[[str], Kubectl], tmp_path: Path
) -> None:
    kubectl, folder = new_namespace("example-11"), EXAMPLES / "11-classifier"
    manifest = tmp_path / "classifier.yaml"
    command = ["train", str(folder / "labels.jsonl"), "--route", "chat", "--out", str(manifest)]
    subprocess.run([sys.executable, "-m", "tierwise_cli", *command], check=True, capture_output=True, timeout=300)
    kubectl("apply", "-f", str(folder / "tiers.yaml"), "-f", str(folder / "route.yaml"))

    def shown() -> Object:
        found = kubectl.get("modelroute", "chat")
        assert found is not None
        return found

    def ask(prompt: str) -> tuple[str, str]:
        body = {"model": "chat", "messages": [{"role": "user", "content": prompt}], "max_tokens": 8}
        answer = requests.post(f"{url}/chat/completions", json=body, proxies=proxies, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.headers["x-tierwise-tier"], answer.headers["x-tierwise-reason"]

    asked = [json.loads(line) for line in (folder / "labels.jsonl").read_text(encoding="utf-8").splitlines()]
    easy, hard = (pick(asked, key=lambda each: len(each["prompt"]))["prompt"] for pick in (min, max))
    route = eventually(shown, lambda route: conditions(route).get("Ready", {}).get("status") == "True", START, "ready")
    url, proxies = route["status"]["url"], {"http": playground.proxy_url}
    eventually(shown, lambda route: has(route, "ClassifierReady", "False", "ClassifierMissing"), START, "it is missing")
    assert ask(hard) == ("fast", "Default")
    kubectl("apply", "--server-side", "-f", str(manifest))
    eventually(lambda: ask(hard), lambda answered: answered == ("strong", "Classified"), 150, "the weights are read")
    # Each of the two routers reads them when its kubelet brings them.
    eventually(lambda: ask(easy), lambda answered: answered == ("fast", "Classified"), 150, "easy ones stay")
    ready_route = eventually(
        shown, lambda route: has(route, "ClassifierReady", "True", "ClassifierServes"), 150, "the route says so"
    )
    told = ready_route["status"]["classifier"]
    assert (told["configMapName"], told["labels"], told["mode"]) == ("chat-classifier", len(asked), "Act")
    assert 0 < told["neededSharePercent"] == told["sharePercent"] < 100
    assert float(told["qualityLowerPercent"]) >= 95


def test_10_what_is_simulated_is_what_a_cluster_takes(new_namespace: Callable[[str], Kubectl]) -> None:
    kubectl = new_namespace("example-10")
    folder = EXAMPLES / "10-what-would-it-cost"
    taken = kubectl("create", "--dry-run=server", "-f", str(folder), "-o", "name").split()
    command = [sys.executable, "-m", "tierwise_cli", "simulate", "-f", str(folder)]
    asked = ["--trace", str(folder / "usage.csv"), "--from", "36000", "--until", "36300", "-o", "json"]
    done = subprocess.run([*command, *asked], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    simulated = {f"modeltier.tierwise.io/{tier['name']}" for tier in result["tiers"]}
    assert simulated | {"modelroute.tierwise.io/chat"} == set(taken)
    assert result["total"]["requests"]["arrived"] == result["setup"]["arrivals"] > 0
    assert float(result["total"]["dollars"]) > 0


def test_12_two_tiers_share_one_budget_by_priority(
    playground: Playground, new_namespace: Callable[[str], Kubectl]
) -> None:
    kubectl, folder = new_namespace("example-12"), EXAMPLES / "12-one-budget"

    def replicas() -> list[int]:
        found = [kubectl.get("deployment", f"{name}-predictor") for name in ("chat", "batch")]
        return [0 if each is None else int(each["spec"]["replicas"]) for each in found]

    kubectl("apply", "-f", str(folder / "pool.yaml"), "-f", str(folder / "tiers.yaml"))
    try:
        for name in ("chat", "batch"):
            ready(kubectl, name, 1, START)
        with closed_loop(playground, kubectl.namespace, {"chat": 20, "batch": 20}):
            eventually(replicas, lambda seen: seen == [2, 1], START, "the third GPU is chat's")
            for name in ("chat", "batch"):
                eventually(
                    lambda name=name: kubectl.tier(name),  # type: ignore[misc]
                    lambda seen: has(seen, "ScalingLimited", "True", "Budget"),
                    START,
                    f"{name} says what limits it",
                )
        head, row = kubectl("get", "gpupool", "l4").splitlines()
        assert columns(head, row)["BUDGET"] == "3 GPUs"
    finally:
        kubectl("delete", "-f", str(folder / "tiers.yaml"), "-f", str(folder / "pool.yaml"))


def test_14_one_tier_runs_in_two_pools_and_moves(new_namespace: Callable[[str], Kubectl]) -> None:
    kubectl, folder = new_namespace("example-14"), EXAMPLES / "14-two-pools"
    kubectl("apply", "-f", str(folder / "pools.yaml"), "-f", str(folder / "tier.yaml"))
    try:
        ready(kubectl, "chat", 1, START)
        kubectl("scale", "modeltier", "chat", "--replicas=3")
        ready(kubectl, "chat", 3, START)
        head, row = kubectl("get", "mt", "chat", "-o", "wide").splitlines()
        assert columns(head, row)["POOLS"] == "l4 2/2, h100 1/1"
        patch = '{"spec": {"pools": [{"name": "h100"}], "replicas": 1}}'
        kubectl("patch", "modeltier", "chat", "--type=merge", "-p", patch)
        eventually(
            lambda: [each["metadata"]["name"] for each in kubectl.find("inferenceservices")],
            lambda names: names == ["chat-h100"],
            2 * START,
            "the old pool's InferenceService is gone",
        )
        ready(kubectl, "chat", 1, START)
    finally:
        kubectl("delete", "-f", str(folder / "tier.yaml"), "-f", str(folder / "pools.yaml"))


def test_every_example_has_a_test_here() -> None:
    numbers = {path.name[:2] for path in EXAMPLES.iterdir() if path.is_dir()}
    tested = {name[5:7] for name in globals() if re.match(r"test_\d\d_", name)}
    assert tested == numbers
