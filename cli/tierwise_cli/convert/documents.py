"""Tells what kind of input a document is, and converts all of them.

What the API server and the operator would refuse of a result is said with it: a tier that applies cleanly and is then
not accepted would be a silent loss of another kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml
from pydantic import ValidationError

from tierwise.api.modeltier import ModelTierSpec
from tierwise.engines.check import check
from tierwise.errors import Invalid
from tierwise_cli.convert import kserve, pod, production_stack, workload
from tierwise_cli.convert.api_rules import refused
from tierwise_cli.convert.draft import Conversion, Draft, Dropped, said, tier_name
from tierwise_cli.convert.volumes import Claims
from tierwise_cli.convert.words import read

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# A command line, which may hold JSON and is then no YAML: after comments and variables, the engine's program.
_COMMAND = re.compile(
    r"(\s*#.*\n)*\s*((exec|env|export)\s+|[A-Za-z_]\w*=\S*\s+)*(\S*/)?(vllm\s+serve|python[0-9.]*\s+-m\s+vllm)\b"
)
_OF_HUB = ("model.revision", "model.tokenSecretRef", "model.cachePVC", "modelCache")
_BESIDE = {
    "Service": "a tier has a Service of its own; one endpoint over tiers is a ModelRoute",
    "PersistentVolumeClaim": "keep it: the tier names it in model.cachePVC or model.uri",
    "Secret": "keep it: the tier names it",
    "ConfigMap": "keep it where the tier names it",
    "Namespace": "keep it",
    "HorizontalPodAutoscaler": "the operator scales, and leaves a tier alone that has another scaler: remove it",
    "ScaledObject": "the operator scales, and leaves a tier alone that has another scaler: remove it",
    "ServingRuntime": "the tier has the arguments itself",
    "ClusterServingRuntime": "the tier has the arguments itself",
    "PodMonitoring": "the chart's PodMonitor scrapes every tier",
    "ServiceMonitor": "the chart's PodMonitor scrapes every tier",
    "PodMonitor": "the chart's PodMonitor scrapes every tier",
    "Ingress": "it goes to the Service of a ModelRoute (docs/gateway.md)",
    "HTTPRoute": "it goes to the Service of a ModelRoute (docs/gateway.md)",
    "Route": "it goes to the Service of a ModelRoute (docs/gateway.md)",
}


def of_text(text: str) -> list[Conversion]:
    """Every tier of a file: YAML documents, or a command line. Raises Invalid where there is none."""
    if _COMMAND.match(text):
        return [of_command([text])]
    try:
        documents = [each for each in yaml.load_all(text, Loader=_Loader) if each is not None]
    except yaml.YAMLError as error:
        raise Invalid(f"the file is no YAML: {error}") from error
    if documents and all(isinstance(each, str) for each in documents):
        return [of_command([text])]
    objects = [_whole(one) for each in documents if isinstance(each, Mapping) for one in _listed(each)]
    drafts: list[Draft] = []
    beside: list[Mapping[str, Any]] = []
    for each in objects:
        if production_stack.is_values(each):
            drafts += production_stack.convert(each)
        elif each.get("kind") == "InferenceService":
            drafts.append(kserve.convert(each, objects))
        elif each.get("kind") in workload.KINDS:
            drafts.append(workload.convert(each))
        else:
            beside.append(each)
    if not drafts:
        kinds = ", ".join(sorted({str(each.get("kind") or "a document without kind") for each in beside})) or "nothing"
        raise Invalid(
            f"the file holds {kinds}; what can be converted: a KServe InferenceService, a Deployment, StatefulSet or "
            "Pod that runs vLLM, values of the vLLM production-stack, a command line `vllm serve ...`"
        )
    for other in beside:
        kind = str(other.get("kind") or "document")
        name = (other.get("metadata") or {}).get("name") or ""
        drafts[0].drop(f"{kind} {name}".strip(), name or kind, _BESIDE.get(kind, "it is no part of a tier"))
    return [finished(each) for each in drafts]


def _listed(document: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    if document.get("kind") == "List":
        return [each for each in document.get("items") or () if isinstance(each, Mapping)]
    return [document]


def _whole(found: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in ("metadata", "spec"):
        if not isinstance(found.get(key) or {}, Mapping):
            kind = found.get("kind") or "a document"
            raise Invalid(f"{key} of {kind} is no mapping ({said(found[key])}): a template is to be rendered first")
    return found


def of_command(words: Sequence[str]) -> Conversion:
    """The tier of a command line, given as words, or as one text for a shell."""
    command = read(words if len(words) > 1 else ["sh", "-c", *words])
    draft = Draft("model")
    pod.command(command, draft, Claims())
    if not draft.get("model.uri"):
        raise Invalid("the command names no model: vllm serve ORG/REPO --flag=value")
    draft.name = tier_name(str(draft.get("model.uri")).rstrip("/").rsplit("/", 1)[-1])
    return finished(draft)


def finished(draft: Draft) -> Conversion:
    """The tier, whole; with what the operator would say to it."""
    pod.divided(draft)
    uri = str(draft.get("model.uri", ""))
    if uri and not draft.get("model.name"):
        draft.put("model.name", uri.removeprefix("hf://") if uri.startswith("hf://") else draft.name, "model.uri")
    if draft.get("scaling.minReplicas", 1) > draft.get("scaling.maxReplicas", 1):
        draft.put("scaling.maxReplicas", draft.get("scaling.minReplicas"), "scaling")
    if uri and not uri.startswith("hf://"):
        _without_hub(draft)
    _without_refused(draft)
    made = draft.finished()
    return replace(made, dropped=(*made.dropped, *_complaints(made.manifest["spec"])))


def _without_hub(draft: Draft) -> None:
    """Leave out what the API refuses beside weights that are not of the hub."""
    for path in _OF_HUB:
        parent, _, last = path.rpartition(".")
        within = draft.get(parent) if parent else draft.spec
        if last in within:
            draft.drop(path, within.pop(last), "it has an effect only with weights of the hub, hf://")


def _without_refused(draft: Draft) -> None:
    """Leave out extra arguments that the operator would refuse beside the rest of the spec."""
    for complaint in list(_complaints(draft.spec)):
        for argument in draft.get("extraArgs", []):
            if complaint.reason.startswith(f"extraArgs: {argument.partition('=')[0]} "):
                draft.drop(argument.partition("=")[0], argument, complaint.reason.removeprefix("extraArgs: "))
                draft.spec["extraArgs"] = [each for each in draft.spec["extraArgs"] if each != argument]


def _complaints(spec: Mapping[str, Any]) -> Iterable[Dropped]:
    try:
        found = ModelTierSpec.model_validate(spec, strict=True)  # the API server takes no text for a number
    except ValidationError as error:
        for each in error.errors():
            where = ".".join(map(str, each["loc"]))
            # Variables may hold secrets, and a value of several lines would end the comment that it stands in.
            value = "(not shown)" if where.startswith("env") else said(each.get("input", ""))
            yield Dropped(f"correct {where}", value, str(each["msg"]))
        return
    if found.model is None:
        yield Dropped("correct model", "", "the input names no model: write model.uri")
        return
    for where, value, message in refused(found):
        shown = "(not shown)" if where.startswith("env") else "unset" if value is None else said(value)
        yield Dropped(f"correct {where}".strip(), shown, message)
    for problem in check(found):
        if problem.fatal:
            yield Dropped("correct", problem.reason, problem.message)
