"""A CRD of Tierwise for the time of a test module, on a cluster that may already have it.

A module that has brought a CRD waits until it is gone: while it is being deleted it still looks installed to the next
module, which would then go without.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.kubectl import Kubectl
from tierwise.api.crd import definition
from tierwise.api.kinds import Kind


@contextmanager
def installed(admin: Kubectl, kind: Kind) -> Iterator[None]:
    """The kind is served within this block. One that is not there before is not there afterwards either."""
    there = admin.get("crd", kind.crd_name) is not None
    if not there:
        admin.apply(definition(kind))
    admin("wait", "--for=condition=Established", f"crd/{kind.crd_name}", "--timeout=50s")
    try:
        yield
    finally:
        if not there:
            admin("delete", "crd", kind.crd_name, "--timeout=50s")
