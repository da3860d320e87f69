"""The first process of a container: builds its file tree, drops everything inherited, becomes the command.

Started by the kubelet inside the pod's namespaces and a new process tree, once per container start, so it
must be light: the standard library only (`python -I -S`). It reads what to do from one descriptor and writes
to another what went wrong; that one closes by itself when the command is executed, which is how the kubelet
learns that the container runs.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from playground.kubelet.rootfs import build
from playground.kubelet.syscalls import die_with_parent, unshare_mounts


def _find(name: str, path: str) -> str:
    """Return the executable that a shell would find. Raises OSError with the runtime's usual words."""
    if "/" in name:
        if not os.path.exists(name):
            raise OSError(f'exec: "{name}": stat {name}: no such file or directory')
        if os.path.isdir(name) or not os.access(name, os.X_OK):
            raise OSError(f'exec: "{name}": permission denied')
        return name
    for folder in path.split(":"):
        candidate = os.path.join(folder or ".", name)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    raise OSError(f'exec: "{name}": executable file not found in $PATH')


def _become(spec: dict[str, Any], status: int) -> None:
    os.chroot(build(spec))
    os.chdir(spec["cwd"])
    os.umask(0o022)
    program = _find(spec["argv"][0], spec["env"].get("PATH", ""))
    # Python ignores these two, and ignored signals survive an exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    os.closerange(3, status)
    os.closerange(status + 1, 4096)
    os.execve(program, spec["argv"], spec["env"])  # noqa: S606 - the container's command, no shell


def main() -> None:
    """Read the specification from descriptor argv[1], report failure on descriptor argv[2]."""
    source, status = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(status, False)
    try:
        die_with_parent()
        with open(source, encoding="utf-8") as stream:
            spec = json.load(stream)
        unshare_mounts()
        _become(spec, status)
    except (OSError, KeyError, ValueError) as error:
        os.write(status, str(error).encode()[:4000])
        os._exit(128)
