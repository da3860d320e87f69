"""Lets go of the RoleBindings that gave a route's routers another ClusterRole.

The role of a RoleBinding can never be changed, so its name has the name of the ClusterRole in it, and a chart that is
installed under another name makes another binding. What was bound before must not stay: whoever makes a ClusterRole of
that name would give its rights to the routers.

The operator may not delete, and may change no binding to a role that it may not bind. What the API server lets anybody
do who may patch is what the garbage collector does: change the owners. So the binding is given to an owner that does
not exist, and the garbage collector deletes it, as it does with all children of a route that is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tierwise.api.base import API_VERSION
from tierwise.kube.objects import ROLE_BINDINGS, ROUTER_CHILDREN
from tierwise.ports import Cluster, ObjectRef
from tierwise.types import RouteChild, RouteView

NOBODY = "00000000-0000-0000-0000-000000000000"
_OWNED = ("labels", "annotations")


def former_bindings(view: RouteView, name: str) -> tuple[RouteChild, ...]:
    """The RoleBindings of the route but for the one of this name."""
    return tuple(
        child for child in view.children if child.plural == ROLE_BINDINGS and child.name != name and not child.deleting
    )


async def let_go(view: RouteView, child: RouteChild, cluster: Cluster) -> bool:
    """Have the garbage collector delete it; whether it is no longer the route's. Raises TierwiseError."""
    api_version, kind = ROUTER_CHILDREN[ROLE_BINDINGS]
    found = child.manifest["metadata"]
    nobody = {"apiVersion": API_VERSION, "kind": "ModelRoute", "name": view.route.key.name, "uid": NOBODY}
    wanted = {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            **{name: found[name] for name in _OWNED if name in found},
            "name": child.name,
            "namespace": view.route.key.namespace,
            "ownerReferences": [nobody],
            "resourceVersion": found["resourceVersion"],
        },
        **{name: child.manifest[name] for name in ("roleRef", "subjects") if name in child.manifest},
    }
    ref = ObjectRef(api_version, ROLE_BINDINGS, view.route.key.namespace, child.name)
    made = await cluster.apply(ref, wanted)
    return not _owns(made, view.route.uid)


def _owns(manifest: Mapping[str, Any], uid: str) -> bool:
    return any(owner.get("uid") == uid for owner in manifest["metadata"].get("ownerReferences") or ())
