"""Checks that a container finds its program, wherever that is and whatever is mounted above it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[4]
BUILD = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from playground.kubelet.rootfs import build
spec = json.loads(sys.argv[2])
root = build(spec)
seen = os.path.exists(root + spec["probe"])
try:
    open(root + spec["probe"], "a").close()
    written = True
except OSError:
    written = False
text = open(root + spec["read"]).read() if "read" in spec else ""
print(json.dumps({"seen": seen, "written": written, "text": text}))
"""


def _built(spec: dict[str, Any]) -> dict[str, Any]:
    """What the container sees of `probe`, built in namespaces of its own as the launcher does."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", sys.executable, "-c", BUILD]
    done = subprocess.run([*command, str(REPOSITORY), json.dumps(spec)], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize("mounts", [[], ["/tmp"]], ids=["plain", "volume-above"])
@pytest.mark.parametrize("read_only_root", [False, True])
def test_a_program_below_tmp_is_visible_and_read_only(tmp_path: Path, mounts: list[str], read_only_root: bool) -> None:
    """A checkout under /tmp, and the operator's pod mounts an emptyDir at /tmp."""
    root, volume, program = tmp_path / "root", tmp_path / "volume", tmp_path / "checkout"
    for folder in (root, volume, program):
        folder.mkdir()
    (program / "tierwise").write_text("#!")
    spec = {
        "root": str(root),
        "keep": [str(program)],
        "mounts": [{"source": str(volume), "target": target, "read_only": False} for target in mounts],
        "cwd": "/",
        "read_only_root": read_only_root,
        "probe": str(program / "tierwise"),
    }
    if not str(tmp_path).startswith("/tmp/"):
        spec["mounts"] = []  # elsewhere the host's folder is simply visible
    assert _built(spec) == {"seen": True, "written": False, "text": ""}


def test_a_program_below_tmp_is_visible_to_a_container_that_is_started_again(tmp_path: Path) -> None:
    """The first one left its mount point in the volume at /tmp."""
    above = f"/{tmp_path.parts[1]}"  # /tmp on most machines
    root, volume, program = tmp_path / "root", tmp_path / "volume", tmp_path / "checkout"
    for folder in (root, program, volume / program.relative_to(above)):
        folder.mkdir(parents=True)
    (program / "tierwise").write_text("#!")
    spec = {
        "root": str(root),
        "keep": [str(program)],
        "mounts": [{"source": str(volume), "target": above, "read_only": False}],
        "cwd": "/",
        "read_only_root": True,
        "probe": str(program / "tierwise"),
    }
    assert _built(spec) == {"seen": True, "written": False, "text": ""}


def test_a_volume_below_etc_does_not_hide_the_pod_s_resolver(tmp_path: Path) -> None:
    """A router has its Secrets below /etc/tierwise, which no host has, and asks the cluster's DNS for its provider."""
    root, secret, resolver = tmp_path / "root", tmp_path / "secret", tmp_path / "resolv.conf"
    for folder in (root, secret):
        folder.mkdir()
    (secret / "token").write_text("key")
    resolver.write_text("nameserver 10.201.0.10\n")
    spec = {
        "root": str(root),
        "keep": [],
        "mounts": [
            {"source": str(resolver), "target": "/etc/resolv.conf", "read_only": False},
            {"source": str(secret), "target": "/etc/tierwise/providers/hosted", "read_only": True},
        ],
        "cwd": "/",
        "read_only_root": True,
        "probe": "/etc/tierwise/providers/hosted/token",
        "read": "/etc/resolv.conf",
    }
    assert _built(spec) == {"seen": True, "written": False, "text": "nameserver 10.201.0.10\n"}
