"""Renders the pod of one replica.

It has one container, which loads and serves the model as an unprivileged user. Three choices need a reason:

- The root filesystem stays writable, since the NVIDIA container hook writes there. What the engine writes (home,
  compile caches, weights) goes to volumes nevertheless, because the user 2000 owns nothing in the image.
- CPU is limited, to what is requested unless the tier says more: KServe's defaulter gives a container without a CPU
  limit the limit 1, which is below the request, and the API server then refuses the pod.
- pvc://, s3://, gs:// and oci:// go through the environment variable STORAGE_URI, which KServe 0.17 to 0.20 reads on
  a custom container. It mounts the claim's sub-folder (`predictor.storageUris` would drop the folder), downloads
  with the credentials of the ServiceAccount, or attaches the image, all at /mnt/models. hf:// and pvc:// pods meet the
  restricted Pod Security profile. KServe's initializer (s3://, gs://) meets it only when the cluster's
  ClusterStorageContainer gives it the security context, which 0.19 as shipped does not.
"""

from __future__ import annotations

import math
from typing import Any

from tierwise.act.render.digest import digest
from tierwise.act.render.fetching import fetching_containers
from tierwise.act.render.placement import placed
from tierwise.act.render.pod_volumes import CERTIFICATE, HOME, HUB_CACHE, mounts, volumes
from tierwise.api.modeltier import ModelSource, ModelTierSpec
from tierwise.api.pod import Variable
from tierwise.engines import arguments, environment, profile
from tierwise.pod_template_hash import CONTAINER, RENDERED
from tierwise.quantity import add_gib
from tierwise.types.capabilities import EngineRules

USER = 2000  # the vllm images' own unprivileged user
PRE_STOP_SECONDS = 10  # until every endpoint list has dropped the pod
TEARDOWN_SECONDS = 30  # from the last answer to the end of the process: 4 to 6 s seen, more with many GPUs
STARTUP_PERIOD_SECONDS = 5
OFFLINE = "HF_HUB_OFFLINE"
# Fields of a pod that the fingerprint of a pod template does not look at.
_NAMING = frozenset({"affinity", "schedulerName", "topologySpreadConstraints"})


def pod_spec(
    spec: ModelTierSpec, model: ModelSource, tier: str = "", engine_rules: EngineRules | None = None
) -> dict[str, Any]:
    """The pod fields of the predictor, for a spec whose `model` is given. `tier`: the name of the tier.

    Raises tierwise.errors.Invalid for a spec that the engine would refuse."""
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "containers": [_container(spec, model, engine_rules or EngineRules())],
        "enableServiceLinks": False,
        "securityContext": _security_context(spec),
        "terminationGracePeriodSeconds": PRE_STOP_SECONDS + spec.drain_seconds + TEARDOWN_SECONDS,
        "volumes": volumes(spec, model),
        **placed(spec.placement, tier),
    }
    if fetching := fetching_containers(model, pod["containers"][0]):
        pod["initContainers"] = fetching
    if model.service_account_name is not None:
        pod["serviceAccountName"] = model.service_account_name
    return {**pod, **_metadata(spec, model, pod)}


def _security_context(spec: ModelTierSpec) -> dict[str, Any]:
    """Who the pod is. Without numbers of ours, an admission plugin of the cluster fills in those of the namespace."""
    numbers = {"fsGroup": USER, "runAsUser": USER} if spec.security_context == "Fixed" else {}
    return {
        "fsGroupChangePolicy": "OnRootMismatch",
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        **numbers,
    }


def _metadata(spec: ModelTierSpec, model: ModelSource, pod: dict[str, Any]) -> dict[str, Any]:
    """Labels and annotations of the pods, as fields of the predictor. What people name themselves is rendered together
    with a digest (`tierwise.pod_template_hash` says why); without any of it nothing is added."""
    labels, annotations = spec.pod_metadata.labels, spec.pod_metadata.annotations
    named = (spec.env, spec.model_cache, spec.certificates, model.chat_template, model.adapters, _NAMING & pod.keys())
    if not (labels or annotations or any(named)):
        return {}
    found: dict[str, Any] = {"labels": dict(sorted(labels.items()))} if labels else {}
    mark = {RENDERED: digest([pod, labels, annotations])}
    return {**found, "annotations": dict(sorted({**annotations, **mark}.items()))}


