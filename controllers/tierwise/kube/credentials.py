"""Asks a credential plugin who one is, as client-go does.

Managed clusters know no other way (aws, gke-gcloud-auth-plugin, kubelogin): the kubeconfig names a program, and its
answer is a token or a certificate.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tierwise.errors import Invalid
from tierwise.kube.kubeconfig import Access, Identity, Plugin

SECONDS = 60.0
_GROUP = "client.authentication.k8s.io/"


def identified(access: Access) -> Identity:
    """The identity with what its plugin or its token file says. Raises Invalid with the way out."""
    identity = access.identity
    if identity.plugin is not None:
        return _answered(identity, _ask(identity.plugin, access), identity.plugin)
    if identity.token_file is not None:
        try:
            return replace(identity, token=identity.token_file.read_text(encoding="utf-8").strip())
        except OSError as error:
            raise Invalid(f"the token file {identity.token_file} cannot be read: {error.strerror}") from error
    return identity


def _ask(plugin: Plugin, access: Access) -> Mapping[str, Any]:
    command = plugin.command
    if plugin.folder is not None and os.sep in command:
        command = str(plugin.folder / command)
    environment = {**os.environ, **plugin.environment, "KUBERNETES_EXEC_INFO": json.dumps(_request(plugin, access))}
    terminal = sys.stdin is not None and sys.stdin.isatty()
    try:
        done = subprocess.run(
            [command, *plugin.arguments],
            stdin=None if terminal else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=environment,
            timeout=None if terminal else SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        hint = f"; {plugin.hint}" if plugin.hint else ""
        raise Invalid(f"the credential plugin {plugin.command} of the kubeconfig is not installed{hint}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Invalid(f"the credential plugin {plugin.command} of the kubeconfig cannot be run: {error}") from error
    if done.returncode != 0:
        raise Invalid(f"the credential plugin {plugin.command} of the kubeconfig ended with {done.returncode}")
    try:
        answer = json.loads(done.stdout)
        kind, version, status = answer["kind"], answer["apiVersion"], answer["status"]
    except (ValueError, KeyError, TypeError) as error:
        raise Invalid(
            f"the credential plugin {plugin.command} answers with no ExecCredential that has a status"
        ) from error
    if kind != "ExecCredential" or version != plugin.api_version:
        raise Invalid(
            f"the credential plugin {plugin.command} answers with {version} {kind}; "
            f"the kubeconfig wants {plugin.api_version} ExecCredential"
        )
    return dict(status)


def _request(plugin: Plugin, access: Access) -> dict[str, Any]:
    if not plugin.api_version.startswith(_GROUP):
        raise Invalid(f"the kubeconfig's exec has apiVersion {plugin.api_version!r}; it must be {_GROUP}v1 or v1beta1")
    spec: dict[str, Any] = {"interactive": sys.stdin is not None and sys.stdin.isatty()}
    if plugin.wants_cluster:
        cluster: dict[str, Any] = {"server": access.server}
        if access.authority:
            cluster["certificate-authority-data"] = base64.b64encode(access.authority).decode()
        cluster |= {"tls-server-name": access.tls_name} if access.tls_name else {}
        cluster |= {"proxy-url": access.proxy} if access.proxy else {}
        cluster |= {"insecure-skip-tls-verify": True} if access.insecure else {}
        spec["cluster"] = cluster
    return {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}


def _answered(identity: Identity, status: Mapping[str, Any], plugin: Plugin) -> Identity:
    token = str(status.get("token") or "")
    certificate, key = status.get("clientCertificateData"), status.get("clientKeyData")
    if not token and not (certificate and key):
        raise Invalid(f"the credential plugin {plugin.command} gives neither a token nor a certificate with its key")
    return replace(
        identity,
        token=token,
        certificate=str(certificate).encode() if certificate else identity.certificate,
        key=str(key).encode() if key else identity.key,
    )
