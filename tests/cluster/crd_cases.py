"""Lists ModelTiers that the API server must accept, and those that it must refuse, with the message.

Every case is a small change of a plain spec. `RULES` holds, for each CEL rule, one object that only this rule refuses;
`REFUSED` what the schema refuses; `ACCEPTED` what must pass.
"""

from __future__ import annotations

from typing import Any

from tests.cluster.crd_spec import HF, PVC, Case, Spec, external, placed, served

DIGEST = "sha256:" + "0123456789abcdef" * 4
CPU: Spec = {"engine": {"image": "vllm/vllm-openai-cpu:v0.33.0"}}
STEPS = [{"fromBatch": 1, "tokens": 4}, {"fromBatch": 8, "tokens": 2}, {"fromBatch": 32, "tokens": 0}]


def drafting(method: str, **more: Any) -> Spec:
    """A tier with speculation."""
    return {"speculation": {"mode": "Enabled", "method": method, **more}}


ACCEPTED = (
    Case("plain", served()),
    Case("longest name", served(), name="a" * 40),
    Case("one letter", served(), name="c"),
    Case("name with dashes and digits", served(), name="chat-8b-v2"),
    Case("revision, token and cache of the hub", served(
        revision="a" * 40, tokenSecretRef={"name": "hf", "key": "HF_TOKEN"}, cachePVC="hub")),
    Case("repository without organisation", served(uri="hf://gpt2")),
    Case("claim", served(uri=PVC, serviceAccountName="reader")),
    Case("bucket", served(uri="s3://models/qwen3/8b", serviceAccountName="reader")),
    Case("google bucket", served(uri="gs://models/qwen3")),
    Case("model car", served(uri="oci://registry.example.com/models/qwen3:8b")),
    Case("older engine", served({"engine": {"version": "0.30.1"}})),
    Case("image with a port and a tag", served({"engine": {"image": "registry.example.com:5000/vllm/vllm:v0.33.0"}})),
    Case("image by digest", served({"engine": {"image": f"registry.example.com/vllm@{DIGEST}"}})),
    Case("online quantization", served({"quantization": {"method": "fp8_per_block", "kvCacheDtype": "fp8"}})),
    Case("method prepared while disabled", served({"speculation": {"method": "ngram"}})),
    Case("n-gram", served(drafting("ngram", tokens=3))),
    Case("draft model", served(drafting("draft_model", draftModel="Qwen/Qwen3-0.6B"))),
    Case("schedule", served({"speculation": {"mode": "Auto", "method": "mtp", "schedule": STEPS}})),
    Case("medusa before 0.33", served({"engine": {"version": "0.32.0"}, **drafting("medusa", draftModel="a/b")})),
    Case("suffix decoding", served(drafting("suffix", tokens=16))),
    Case("no prefix cache, offload", served({"caching": {"prefix": "Disabled", "kvOffloadGiB": 64}})),
    Case("small batch", served({"batching": {"maxSequences": 32, "maxBatchedTokens": 32, "maxQueuedRequests": 32}})),
    Case("four GPUs", served({"resources": {"gpus": 4}, "parallelism": {"tensor": 2, "pipeline": 2}})),
    Case("no GPU", served({"resources": {"gpus": 0, "cpu": 2, "memory": "512Mi", "sharedMemory": "64Mi"}, **CPU})),
    Case("no GPU, two sockets", served({"resources": {"gpus": 0}, "parallelism": {"tensor": 2}, **CPU})),
    Case("quantities as numbers and fractions", served({"resources": {"cpu": "0.5", "memory": 8589934592}})),
    Case("slice of a GPU", served({"resources": {"resourceName": "nvidia.com/mig-1g.10gb"}})),
    Case("placement", placed(
        nodeSelector={"nvidia.com/gpu.product": "NVIDIA-L4", "zone": ""},
        tolerations=[{"operator": "Exists"}, {"key": "gpu", "value": "yes", "effect": "NoSchedule"},
                     {"key": "spot", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}],
        runtimeClassName="nvidia", priorityClassName="serving", imagePullSecrets=["a", "b"])),
    Case("scaling", served({"scaling": {"minReplicas": 2, "maxReplicas": 8, "waitingPerReplica": 0}})),
    Case("from zero", served({"scaling": {"minReplicas": 0, "idleSeconds": 1}})),
    Case("advisory", served({"scaling": {"mode": "Advisory"}})),
    Case("pinned at zero", served({"replicas": 0})),
    Case("pinned above the maximum", served({"replicas": 4})),
    Case("price", served({"price": {"gpuHour": "2.49"}})),
    Case("timing", served({"startupTimeoutSeconds": 30, "drainSeconds": 0, "rollout": "Replace"})),
    Case("further arguments", served({"extraArgs": ["--enforce-eager", "--seed=7"]})),
    Case("declared sizes", served({"parallelism": {"tensor": 4}, "resources": {"gpus": 4}, "contextLength": 8192},
         uri=PVC, architecture={"parameters": "70.6B", "layers": 80, "attentionHeads": 64, "keyValueHeads": 8,
         "hiddenSize": 8192, "headDim": 128, "vocabularySize": 128256, "contextLength": 131072, "experts": 0})),
    Case("more GPUs than KV heads", served({"parallelism": {"tensor": 8}, "resources": {"gpus": 8}},
         architecture={"attentionHeads": 32, "keyValueHeads": 4})),
    Case("latent attention", served({"parallelism": {"tensor": 8}, "resources": {"gpus": 8}},
         architecture={"attentionHeads": 128, "keyValueHeads": 3, "latentSize": 576, "fullAttentionLayers": 61})),
    Case("declared draft", served(drafting("draft_model", draftModel="Qwen/Qwen3-0.6B", draftArchitecture={
        "parameters": "0.6B", "attentionHeads": 16, "vocabularySize": 151936}),
        architecture={"vocabularySize": 151936})),
    Case("vocabulary of an EAGLE head", served(drafting("eagle3", draftModel="a/b", draftArchitecture={
        "vocabularySize": 32000}), architecture={"vocabularySize": 151936})),
    Case("AMD by image", served({"resources": {"resourceName": "amd.com/gpu"}, "engine": {"image": "a/rocm:v1"}})),
    Case("pools and a priority", served({"pools": [{"name": "l40s"}, {"name": "h100"}], "priority": 1000})),
    Case("other numbers in a pool", served({"pools": [{"name": "l40s"}, {
        "name": "l4", "parallelism": {"tensor": 2}, "quantization": {"method": "fp8_per_tensor"}}]})),
    Case("external", external()),
    Case("external with a version of its own", external(baseURL="https://api.example.com:65535/v1beta/openai")),
    Case("external by an IPv6 address", external(baseURL="http://[fd00::12]:8080/v1")),
    Case("external without a key", {"external": {
        "baseURL": "http://llm.team-b.svc:8080/v1", "model": "m", "prices": {"input": "0", "output": "0"}}}),
    Case("external inside the cluster", external(baseURL="http://llm.team-b.svc:8080/v1", prices={
        "input": "0.10", "cachedInput": "0.01", "cacheWrite": "0.125", "output": "0.5"})),
    Case("model name changed", served(name="chat2"), before=served()),
    Case("pinned, then automatic", served(), before=served({"replicas": 3})),
)  # fmt: skip

