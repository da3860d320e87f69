"""Reads kubeconfig files as kubectl does: which API server, as whom, in which namespace.

The commands that a person types need this much of the Kubernetes client and no more: importing all of it takes longer
than what they ask for. Several files in $KUBECONFIG are one configuration (the first that names an entry wins), and a
relative path in a file starts at that file.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from tierwise.errors import Invalid

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PATHS = {
    "clusters": ("certificate-authority",),
    "users": ("client-certificate", "client-key", "tokenFile"),
}


@dataclass(frozen=True, slots=True)
class Plugin:
    """A program that hands out credentials (client.authentication.k8s.io): its command, arguments and environment."""

    api_version: str
    command: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    wants_cluster: bool = False
    hint: str = ""
    folder: Path | None = None  # a command with a slash is relative to its file


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom one asks; what is not set is not sent. `impersonate`: headers, by name, of one who acts as another."""

    token: str = ""
    token_file: Path | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    username: str = ""
    password: str = ""
    plugin: Plugin | None = None
    impersonate: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Access:
    """One API server and how to speak to it. `authority`: PEM of the certificates to trust; None: the system's."""

    server: str
    namespace: str = "default"
    context: str = ""
    authority: bytes | None = None
    insecure: bool = False
    tls_name: str = ""
    proxy: str = ""
    identity: Identity = field(default_factory=Identity)


@dataclass(frozen=True, slots=True)
class Contexts:
    """The contexts of the files, by name, each with its namespace; which of them is the current one."""

    current: str
    namespaces: Mapping[str, str]


def files(named: Path | None, environment: Mapping[str, str] = os.environ) -> list[Path]:
    """The kubeconfig files: the named one, else those of $KUBECONFIG that exist, else ~/.kube/config."""
    if named is not None:
        return [named]
    listed = [Path(each) for each in environment.get("KUBECONFIG", "").split(os.pathsep) if each]
    return [each for each in listed or [Path.home() / ".kube" / "config"] if each.is_file()]


def access(
    named: Path | None, context: str | None, environment: Mapping[str, str] = os.environ, pod: Path = SERVICE_ACCOUNT
) -> Access:
    """What to use: the kubeconfig, else the pod's own ServiceAccount. Raises Invalid with the way out."""
    found = files(named, environment)
    if found:
        return of_context(merged(found), context)
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if context is None and host and (pod / "token").is_file():
        return Access(
            server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
            namespace=(pod / "namespace").read_text(encoding="utf-8").strip() or "default",
            authority=(pod / "ca.crt").read_bytes(),
            identity=Identity(token_file=pod / "token"),
        )
    listed = environment.get("KUBECONFIG")
    if listed:
        raise Invalid(f"none of the files that KUBECONFIG names exists: {listed}")
    raise Invalid("no API server is known: give --kubeconfig, set KUBECONFIG, or run in a pod")


def contexts(named: Path | None, environment: Mapping[str, str] = os.environ) -> Contexts:
    """The contexts there are. Raises Invalid when a file cannot be read."""
    config = merged(files(named, environment))
    spaces = {name: str(each.get("namespace") or "default") for name, each in config["contexts"].items()}
    return Contexts(config["current-context"], spaces)


def merged(paths: Sequence[Path]) -> dict[str, Any]:
    """The files as one: `current-context`, and clusters, contexts and users by name. Raises Invalid."""
    whole: dict[str, Any] = {"current-context": "", "clusters": {}, "contexts": {}, "users": {}}
    for path in paths:
        one = _read(path)
        whole["current-context"] = whole["current-context"] or str(one.get("current-context") or "")
        for section, inner in (("clusters", "cluster"), ("contexts", "context"), ("users", "user")):
            for entry in one.get(section) or ():
                try:
                    name, body = str(entry["name"]), dict(entry.get(inner) or {})
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise Invalid(f"the kubeconfig {path} cannot be used: an entry of {section} has no name") from error
                for key in _PATHS.get(section, ()):
                    if body.get(key):
                        body[key] = str(path.parent / str(body[key]))
                body["_folder"] = path.parent
                whole[section].setdefault(name, body)
    return whole


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            found = yaml.load(file, Loader=_Loader)  # noqa: S506 - a safe loader: the C one where there is one
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise Invalid(f"the kubeconfig {path} cannot be used: {error}") from error
    if not isinstance(found, Mapping):
        raise Invalid(f"the kubeconfig {path} cannot be used: it is no mapping")
    return found


