"""Checks that an image reference finds its entry, and fails as a pull does without one."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from playground.kubelet.__main__ import REPOSITORY, placeholders
from playground.kubelet.images import ImageTable, PullError, canonical, familiar, load_table

SHIPPED = REPOSITORY / "playground" / "images.yaml"


@pytest.fixture(scope="module")
def table() -> ImageTable:
    return load_table([SHIPPED], placeholders())


@pytest.mark.parametrize(
    ("reference", "short", "full"),
    [
        ("nginx", "nginx:latest", "docker.io/library/nginx:latest"),
        ("docker.io/library/nginx:1", "nginx:1", "docker.io/library/nginx:1"),
        ("vllm/vllm-openai:v0.32.0", "vllm/vllm-openai:v0.32.0", "docker.io/vllm/vllm-openai:v0.32.0"),
        ("ghcr.io/a/b", "ghcr.io/a/b:latest", "ghcr.io/a/b:latest"),
        ("localhost:5000/a@sha256:0", "localhost:5000/a@sha256:0", "localhost:5000/a@sha256:0"),
    ],
)
def test_names(reference: str, short: str, full: str) -> None:
    assert (familiar(reference), canonical(reference)) == (short, full)


@pytest.mark.parametrize(
    ("reference", "first"),
    [
        ("vllm/vllm-openai:v0.33.0", "vllm"),
        ("docker.io/vllm/vllm-openai@sha256:00", "vllm"),
        ("ghcr.io/you/tierwise/operator:0.1.0", "tierwise"),
        ("tierwise/operator", "tierwise"),
    ],
)
def test_the_shipped_table_knows_what_is_deployed(table: ImageTable, reference: str, first: str) -> None:
    assert table.find(reference).entrypoint[0] == first


def test_nothing_is_left_to_fill_in(table: ImageTable) -> None:
    for entry in table.entries:
        assert "{" not in "".join((*entry.bin, *entry.entrypoint, *entry.env.values()))
        for folder in entry.bin:
            assert Path(folder).is_dir(), folder


def test_an_unknown_image_is_a_failed_pull(table: ImageTable) -> None:
    with pytest.raises(PullError, match=r'^failed to pull and unpack image "docker.io/library/nginx:1"'):
        table.find("nginx:1")


def test_later_tables_win_and_mistakes_are_refused(tmp_path: Path) -> None:
    extra = tmp_path / "extra.yaml"
    extra.write_text('images: [{match: ["vllm/*"], note: mine, entrypoint: ["{python}"], env: {X: "{repo}"}}]')
    entry = load_table([SHIPPED, extra], {"python": "/py", "repo": "/r"}).find("vllm/vllm-openai:x")
    assert (entry.note, entry.entrypoint, entry.env["X"]) == ("mine", ("/py",), "/r")
    assert entry.environment()["PATH"].startswith("/usr/local/sbin")
    extra.write_text("images: [{match: [], note: x}]")
    with pytest.raises(ValidationError):
        load_table([extra], {})