REFUSED = (
    Case("no model name", {"model": {"uri": HF}}, says="spec.model.name: Required value"),
    Case("no URI", {"model": {"name": "chat"}}, says="spec.model.uri: Required value"),
    Case("name with a space", served(name="my chat"), says="must be letters, digits, '.', '_', '/', ':' and '-'"),
    Case("name too long", served(name="a" * 129), says="spec.model.name: Too long"),
    Case("unknown scheme", served(uri="ftp://host/model"), says="must be hf://ORG/REPO"),
    Case("a shell in the URI", served(uri="hf://a/b;rm"), says="must be hf://ORG/REPO"),
    Case("revision like an option", served(revision="--help"), says="must be letters, digits, '.', '_', '/' and '-'"),
    Case("secret with a bad name", served(tokenSecretRef={"name": "Not_DNS"}), says="write not-dns"),
    Case("unknown engine", served({"engine": {"name": "sglang"}}), says='supported values: "vllm"'),
    Case("unknown release", served({"engine": {"version": "0.31.0"}}), says="must be a vLLM release"),
    Case("image with a space", served({"engine": {"image": "a b:c"}}), says="must be a container image"),
    Case("unknown quantization", served({"quantization": {"method": "gguf"}}), says="Unsupported value"),
    Case("unknown cache type", served({"quantization": {"kvCacheDtype": "int3"}}), says="Unsupported value"),
    Case("unknown method", served(drafting("crystal-ball")), says="Unsupported value"),
    Case("mode On is a boolean in YAML 1.1", served({"speculation": {"mode": True}}), says="must be of type string"),
    Case("too many drafted tokens", served(drafting("ngram", tokens=17)), says="less than or equal to 16"),
    Case("empty schedule", served(drafting("ngram", schedule=[])), says="at least 1 items"),
    Case("long schedule", served(drafting("ngram", schedule=[{"fromBatch": n, "tokens": 1} for n in range(1, 10)])),
         says="must have at most 8 items"),
    Case("negative offload", served({"caching": {"kvOffloadGiB": -1}}), says="greater than or equal to 0"),
    Case("no sequences", served({"batching": {"maxSequences": 0}}), says="greater than or equal to 1"),
    Case("no tensor parallelism", served({"parallelism": {"tensor": 0}}), says="greater than or equal to 1"),
    Case("tiny context", served({"contextLength": 8}), says="greater than or equal to 16"),
    Case("fraction of a GPU", served({"resources": {"gpus": 0.5}}), says="must be of type integer"),
    Case("bad quantity", served({"resources": {"memory": "16 GB"}}), says="Kubernetes writes no B: write 16G"),
    Case("negative quantity", served({"resources": {"cpu": -1}}), says="greater than or equal to 0"),
    Case("quantity of the wrong type", served({"resources": {"cpu": True}}), says="must be of type integer,string"),
    Case("core resource", served({"resources": {"resourceName": "cpu"}}), says="must be DOMAIN/NAME"),
    Case("no GPU, NVIDIA's image", served({"resources": {"gpus": 0}}), says="without GPUs a build for CPUs"),
    Case("Gaudi, NVIDIA's image", served({"resources": {"resourceName": "habana.ai/gaudi"}}), says="name a build for"),
    Case("bad label value", placed(nodeSelector={"a": "b c"}), says="must be the value of a label"),
    Case("too many labels", placed(nodeSelector={f"k{n}": "v" for n in range(17)}), says="at most 16 items"),
    Case("unknown effect", placed(tolerations=[{"key": "a", "effect": "Never"}]), says="Unsupported value"),
    Case("pull secret twice", placed(imagePullSecrets=["a", "a"]), says="Duplicate value"),
    Case("unknown scaling mode", served({"scaling": {"mode": "Sometimes"}}), says="Unsupported value"),
    Case("minimum below zero", served({"scaling": {"minReplicas": -1}}), says="greater than or equal to 0"),
    Case("no idle time", served({"scaling": {"idleSeconds": 0}}), says="greater than or equal to 1"),
    Case("above all KV", served({"scaling": {"kvCachePercent": 101}}), says="less than or equal to 100"),
    Case("negative replicas", served({"replicas": -1}), says="greater than or equal to 0"),
    Case("pool named twice", served({"pools": [{"name": "a"}, {"name": "a"}]}), says="Duplicate value"),
    Case("pool with a dot", served({"pools": [{"name": "a.b"}]}), says="must be lower-case letters"),
    Case("nine pools", served({"pools": [{"name": f"p{n}"} for n in range(9)]}), says="at most 8 items"),
    Case("no priority", served({"priority": 0}), says="greater than or equal to 1"),
    Case("price as a number", served({"price": {"gpuHour": 2.49}}), says="must be of type string"),
    Case("price with a currency", served({"price": {"gpuHour": "$2.49"}}), says="US dollars without a sign"),
    Case("impatient start", served({"startupTimeoutSeconds": 5}), says="greater than or equal to 30"),
    Case("endless drain", served({"drainSeconds": 3601}), says="less than or equal to 3600"),
    Case("unknown rollout", served({"rollout": "BigBang"}), says="Unsupported value"),
    Case("argument without dashes", served({"extraArgs": ["sh"]}), says="flag and value are one item of the list"),
    Case("argument with a line break", served({"extraArgs": ["--a=b\nc"]}), says="must be one flag with its value"),
    Case("too many arguments", served({"extraArgs": [f"--a{n}" for n in range(17)]}), says="at most 16 items"),
    Case("API without a scheme", external(baseURL="api.example.com/v1"), says="write https://api.example.com/v1"),
    Case("API without a price", external(prices={"input": "1"}), says="spec.external.prices.output: Required value"),
    Case("parameters in words", served(architecture={"parameters": "8 billion"}), says="must be a number of"),
    Case("parameters as a number", served(architecture={"parameters": 8}), says="must be of type string"),
    Case("no layers", served(architecture={"layers": 0}), says="greater than or equal to 1"),
    Case("field of a pod", served({"containers": []}), says='unknown field "spec.containers"'),
    Case("name with a dot", served(), name="a.b", says="lower-case letters, digits and dashes"),
)  # fmt: skip

