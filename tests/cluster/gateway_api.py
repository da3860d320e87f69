"""Keeps the two kinds of the Gateway API that the tests need: `python -m tests.cluster.gateway_api FOLDER` renews them.

A copy, because a test that asks the Go module cache for them tests nothing on a machine without one. FOLDER is
`config/crd/standard` of the module. Descriptions are left out: an API server checks fields without them, and they are
two thirds of the text.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

COPY = Path(__file__).parent / "gateway-api"
KINDS = ("gateways", "httproutes")
_ABOUT = """\
# The Gateway API's definition of {kind}, release {release}: https://github.com/kubernetes-sigs/gateway-api,
# config/crd/standard. Copyright The Kubernetes Authors, Apache License 2.0 (the text is in this repository's LICENSE).
# Changed: descriptions and comments are left out. Made by tests/cluster/gateway_api.py.
"""


def copied(original: str, kind: str) -> str:
    """The copy of a definition."""
    definition = yaml.safe_load(original)
    release = definition["metadata"]["annotations"]["gateway.networking.k8s.io/bundle-version"]
    about = _ABOUT.format(kind=kind, release=release)
    return about + str(yaml.safe_dump(_bare(definition), sort_keys=False, width=110))


def _bare(value: Any) -> Any:
    """Without descriptions. A field of that name has a schema, not a text."""
    if isinstance(value, dict):
        return {name: _bare(each) for name, each in value.items() if name != "description" or not isinstance(each, str)}
    return [_bare(each) for each in value] if isinstance(value, list) else value


def main() -> None:
    """Write both."""
    folder = Path(sys.argv[1])
    COPY.mkdir(exist_ok=True)
    for kind in KINDS:
        original = (folder / f"gateway.networking.k8s.io_{kind}.yaml").read_text(encoding="utf-8")
        (COPY / f"{kind}.yaml").write_text(copied(original, kind), encoding="utf-8")


if __name__ == "__main__":
    main()
