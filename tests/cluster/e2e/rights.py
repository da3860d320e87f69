"""Lists the rights that the operator has, and those that it used.

Granted is what the API server holds: every rule of every role that a binding gives to the operator's ServiceAccount.
Used is what the audit log shows. A right is a verb on a resource in a place: a namespace, or the whole cluster.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.cluster.e2e.audit import Request
from tests.cluster.kubectl import Kubectl

EVERYWHERE = "*"
CREATED = 201


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """`place`: a namespace, or EVERYWHERE for a right of the whole cluster. `name`: "" for every object."""

    place: str
    verb: str
    group: str
    resource: str
    name: str = ""


def granted(admin: Kubectl, account: str, namespace: str) -> set[Right]:
    """What all bindings together give to this ServiceAccount."""
    found: set[Right] = set()
    for binding in admin.find("clusterrolebindings") + _all(admin, "rolebindings"):
        if not any(_is(subject, account, namespace) for subject in binding.get("subjects", [])):
            continue
        place = binding["metadata"].get("namespace", EVERYWHERE)
        reference = binding["roleRef"]
        role = (admin if reference["kind"] == "ClusterRole" else admin.within(place)).get(
            reference["kind"].lower(), reference["name"]
        )
        assert role is not None, f"the binding {binding['metadata']['name']} names no role"
        for rule in role["rules"]:
            assert EVERYWHERE not in (*rule["verbs"], *rule["apiGroups"], *rule["resources"]), rule
            found |= {
                Right(place, verb, group, resource, name)
                for verb in rule["verbs"]
                for group in rule["apiGroups"]
                for resource in rule["resources"]
                for name in rule.get("resourceNames", [""])
            }
    return found


def used(requests: Iterable[Request], rights: set[Right]) -> tuple[set[Right], set[Request]]:
    """The rights that these requests needed, as they are granted; and the requests that no right covers.

    A server-side apply is a patch in the log; where it made the object, the API server asked for `create` too."""
    needed: set[Right] = set()
    uncovered: set[Request] = set()
    for request in requests:
        verbs = [request.verb] + (["create"] if request.verb == "patch" and request.code == CREATED else [])
        for verb in verbs:
            fitting = {right for right in rights if _covers(right, verb, request)}
            needed |= fitting
            if not fitting:
                uncovered.add(request)
        if request.resource == "rolebindings" and request.writes:
            # Who binds a role must hold what it grants, or have the right to bind it: that is asked for inside.
            needed |= {
                right for right in rights if right.verb == "bind" and right.place in (EVERYWHERE, request.namespace)
            }
    return needed, uncovered


def _covers(right: Right, verb: str, request: Request) -> bool:
    return (
        (right.verb, right.group, right.resource) == (verb, request.group, request.resource)
        and right.place in (EVERYWHERE, request.namespace)
        and right.name in ("", request.name)
    )


def _all(admin: Kubectl, kind: str) -> list[dict[str, Any]]:
    return [each for place in admin.find("namespaces") for each in admin.within(place["metadata"]["name"]).find(kind)]


def _is(subject: dict[str, Any], account: str, namespace: str) -> bool:
    return (subject["kind"], subject["name"], subject.get("namespace")) == ("ServiceAccount", account, namespace)
