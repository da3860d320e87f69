"""Checks what becomes of client keys: a Secret of hashes that holds none opens nothing, and no key is repeated."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from tierwise.errors import Invalid
from tierwise_router.route_file import read_tenants

KEYS = ("key-of-blue", "new-key-of-blue", "key-of-green")
OLD, NEW, GREEN = (sha256(key.encode()).hexdigest() for key in KEYS)


def _secret(folder: Path, **entries: str) -> Path:
    """Mounted as kubelet does it: the entries are links to a hidden folder."""
    data = folder / "..data"
    data.mkdir()
    for name, text in entries.items():
        (data / name).write_text(text)
        (folder / name).symlink_to(Path("..data") / name)
    return folder


@pytest.mark.parametrize("entries", [{}, {"blue": ""}, {"blue": "\n\n", "green": " "}], ids=["empty", "blank", "lines"])
def test_a_secret_without_a_hash_does_not_open_the_route(tmp_path: Path, entries: dict[str, str]) -> None:
    with pytest.raises(Invalid, match="there is no client key"):
        read_tenants(_secret(tmp_path, **entries))


@pytest.mark.parametrize("wrong", ["key-of-blue", OLD.upper(), OLD[:-1], f"{OLD}0"])
def test_a_key_in_place_of_its_hash_is_refused_and_not_repeated(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(Invalid, match="SHA-256 hashes") as refused:
        read_tenants(_secret(tmp_path, blue=f"{NEW}\n{wrong}\n"))
    assert wrong not in refused.value.message
    assert NEW not in refused.value.message


def test_while_keys_change_a_tenant_has_both(tmp_path: Path) -> None:
    tenants = read_tenants(_secret(tmp_path, blue=f"{OLD}\n{NEW}\n", green=GREEN))
    assert tenants == {OLD: "blue", NEW: "blue", GREEN: "green"}