def of_context(config: Mapping[str, Any], context: str | None) -> Access:
    """What a context says. Raises Invalid when it, its cluster or its user does not exist."""
    name = context or config["current-context"]
    known = config["contexts"]
    if not name:
        raise Invalid("the kubeconfig has no current-context: give --context, or kubectl config use-context NAME")
    if name not in known:
        raise Invalid(f"the kubeconfig has no context {name!r}; it has: {', '.join(sorted(known)) or 'none'}")
    chosen = known[name]
    cluster, user = str(chosen.get("cluster") or ""), str(chosen.get("user") or "")
    if cluster not in config["clusters"]:
        raise Invalid(f"the context {name!r} names the cluster {cluster!r}, which the kubeconfig does not have")
    if user and user not in config["users"]:
        raise Invalid(f"the context {name!r} names the user {user!r}, which the kubeconfig does not have")
    body = config["clusters"][cluster]
    if not body.get("server"):
        raise Invalid(f"the cluster {cluster!r} of the kubeconfig has no server")
    return Access(
        server=str(body["server"]).rstrip("/"),
        namespace=str(chosen.get("namespace") or "default"),
        context=name,
        authority=_pem(body, "certificate-authority"),
        insecure=bool(body.get("insecure-skip-tls-verify")),
        tls_name=str(body.get("tls-server-name") or ""),
        proxy=str(body.get("proxy-url") or ""),
        identity=_identity(user, config["users"].get(user, {})),
    )


def _identity(name: str, body: Mapping[str, Any]) -> Identity:
    if body.get("auth-provider"):
        raise Invalid(f"the user {name!r} of the kubeconfig has an auth-provider, which is no longer read: use exec")
    return Identity(
        token=str(body.get("token") or ""),
        token_file=Path(body["tokenFile"]) if body.get("tokenFile") else None,
        certificate=_pem(body, "client-certificate"),
        key=_pem(body, "client-key"),
        username=str(body.get("username") or ""),
        password=str(body.get("password") or ""),
        plugin=_plugin(body),
        impersonate=impersonation(
            str(body.get("as") or ""),
            tuple(map(str, body.get("as-groups") or ())),
            uid=str(body.get("as-uid") or ""),
            extra=body.get("as-user-extra") or {},
        ),
    )


def impersonation(
    user: str, groups: Sequence[str], *, uid: str = "", extra: Mapping[str, Sequence[str]] | None = None
) -> tuple[tuple[str, str], ...]:
    """The headers of one who acts as another; none without a user."""
    if not user:
        return ()
    headers = [("Impersonate-User", user), *(("Impersonate-Group", group) for group in groups)]
    headers += [("Impersonate-Uid", uid)] if uid else []
    return (*headers, *((f"Impersonate-Extra-{key}", one) for key, some in (extra or {}).items() for one in some))


def acting_as(access: Access, user: str, groups: Sequence[str] = ()) -> Access:
    """The same, as another user."""
    return replace(access, identity=replace(access.identity, impersonate=impersonation(user, groups)))


def _plugin(body: Mapping[str, Any]) -> Plugin | None:
    given = body.get("exec")
    if not given:
        return None
    return Plugin(
        api_version=str(given.get("apiVersion") or ""),
        command=str(given.get("command") or ""),
        arguments=tuple(map(str, given.get("args") or ())),
        environment={str(each["name"]): str(each.get("value") or "") for each in given.get("env") or ()},
        wants_cluster=bool(given.get("provideClusterInfo")),
        hint=str(given.get("installHint") or "").strip(),
        folder=body.get("_folder"),
    )


def _pem(body: Mapping[str, Any], key: str) -> bytes | None:
    """`KEY-data`, else the contents of the file that `KEY` names."""
    data = body.get(f"{key}-data")
    try:
        if data:
            return base64.b64decode(data)
        return Path(body[key]).read_bytes() if body.get(key) else None
    except (OSError, binascii.Error, ValueError) as error:
        raise Invalid(f"{key} of the kubeconfig cannot be read: {error}") from error
