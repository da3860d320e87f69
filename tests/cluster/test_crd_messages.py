"""The sentence that the real API server answers with, for each form that people bring and that is not taken.

A pattern of the schema would be answered with its regular expression. `tierwise.api.pattern_words` has a sentence for
each, and this compares it whole: what a person reads is the feature.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from playground.handle import Playground
from tests.cluster.api_server import ApiServer
from tests.cluster.crd_spec import external, placed, served
from tests.cluster.crds import installed
from tests.cluster.kubectl import Kubectl
from tests.unit.api.structural import is_word, walk
from tierwise.api.base import API_VERSION
from tierwise.api.crd import definition
from tierwise.api.kinds import GPU_POOL, KINDS, MODEL_ROUTE, MODEL_TIER
from tierwise.api.pattern_words import PATTERNS

pytestmark = pytest.mark.cluster
NAMESPACE = "crd-messages"
_VALUE = re.compile(r"Invalid value: (?:\"(?:[^\"\\]|\\.)*\"): ")


@dataclass(frozen=True)
class Form:
    """What somebody wrote: the spec, the path of the value, what the API server should say of it."""

    spec: dict[str, Any]
    path: str
    says: str
    kind: str = "ModelTier"


def tier(path: str, says: str, spec: dict[str, Any]) -> Form:
    return Form(spec, f"spec.{path}", says)


def route(path: str, says: str, **spec: Any) -> Form:
    return Form({"tiers": [{"name": "small"}], **spec}, f"spec.{path}", says, "ModelRoute")


def pool(path: str, says: str, spec: dict[str, Any]) -> Form:
    return Form(spec, f"spec.{path}", says, "GPUPool")


def version(value: str, says: str) -> Form:
    return tier("engine.version", says, served({"engine": {"version": value}}))


def image(value: str, says: str) -> Form:
    return tier("engine.image", says, served({"engine": {"image": value}}))


def uri(value: str, says: str) -> Form:
    return tier("model.uri", says, served(uri=value))


def argument(value: str, says: str) -> Form:
    return tier("extraArgs[0]", says, served({"extraArgs": [value]}))


def price(value: str, says: str) -> Form:
    return tier("price.gpuHour", says, served({"price": {"gpuHour": value}}))


def memory(value: str, says: str) -> Form:
    return tier("resources.memory", says, served({"resources": {"memory": value}}))


RELEASE = (
    "must be a vLLM release of 0.30, 0.32 or 0.33 with three numbers, e.g. 0.33.0; for a build of your own name the "
    "release that it is made of, and engine.image"
)
IMAGE = "must be a container image without a scheme, e.g. registry.example.com/vllm/vllm-openai:v0.33.0"
URI = "must be hf://ORG/REPO, pvc://CLAIM/PATH, s3://BUCKET/PATH, gs://BUCKET/PATH, oci://IMAGE or https://HOST/PATH"
MONEY = 'must be US dollars in quotes, digits with at most one point, e.g. "2.49"'
QUANTITY = "must be a quantity: a number with at most one unit of m, k, M, G, T, P, Ki, Mi, Gi, Ti, Pi, e.g. 16Gi"
FLAG = "must be one flag with its value, --name=value, its name in lower-case letters, digits and dashes"
NAME = "must be a name of Kubernetes: lower-case letters, digits, '-' and '.', a letter or digit first and last"
WORD = "must be letters, digits, '.', '_', '/' and '-', a letter or digit first"
NAMED = "must be letters, digits, '.', '_', '/', ':' and '-', a letter or digit first"
TIER = "must be lower-case letters, digits and '-', a letter first, a letter or digit last"

ROPE = {"type": "yarn", "factor": "4.0", "originalContextLength": 32768, "theta": "1000000"}
FORMS = (
    version("latest", RELEASE),
    version("0.31.0", RELEASE),
    version("v0.33.0", "a release has no v: write 0.33.0"),
    version("0.33", "a release has three numbers: write 0.33.0"),
    image("docker://vllm/vllm-openai:v0.33.0", "engine.image has no scheme: remove '//' and what stands before it"),
    image("a b:c", IMAGE),
    uri("https://huggingface.co/Qwen/Qwen3-8B", "a page of the hub holds no weights: write hf://ORG/REPO"),
    uri("Qwen/Qwen3-8B", "the scheme is missing: write hf://Qwen/Qwen3-8B for a repository of the hub"),
    uri("/models/qwen3", URI),
    argument("bfloat16", "flag and value are one item of the list: write --name=bfloat16 in place of two"),
    argument("--dtype bfloat16", "a flag has dashes, and = before its value: write --dtype=bfloat16"),
    argument("--max_model_len 4096", "a flag has dashes, and = before its value: write --max-model-len=4096"),
    argument("--max_num_seqs=64", "a flag has dashes, and = before its value: write --max-num-seqs=64"),
    argument("--enforce_eager", "a flag has dashes, and = before its value: write --enforce-eager"),
    argument("-O3", "-O3 is a short form: write the whole name, --name=value"),
    argument("--Seed=7", FLAG),
    argument("--a=b\nc", FLAG),
    price("2,49", 'a decimal point, not a comma: write "2.49"'),
    price("$ 2.49", 'US dollars without a sign: write "2.49"'),
    price("2.49/h", MONEY),
    memory("16GB", "Kubernetes writes no B: write 16G"),
    memory("16 GiB", "Kubernetes writes no B: write 16Gi"),
    memory("much", QUANTITY),
    tier("model.tokenSecretRef.name", "names of Kubernetes have no capitals and no underscores: write hf-token",
         served(tokenSecretRef={"name": "HF_Token"})),
    tier("model.cachePVC", NAME, served(cachePVC="-")),
    tier("model.tokenSecretRef.key", "must be a key of a Secret or ConfigMap: letters, digits, '-', '_' and '.'",
         served(tokenSecretRef={"name": "hf", "key": "a b"})),
    tier("model.name", NAMED, served(name="my chat")),
    tier("model.revision", WORD, served(revision="--help")),
    tier("model.architecture.parameters", "write the unit in capitals: 8B", served(architecture={"parameters": "8b"})),
    tier("model.architecture.parameters",
         'must be a number of parameters, in quotes, with at most one unit of K, M, B, T, e.g. "8B"',
         served(architecture={"parameters": "8 billion"})),
    tier("resources.resourceName", "must be DOMAIN/NAME, e.g. nvidia.com/gpu, nvidia.com/mig-1g.10gb or amd.com/gpu",
         served({"resources": {"resourceName": "gpu"}})),
    tier("placement.nodeSelector[a]",
         "must be the value of a label: letters, digits, '-', '_' and '.', a letter or digit first and last",
         placed(nodeSelector={"a": "b c"})),
    tier("external.baseURL", "the scheme is missing: write https://api.example.com/v1",
         external(baseURL="api.example.com/v1")),
    tier("external.baseURL",
         "must be http:// or https://, a host, and a path without a query, e.g. https://api.example.com/v1",
         external(baseURL="https://api.example.com/v1?key=1")),
    tier("external.model", "must be letters, digits, '.', '_', ':', '/' and '-', a letter or digit first",
         external(model="big model")),
    tier("model.adapters[0].uri", "must be hf://ORG/REPO or pvc://CLAIM/PATH",
         served(adapters=[{"name": "a", "uri": "s3://bucket/a"}])),
    tier("model.adapters[0].uri", "the scheme is missing: write hf://org/a for a repository of the hub",
         served(adapters=[{"name": "a", "uri": "org/a"}])),
    tier("model.overrides.rope.factor", 'must be a number of 1 or more in quotes, e.g. "4.0"',
         served(overrides={"rope": {**ROPE, "factor": "0.5"}})),
    tier("model.overrides.rope.theta", 'must be the rope_theta of config.json in quotes, e.g. "1000000"',
         served(overrides={"rope": {**ROPE, "theta": "1e6"}})),
    pool("gpu.product", "must be the product as the node label nvidia.com/gpu.product says it, e.g. NVIDIA-L40S",
         {"gpu": {"product": "NVIDIA L40S"}}),
    pool("gpu.computeCapability", 'must be a compute capability in quotes, e.g. "8.9"',
         {"gpu": {"computeCapability": "89"}}),
    tier("placement.affinity.required[0].matchExpressions[0].key",
         "must be the name of a label, NAME or DOMAIN/NAME, e.g. nvidia.com/gpu.product",
         placed(affinity={"required": [{"matchExpressions": [{"key": "a b", "operator": "Exists"}]}]})),
    tier("env[0].name", "a variable has no dashes: write NCCL_DEBUG",
         served({"env": [{"name": "NCCL-DEBUG", "value": "INFO"}]})),
    tier("env[0].name", "must be the name of a variable: letters, digits and '_', no digit first",
         served({"env": [{"name": "9", "value": "INFO"}]})),
    tier("modelCache.hostPath", "must be the whole path of a folder, e.g. /mnt/nvme/models",
         served({"modelCache": {"hostPath": "models"}})),
    route("tiers[0].name", TIER, tiers=[{"name": "Small"}]),
    route("policy.cascade.minMeanLogProbability",
          'must be a logarithm of a probability in quotes, zero or below, e.g. "-0.5"',
          policy={"cascade": {"minMeanLogProbability": "0.5"}}),
    route("clients.tenantHeader", "must be the name of a header: letters, digits and '-'",
          clients={"tenantHeader": "X Tenant"}),
    route("budget.timeZone", "must be an IANA name of a time zone, e.g. Europe/Berlin",
          budget={"amount": "5", "timeZone": "Central European Time"}),
    route("budget.amount", 'a decimal point, not a comma: write "5.5"',
          budget={"amount": "5,5"}),
)  # fmt: skip


@pytest.fixture(scope="module")
def kubectl(playground: Playground) -> Iterator[Kubectl]:
    """kubectl in a namespace of these tests, on a cluster that has the CRDs."""
    admin = Kubectl(playground.binaries / "kubectl", playground.kubeconfig)
    with installed(admin, MODEL_TIER), installed(admin, MODEL_ROUTE), installed(admin, GPU_POOL):
        admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        yield admin.within(NAMESPACE)
        admin("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(scope="module")
def server(playground: Playground, kubectl: Kubectl) -> Iterator[ApiServer]:
    """The API server, once it has the CRDs."""
    found = ApiServer(playground.kubeconfig, NAMESPACE)
    yield found
    found.close()


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.path} {form.says}"[:60])
def test_the_sentence_says_what_to_write(server: ApiServer, form: Form) -> None:
    body = {"apiVersion": API_VERSION, "kind": form.kind, "metadata": {"name": "chat"}, "spec": form.spec}
    causes = server.causes(body)
    said = [_VALUE.sub("", message, count=1) for field, message in causes if field == form.path]
    assert said == [form.says]
    assert not [message for _, message in causes if "should match" in message]


def test_every_pattern_has_words_and_every_sentence_a_form() -> None:
    bare, said = set(), set()
    for kind in KINDS:
        spec = definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        for path, node in walk(spec, "spec"):
            if "pattern" in node:
                bare.add(path)
            if is_word(node):
                said |= {rule["message"] for rule in node.get("x-kubernetes-validations", ())}
    assert bare == set()
    assert said == {words.message for words in PATTERNS.values()}
    assert said - {form.says for form in FORMS} == set()
