"""Makes the ConfigMap that a route's `policy.classifier.configMapName` names.

What a person wants to know before applying it stands in annotations and in a comment: whose labels, which share, and
whether it must not be used.
"""

from __future__ import annotations

import base64
import textwrap

import yaml

from tierwise.routing.classifier import CONFIG_MAP_KEY, Classifier

PREFIX = "tierwise.io/"


def default_name(route: str) -> str:
    """What the ConfigMap of a route is called unless somebody says otherwise."""
    return f"{route}-classifier"


def manifest(classifier: Classifier, name: str, namespace: str | None = None) -> str:
    """The manifest in YAML. It is too large for the annotation that `kubectl apply` keeps: the comment says how to
    apply it."""
    said = classifier.header
    annotations = {
        f"{PREFIX}route": said.route,
        f"{PREFIX}labels": str(said.labels),
        f"{PREFIX}labels-hash": said.labels_hash,
        f"{PREFIX}quality-percent": str(said.quality_percent),
        f"{PREFIX}large-share-percent": f"{said.large_share_percent:g}",
    } | ({f"{PREFIX}refusal": said.refusal} if said.refusal else {})
    metadata = {"name": name, "annotations": annotations} | ({"namespace": namespace} if namespace else {})
    packed = base64.b64encode(classifier.write()).decode()
    head = yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}, sort_keys=False, width=120)
    why = f"# MUST NOT BE USED: {said.refusal}. Routers that are given it go by rules.\n" if said.refusal else ""
    lines = textwrap.indent("\n".join(textwrap.wrap(packed, 120)), "    ")
    return f"{why}# kubectl apply --server-side -f THIS_FILE\n{head}binaryData:\n  {CONFIG_MAP_KEY}: |\n{lines}\n"
