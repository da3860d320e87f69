"""Checks that everybody gets an identity of their own, and that the token file agrees with the kubeconfigs."""

from __future__ import annotations

import base64
import csv
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from playground.identities import write_identities
from playground.layout import API_URL, Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path / "state")
    found.make()
    found.ca.write_bytes(b"the authority")
    return found


def _read(path: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(path.read_text())
    return parsed


def test_each_token_belongs_to_one_user_and_to_the_kubeconfig_of_that_name(layout: Layout) -> None:
    write_identities(layout, ["gpu-0", "gpu-1"], 4711)
    rows = list(csv.reader((layout.pki / "tokens.csv").read_text().splitlines()))
    users = {row[0]: (row[1], row[3]) for row in rows}
    assert len(users) == len(rows)
    assert len({user for user, _ in users.values()}) == len(rows)

    token = _read(layout.kubeconfig("node-gpu-1"))["users"][0]["user"]["token"]
    assert users[token] == ("system:node:gpu-1", "system:nodes")
    token = _read(layout.kubeconfig("kserve"))["users"][0]["user"]["token"]
    assert users[token][0] == "system:serviceaccount:kserve:kserve-controller-manager"
    assert users[token][1] == "system:serviceaccounts,system:serviceaccounts:kserve"


def test_host_and_inside_differ_only_in_the_address(layout: Layout) -> None:
    admin = write_identities(layout, [], 4711)
    host, inside = _read(layout.host_kubeconfig), _read(layout.admin_kubeconfig)
    assert host["clusters"][0]["cluster"].pop("server") == "https://127.0.0.1:4711"
    assert inside["clusters"][0]["cluster"].pop("server") == API_URL
    assert host == inside
    assert host["users"][0]["user"]["token"] == admin
    assert base64.b64decode(host["clusters"][0]["cluster"]["certificate-authority-data"]) == b"the authority"


def test_whatever_holds_a_token_is_for_its_owner_alone(layout: Layout) -> None:
    write_identities(layout, ["gpu-0"], 4711)
    holders = [*layout.state.glob("*.kubeconfig"), layout.pki / "tokens.csv"]
    assert len(holders) == 9
    assert {stat.S_IMODE(path.stat().st_mode) for path in holders} == {0o600}
    assert stat.S_IMODE(layout.state.stat().st_mode) == 0o700
