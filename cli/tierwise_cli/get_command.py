"""Runs `tierwise get`: tiers, routes and GPU pools, each with the columns that its CRD names.

The API server makes the tables, as for kubectl: a column that is added to a CRD is here, too, and an older release of
this command shows what a newer operator has to say.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tierwise.errors import Gone, Invalid, TierwiseError
from tierwise.kube.user_client import JSON, TABLE, UserClient
from tierwise_cli import cluster_options
from tierwise_cli.kinds import KINDS, TIERS, Kind, asked
from tierwise_cli.output import table, write_data

EXAMPLES = """\
examples:
  tierwise get
  tierwise get -A -o wide
  tierwise get tiers -l team=search
  tierwise get tier chat -n models -o yaml
  tierwise get route/chat -o json"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "what",
        nargs="*",
        metavar="[KIND] [NAME]",
        help="tiers, routes or pools, or one of them by name (also as tier/NAME); default: all kinds",
    )
    parser.add_argument(
        "-o", "--output", choices=("wide", "json", "yaml", "name"), help="wide: more columns; json, yaml: whole objects"
    )
    parser.add_argument("-l", "--selector", metavar="LABELS", help="only objects with these labels, e.g. team=search")
    parser.add_argument("--no-headers", action="store_true", help="leave the line of headers out")
    cluster_options.add(parser, all_namespaces=True)


@dataclass(slots=True)
class Listing:
    """What was found of one kind: the columns of its table (name, whether only `wide` shows it), cells by object."""

    kind: Kind
    columns: list[tuple[str, bool]] = field(default_factory=list)
    rows: list[tuple[str, list[str]]] = field(default_factory=list)  # namespace, cells


def run(given: argparse.Namespace) -> int:
    """Print what there is; the exit code. Raises TierwiseError (Invalid for options that exclude each other)."""
    kinds, objects = asked(given.what)
    if objects and given.selector:
        raise Invalid("-l chooses among all objects of a kind: leave out either -l or the names")
    if given.all_namespaces and any(kind.namespaced for kind, _ in objects):
        raise Invalid("a name is looked for in one namespace: give it with -n in place of -A")
    with cluster_options.client(given) as client:
        namespace = cluster_options.namespace(given, client)
        if given.output in ("json", "yaml", "name"):
            return _whole(given, client, namespace, kinds, objects)
        return _tables(given, client, namespace, kinds, objects)


def _whole(
    given: argparse.Namespace,
    client: UserClient,
    namespace: str,
    kinds: tuple[Kind, ...],
    objects: tuple[tuple[Kind, str], ...],
) -> int:
    found: list[Mapping[str, Any]] = []
    for kind, name in objects:
        found.append(_one(client, kind, namespace, name, JSON))
    for kind in kinds:
        pages = _pages(client, kind, namespace, given, JSON, needed=bool(given.what))
        # the items of a list do not say what they are
        head = {"apiVersion": "tierwise.io/v1alpha1", "kind": kind.name}
        found += [{**head, **item} for page in pages for item in page.get("items") or ()]
    for each in found:  # who wrote which field fills screens, and kubectl leaves it out as well
        each["metadata"].pop("managedFields", None)
    if given.output == "name":
        for each in found:
            print(f"{str(each['kind']).lower()}.tierwise.io/{each['metadata']['name']}")
    elif len(objects) == 1 and not kinds:
        write_data(given.output, found[0])
    else:
        write_data(given.output, {"apiVersion": "v1", "kind": "List", "items": found})
    return 0


def _tables(
    given: argparse.Namespace,
    client: UserClient,
    namespace: str,
    kinds: tuple[Kind, ...],
    objects: tuple[tuple[Kind, str], ...],
) -> int:
    listings: list[Listing] = []
    for kind in KINDS:
        listing = Listing(kind)
        for wanted, name in objects:
            if wanted is kind:
                _add(listing, _one(client, kind, namespace, name, TABLE), namespace)
        if kind in kinds:
            for page in _pages(client, kind, namespace, given, TABLE, needed=bool(given.what)):
                _add(listing, page, namespace)
        if listing.rows:
            listings.append(listing)
    if not listings:
        where = f" in namespace {namespace}" if namespace else " in any namespace"
        asked_for = [kind for kind in (kinds or (TIERS,)) if kind.namespaced or given.what]
        within = " and ".join(f"{kind.name}s" for kind in asked_for if kind.namespaced)
        said = [f"{within}{where}"] if within else []
        said += [f"{kind.name}s" for kind in asked_for if not kind.namespaced]
        print(f"tierwise: there are no {' and no '.join(said)}", file=sys.stderr)
    for number, listing in enumerate(listings):
        print(("\n" if number else "") + _text(listing, given, spaces=not namespace))
    return 0


def _one(client: UserClient, kind: Kind, namespace: str, name: str, accept: str) -> Mapping[str, Any]:
    where = f" in namespace {namespace}" if kind.namespaced else ""
    try:
        found: Mapping[str, Any] = client.get(
            f"get {kind.plural} {name}", kind.path(namespace, name), accept=accept
        ).body
        return found
    except Gone as gone:
        raise Gone(f"there is no {kind.name} {name}{where}", status=404) from gone


def _pages(
    client: UserClient, kind: Kind, namespace: str, given: argparse.Namespace, accept: str, *, needed: bool
) -> Iterable[Mapping[str, Any]]:
    """The pages of a kind; none where the cluster does not have the kind and nobody asked for it by name."""
    query = {"labelSelector": given.selector} if given.selector else {}
    try:
        yield from client.pages(f"list {kind.plural}", kind.path(namespace), query, accept)
    except Gone as gone:
        if needed or kind is TIERS:
            raise Gone(
                f"the cluster has no {kind.plural}.tierwise.io: install the chart tierwise-crds, or "
                "`tierwise crds | kubectl apply --server-side -f -`",
                status=404,
            ) from gone
    except TierwiseError:
        if needed or kind.namespaced:  # who may not read the pools of the cluster still sees their tiers
            raise


def _add(listing: Listing, page: Mapping[str, Any], namespace: str) -> None:
    columns = page.get("columnDefinitions") or ()
    listing.columns = [(str(column["name"]), bool(column.get("priority"))) for column in columns] or listing.columns
    for row in page.get("rows") or ():
        metadata = (row.get("object") or {}).get("metadata") or {}
        cells = ["" if cell is None else str(cell) for cell in row.get("cells") or ()]
        listing.rows.append((str(metadata.get("namespace") or namespace), cells))


def _text(listing: Listing, given: argparse.Namespace, *, spaces: bool) -> str:
    shown = [at for at, (_, wide) in enumerate(listing.columns) if given.output == "wide" or not wide]
    headers = [listing.columns[at][0] for at in shown]
    rows = [[cells[at] for at in shown] for _, cells in listing.rows]
    if spaces and listing.kind.namespaced:
        headers = ["Namespace", *headers]
        rows = [[namespace, *row] for (namespace, _), row in zip(listing.rows, rows, strict=True)]
    text = table(headers, rows)
    return text.partition("\n")[2] if given.no_headers else text