# One object per rule, refused by that rule alone.
RULES: dict[str, Case] = {
    "the name of a tier has at most 40 characters": Case("41 characters", served(), name="a" * 41),
    "the name of a tier is lower-case letters, digits and dashes, and starts with a letter":
        Case("digit first", served(), name="8b-chat"),
    "set exactly one of spec.model (served here) and spec.external (an API)": Case("neither", {}),
    "a tier cannot change between spec.model and spec.external; create a new tier":
        Case("served, then external", external(), before=served()),
    "an external tier has no replicas; remove spec.replicas": Case("replicas", external({"replicas": 1})),
    "an external tier is paid by token: use external.prices and remove spec.price":
        Case("GPU price", external({"price": {"gpuHour": "1"}})),
    "an external tier uses no GPU; remove spec.pools": Case("pools", external({"pools": [{"name": "h100"}]})),
    "a tier in a pool needs a GPU; set resources.gpus or remove spec.pools":
        Case("pool without GPUs", served({"pools": [{"name": "h100"}], "resources": {"gpus": 0},
             "engine": {"image": "a/cpu:v1"}})),
    "in a pool the price is the pool's (pricePerGPUHour); remove spec.price":
        Case("price in a pool", served({"pools": [{"name": "h100"}], "price": {"gpuHour": "2"}})),
    "the provider decides the context length of an external tier; remove spec.contextLength":
        Case("context", external({"contextLength": 4096})),
    "an external tier has no engine; remove spec.extraArgs": Case("arguments", external({"extraArgs": ["--seed=1"]})),
    "an external tier has no pods; remove spec.securityContext":
        Case("user", external({"securityContext": "Namespace"})),
    "resources.gpus must equal parallelism.tensor times parallelism.pipeline":
        Case("two GPUs, one used", served({"resources": {"gpus": 2}})),
    "without GPUs parallelism.pipeline must be 1":
        Case("pipeline on CPUs", served({"resources": {"gpus": 0}, "parallelism": {"pipeline": 2}, **CPU})),
    "vLLM 0.33 has no speculation method medusa or mlp_speculator; choose another method or engine.version 0.32":
        Case("medusa on 0.33", served(drafting("medusa", draftModel="a/b"))),
    "an hf:// URI is hf://ORG/REPO; a branch, tag or commit goes into model.revision":
        Case("revision in the URI", served(uri="hf://Qwen/Qwen3-8B:main")),
    "a page of the hub holds no weights: write hf://ORG/REPO": Case("page of the hub", served(uri="https://huggingface.co/Qwen/Qwen3-8B")),
    "model.uri must not contain '..'": Case("parent folder", served(uri="pvc://weights/../secrets")),
    "the engine reads the name None as no name: choose another for model.name and model.revision": Case(
        "no name", served(name="None")
    ),
    "model.revision must not contain '..'": Case("parent of the cache", served(revision="a/../../b")),
    "speculation.draftModel must not contain '..'": Case(
        "parent of the image", served(drafting("draft_model", draftModel="a/../../b"))
    ),
    "model.revision has an effect only with an hf:// URI; remove it":
        Case("revision of a claim", served(uri=PVC, revision="main")),
    "model.tokenSecretRef has an effect only with an hf:// URI; "
    "use model.serviceAccountName for the credentials of other stores":
        Case("token for a bucket", served(uri="s3://models/a", tokenSecretRef={"name": "hf"})),
    "model.cachePVC has an effect only with an hf:// URI; remove it":
        Case("cache for a claim", served(uri=PVC, cachePVC="hub")),
    "external.baseURL must not end with a slash: write https://HOST/v1": Case("slash", external(baseURL="https://api.example.com/v1/")),
    "external.baseURL ends where the path of a request begins: write https://HOST/v1":
        Case("endpoint", external(baseURL="https://api.example.com/v1/chat/completions")),
    "the port in external.baseURL is from 1 to 65535": Case("port", external(baseURL="http://llm.team-b:65536/v1")),
    "engine.image must end in a tag or a sha256 digest, so that every replica runs the same engine":
        Case("no tag", served({"engine": {"image": "registry.example.com:5000/vllm"}})),
    "engine.image has no scheme: remove '//' and what stands before it":
        Case("scheme", served({"engine": {"image": "docker://vllm/vllm-openai:v0.33.0"}})),
    "speculation.method is required when speculation.mode is Enabled or Auto":
        Case("no method", served({"speculation": {"mode": "Auto"}})),
    "speculation.draftModel is required for the methods draft_model, eagle, eagle3, medusa and mlp_speculator":
        Case("no draft model", served(drafting("eagle3"))),
    "speculation.draftModel has an effect only with the methods draft_model, eagle, eagle3, medusa and "
    "mlp_speculator; remove it": Case("draft model for n-grams", served(drafting("ngram", draftModel="a/b"))),
    "speculation.draftArchitecture describes speculation.draftModel; set that, too":
        Case("sizes of no draft", served(drafting("ngram", draftArchitecture={"parameters": "1B"}))),
    "parallelism.tensor must divide model.architecture.attentionHeads":
        Case("heads", served({"parallelism": {"tensor": 3}, "resources": {"gpus": 3}},
             architecture={"attentionHeads": 32})),
    "parallelism.tensor must divide model.architecture.keyValueHeads or be a multiple of it":
        Case("KV heads", served({"parallelism": {"tensor": 4}, "resources": {"gpus": 4}},
             architecture={"attentionHeads": 24, "keyValueHeads": 6})),
    "contextLength must not exceed model.architecture.contextLength":
        Case("long context", served({"contextLength": 40961}, architecture={"contextLength": 40960})),
    "parallelism.tensor must divide speculation.draftArchitecture.attentionHeads":
        Case("draft heads", served({"parallelism": {"tensor": 4}, "resources": {"gpus": 4}, **drafting(
            "draft_model", draftModel="a/b", draftArchitecture={"attentionHeads": 14})})),
    "with speculation.method draft_model the vocabularies of both models must have the same size":
        Case("vocabularies", served(drafting("draft_model", draftModel="a/b", draftArchitecture={
            "vocabularySize": 32000}), architecture={"vocabularySize": 32064})),
    "the engine's own image is for NVIDIA GPUs (nvidia.com/...): name a build for what the tier runs on in "
    "engine.image, a ROCm build say; without GPUs a build for CPUs":
        Case("AMD", served({"resources": {"resourceName": "amd.com/gpu"}})),
    "set speculation.tokens or speculation.schedule, not both":
        Case("both", served(drafting("ngram", tokens=3, schedule=STEPS))),
    "the engine ignores speculation.schedule with the methods suffix, medusa and mlp_speculator; "
    "use speculation.tokens": Case("schedule of suffixes", served(drafting("suffix", schedule=STEPS))),
    "the first step of speculation.schedule must have fromBatch 1":
        Case("late start", served(drafting("ngram", schedule=STEPS[1:]))),
    "speculation.schedule must be in ascending order of fromBatch, each once":
        Case("twice", served(drafting("ngram", schedule=[STEPS[0], STEPS[0]]))),
    "speculation.schedule never drafts: give one step tokens above 0, or set mode: Disabled":
        Case("never", served(drafting("ngram", schedule=[{"fromBatch": 1, "tokens": 0}]))),
    "batching.maxBatchedTokens must not be below batching.maxSequences":
        Case("few tokens", served({"batching": {"maxBatchedTokens": 64}})),
    "batching.maxQueuedRequests counts running requests too: it must not be below batching.maxSequences":
        Case("short queue", served({"batching": {"maxQueuedRequests": 127}})),
    "resources.cpu must be above zero": Case("no CPU", served({"resources": {"cpu": "0"}})),
    "resources.memory must be above zero": Case("no memory", served({"resources": {"memory": "0Gi"}})),
    "resources.sharedMemory must be above zero": Case("no shm", served({"resources": {"sharedMemory": 0}})),
    "placement.nodeSelector has a key that is not a label name": Case("label", placed(nodeSelector={"a b": "c"})),
    "a toleration without key needs operator: Exists": Case("no key", placed(tolerations=[{"effect": "NoSchedule"}])),
    "a toleration with operator: Exists has no value":
        Case("value", placed(tolerations=[{"key": "a", "operator": "Exists", "value": "b"}])),
    "tolerationSeconds needs effect: NoExecute":
        Case("seconds", placed(tolerations=[{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}])),
    "scaling.targets.ttft.milliseconds must be a bound of the engine's histogram: "
    "100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000, 20000":
        Case("TTFT", served({"scaling": {"targets": {"ttft": {"percentile": 99, "milliseconds": 2000}}}})),
    "scaling.targets.interToken.milliseconds must be a bound of the engine's histogram: "
    "10, 25, 50, 75, 100, 150, 200, 300, 400, 500":
        Case("token", served({"scaling": {"targets": {"interToken": {"percentile": 99, "milliseconds": 80}}}})),
    "scaling.targets needs ttft or interToken; remove it to scale without a service level":
        Case("no target", served({"scaling": {"targets": {}}})),
    "scaling.minReplicas must not exceed scaling.maxReplicas": Case("min", served({"scaling": {"minReplicas": 2}})),
}  # fmt: skip