def _container(spec: ModelTierSpec, model: ModelSource, engine_rules: EngineRules) -> dict[str, Any]:
    release = profile(spec.engine)
    probe = {"httpGet": {"path": release.health_path, "port": release.port, "scheme": "HTTP"}}
    return {
        "args": [*arguments(spec), *(["--host=::"] if engine_rules.ipv6 else [])],
        "command": list(release.program),
        "env": _environment(spec, model, engine_rules),
        "image": release.image(spec.engine),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        # Gentle: a busy engine answers late, and a restart costs a model load.
        "livenessProbe": {**probe, "failureThreshold": 6, "periodSeconds": 10, "timeoutSeconds": 10},
        "name": CONTAINER,
        "ports": [{"containerPort": release.port, "name": "http", "protocol": "TCP"}],
        "readinessProbe": {**probe, "failureThreshold": 3, "periodSeconds": 5, "timeoutSeconds": 5},
        "resources": _resources(spec),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": False,
        },
        "startupProbe": {
            **probe,
            "failureThreshold": math.ceil(spec.startup_timeout_seconds / STARTUP_PERIOD_SECONDS),
            "periodSeconds": STARTUP_PERIOD_SECONDS,
            "timeoutSeconds": 5,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",  # the engine's last line becomes our condition
        "volumeMounts": mounts(spec, model),
    }


def _environment(spec: ModelTierSpec, model: ModelSource, engine_rules: EngineRules) -> list[dict[str, Any]]:
    plain = environment(spec) | {
        "HF_HOME": HUB_CACHE,
        "HOME": HOME,
        "TORCHINDUCTOR_CACHE_DIR": f"{HOME}/.cache/torchinductor",
        "USER": "tierwise",  # a user without a passwd entry would end PyTorch's look-up of its name
    }
    if not model.uri.startswith("hf://"):
        plain["STORAGE_URI"] = model.uri
    if spec.certificates is not None:
        plain |= dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), CERTIFICATE)
    if engine_rules.hub_url:
        plain["HF_ENDPOINT"] = engine_rules.hub_url
    if engine_rules.offline and all(each.name != OFFLINE for each in spec.env):
        plain[OFFLINE] = "1"
    env: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in plain.items()]
    if model.token_secret_ref is not None:
        secret = {"key": model.token_secret_ref.key, "name": model.token_secret_ref.name}
        env.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": secret}})
    return sorted([*env, *map(_variable, spec.env)], key=lambda variable: str(variable["name"]))


def _variable(variable: Variable) -> dict[str, Any]:
    if variable.secret_key_ref is not None:
        secret = {"key": variable.secret_key_ref.key, "name": variable.secret_key_ref.name}
        return {"name": variable.name, "valueFrom": {"secretKeyRef": secret}}
    if variable.config_map_key_ref is not None:
        config = {"key": variable.config_map_key_ref.key, "name": variable.config_map_key_ref.name}
        return {"name": variable.name, "valueFrom": {"configMapKeyRef": config}}
    return {"name": variable.name, "value": variable.value or ""}


def _resources(spec: ModelTierSpec) -> dict[str, dict[str, str]]:
    asked, offloaded = spec.resources, spec.caching.kv_offload_gib
    amounts: dict[str, str] = {}
    if asked.ephemeral_storage is not None:
        amounts["ephemeral-storage"] = asked.ephemeral_storage
    if asked.gpus:
        amounts[asked.resource_name] = str(asked.gpus)
    requests = {"cpu": asked.cpu, "memory": add_gib(asked.memory, offloaded), **amounts}
    limits = {
        "cpu": asked.cpu_limit or asked.cpu,
        "memory": add_gib(asked.memory_limit or asked.memory, offloaded),
        **amounts,
    }
    return {"limits": limits, "requests": requests}
