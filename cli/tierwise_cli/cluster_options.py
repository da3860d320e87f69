"""Defines the options of every command that asks a cluster, with kubectl's names and kubectl's meaning.

The namespace is that of the kubeconfig's context where none is named: whoever has chosen one there does not expect to
say it again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tierwise.errors import Invalid
from tierwise.kube import kubeconfig
from tierwise.kube.user_client import UserClient


def add(parser: argparse.ArgumentParser, *, all_namespaces: bool = False) -> None:
    """The options; `all_namespaces` for a command that can look into all of them."""
    group = parser.add_argument_group("cluster")
    group.add_argument("-n", "--namespace", metavar="NAME", help="default: that of the kubeconfig's context")
    if all_namespaces:
        group.add_argument("-A", "--all-namespaces", action="store_true", help="look into all namespaces")
    group.add_argument("--context", metavar="NAME", help="context of the kubeconfig (default: the current one)")
    group.add_argument("--kubeconfig", type=Path, metavar="FILE", help="default: $KUBECONFIG, then ~/.kube/config")
    group.add_argument("--as", dest="as_user", metavar="USER", help="act as this user (impersonation)")
    group.add_argument(
        "--as-group", dest="as_groups", action="append", default=[], metavar="GROUP", help="... and of this group"
    )


def access(given: argparse.Namespace) -> kubeconfig.Access:
    """What to connect to. Raises Invalid."""
    found = kubeconfig.access(given.kubeconfig, given.context)
    if given.as_user:
        return kubeconfig.acting_as(found, given.as_user, given.as_groups)
    if given.as_groups:
        raise Invalid("--as-group needs --as")
    return found


def client(given: argparse.Namespace) -> UserClient:
    """A client; close it. Raises Invalid."""
    return UserClient(access(given))


def namespace(given: argparse.Namespace, client: UserClient) -> str:
    """The namespace that is meant; empty for all of them."""
    if getattr(given, "all_namespaces", False):
        return ""
    return str(given.namespace or client.access.namespace)
