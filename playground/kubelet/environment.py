"""Builds the environment and the command line of a container.

The rules of the kubelet (pkg/kubelet/kubelet_pods.go, third_party/forked/golang/expansion): Services first,
then envFrom, then env in order, each value expanded with what was defined before it. Nothing of the
kubelet's own environment gets in: the result is built from the pod alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from playground.kubelet.fields import FieldError, PodFacts, field_value, resource_value
from playground.kubelet.model import Json

_REFERENCE = re.compile(r"\$(\$|\(([^)]*)\))")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ConfigError(Exception):
    """A container that cannot be configured; the text is what a kubelet would show as waiting message."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A ConfigMap or Secret that a container's environment needs."""

    kind: str
    name: str


Contents = Mapping[Reference, Mapping[str, bytes] | None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything outside the container's own spec that its environment is made of."""

    facts: PodFacts
    contents: Contents
    services: Mapping[str, str] = field(default_factory=dict)
    image: Mapping[str, str] = field(default_factory=dict)


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace $(NAME) by its value; $$ is a dollar sign and an unknown name stays as written."""

    def replacement(found: re.Match[str]) -> str:
        if found[1] == "$":
            return "$"
        return values.get(found[2], found[0])

    return _REFERENCE.sub(replacement, text)


def references(container: Json) -> tuple[Reference, ...]:
    """Return the ConfigMaps and Secrets that the container's environment names, in order, once each."""
    found: dict[Reference, None] = {}
    for source in container.get("envFrom", []):
        for key, kind in (("configMapRef", "configmap"), ("secretRef", "secret")):
            if key in source:
                found[Reference(kind, source[key]["name"])] = None
    for variable in container.get("env", []):
        source = variable.get("valueFrom") or {}
        for key, kind in (("configMapKeyRef", "configmap"), ("secretKeyRef", "secret")):
            if key in source:
                found[Reference(kind, source[key]["name"])] = None
    return tuple(found)


def build_environment(container: Json, around: Surroundings) -> dict[str, str]:
    """Return the container's whole environment. Raises ConfigError with the kubelet's own words."""
    values = dict(around.services)
    for source in container.get("envFrom", []):
        values |= _from_whole(source, around.contents)
    for variable in container.get("env", []):
        value = _variable(container, variable, values, around)
        if value is not None:
            values[variable["name"]] = value
    base = {"PATH": DEFAULT_PATH, "HOSTNAME": around.facts.pod["metadata"]["name"], "HOME": "/tmp"}  # noqa: S108
    return {**base, **around.image, **values}


def command_line(container: Json, entrypoint: Iterable[str], environment: Mapping[str, str]) -> list[str]:
    """Return the argument vector: command over the image's entrypoint, then args, all expanded."""
    command = container.get("command") or list(entrypoint)
    words = [*command, *container.get("args", [])]
    return [expand(word, environment) for word in words]


def _from_whole(source: Json, contents: Contents) -> dict[str, str]:
    key, kind = ("configMapRef", "configmap") if "configMapRef" in source else ("secretRef", "secret")
    wanted = source[key]
    data = contents[Reference(kind, wanted["name"])]
    if data is None:
        if wanted.get("optional"):
            return {}
        raise ConfigError(f'{kind} "{wanted["name"]}" not found')
    prefix = source.get("prefix", "")
    return {prefix + name: _text(value) for name, value in sorted(data.items())}


def _variable(container: Json, variable: Json, values: Mapping[str, str], around: Surroundings) -> str | None:
    source = variable.get("valueFrom")
    if not source:
        return expand(variable.get("value", ""), values)
    try:
        if "fieldRef" in source:
            return field_value(around.facts, source["fieldRef"]["fieldPath"])
        if "resourceFieldRef" in source:
            return resource_value(around.facts, source["resourceFieldRef"], container["name"])
    except FieldError as error:
        raise ConfigError(str(error)) from error
    return _from_key(source, around)


def _from_key(source: Json, around: Surroundings) -> str | None:
    for key, kind, title in (
        ("configMapKeyRef", "configmap", "ConfigMap"),
        ("secretKeyRef", "secret", "Secret"),
    ):
        if key not in source:
            continue
        wanted = source[key]
        data = around.contents[Reference(kind, wanted["name"])]
        if data is not None and wanted["key"] in data:
            return _text(data[wanted["key"]])
        if wanted.get("optional"):
            return None
        if data is None:
            raise ConfigError(f'{kind} "{wanted["name"]}" not found')
        namespace = around.facts.pod["metadata"]["namespace"]
        raise ConfigError(f"couldn't find key {wanted['key']} in {title} {namespace}/{wanted['name']}")
    raise ConfigError(f"unsupported source of an environment variable: {sorted(source)}")


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="replace").replace("\0", "")


def service_environment(services: Iterable[Json], namespace: str, links: bool) -> dict[str, str]:
    """Return the variables of the Services: those of the pod's namespace if `links`, and the API's always.

    The names are Docker's old link names, as pkg/kubelet/envvars makes them.
    """
    values: dict[str, str] = {}
    for service in sorted(services, key=lambda s: (s["metadata"]["namespace"], s["metadata"]["name"])):
        metadata, spec = service["metadata"], service["spec"]
        master = (metadata["namespace"], metadata["name"]) == ("default", "kubernetes")
        if not master and not (links and metadata["namespace"] == namespace):
            continue
        address, ports = spec.get("clusterIP"), spec.get("ports", [])
        if address in (None, "", "None") or not ports:
            continue
        prefix = metadata["name"].upper().replace("-", "_")
        values[f"{prefix}_SERVICE_HOST"] = address
        values[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
        for index, port in enumerate(ports):
            values |= _port_variables(prefix, address, port, first=index == 0)
    return values


def _port_variables(prefix: str, address: str, port: Json, *, first: bool) -> dict[str, str]:
    number, protocol = str(port["port"]), port.get("protocol", "TCP")
    url = f"{protocol.lower()}://{address}:{number}"
    stem = f"{prefix}_PORT_{number}_{protocol}"
    values = {
        stem: url,
        f"{stem}_PROTO": protocol.lower(),
        f"{stem}_PORT": number,
        f"{stem}_ADDR": address,
    }
    if first:
        values[f"{prefix}_PORT"] = url
    if port.get("name"):
        values[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = number
    return values
