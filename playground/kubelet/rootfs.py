"""Builds a container's file tree without an image.

The root is a small tmpfs. Every entry of the host's root is bound into it, except those that belong to one
machine's life (/tmp, /run, /mnt, /proc, /dev), which start empty or minimal. The host's part is read-only:
a pod may fill its own tmpfs and its volumes, and never the machine. A volume may be mounted
anywhere: where the place does not exist and its folder is the host's, that folder is replaced by a tmpfs
that binds the host's entries one by one ("opened"), so that nothing is ever created on the host.

Runs in the launcher, inside the container's new mount namespace; standard library only.
"""

from __future__ import annotations

import os
import stat
from typing import Any

from playground.kubelet.syscalls import MS_BIND, MS_REC, mount, set_read_only

FRESH = {"tmp": 0o1777, "run": 0o755, "mnt": 0o755}
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
DEVICE_PREFIXES = ("nvidia", "dri", "kfd")
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the path inside, of a fresh file system
MAX_LINKS = 40


class RootFs:
    """A container's root under construction at `root` (a folder that exists)."""

    def __init__(self, root: str) -> None:
        """Mount the tmpfs that becomes the root."""
        self.root = root
        # Which folders are ours to create things in: the longest prefix of a path decides.
        self._ours: dict[str, bool] = {"/": True}
        self._opened: list[str] = [""]
        self._writable: list[str] = []
        mount("tmpfs", root, "tmpfs", 0, "mode=755")

    def populate(self) -> None:
        """Fill the root: the host's entries, fresh folders, devices, proc."""
        for name in sorted(os.listdir("/")):
            if name in FRESH or name in ("proc", "dev"):
                continue
            self._bring(f"/{name}")
        for name, mode in FRESH.items():
            os.mkdir(self.root + "/" + name)
            os.chmod(self.root + "/" + name, mode)
        self._devices()
        os.mkdir(self.root + "/proc")
        mount("proc", self.root + "/proc", "proc")
        self._writable.append("/proc")

    def _bring(self, path: str) -> None:
        """Make one entry of the host visible at the same path."""
        target = self.root + path
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(path), target)
            return
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(target)
            self._ours[path] = False
        elif stat.S_ISREG(status.st_mode) or stat.S_ISCHR(status.st_mode):
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
        else:
            return  # a socket or pipe of the host is nobody's business in a container
        mount(path, target, "", MS_BIND | MS_REC)

    def _devices(self) -> None:
        os.mkdir(self.root + "/dev")
        for name in sorted(os.listdir("/dev")):
            if name in DEVICES or name.startswith(DEVICE_PREFIXES):
                self._bring(f"/dev/{name}")
        for name, target in LINKS.items():
            os.symlink(target, f"{self.root}/dev/{name}")
        os.mkdir(self.root + SHARED_MEMORY)
        mount("tmpfs", self.root + SHARED_MEMORY, "tmpfs", 0, "mode=1777,size=64m")
        self._writable.append(SHARED_MEMORY)

    def bind(self, source: str, path: str, *, read_only: bool = False) -> None:
        """Mount a host path at `path` of the container."""
        real = self.ensure(path, folder=os.path.isdir(source))
        mount(source, self.root + real, "", MS_BIND | MS_REC)
        self._ours[real] = True
        if read_only:
            set_read_only(self.root + real, read_only=True, recursive=True)
        else:
            self._writable.append(real)

    def seal(self, *, read_only_root: bool) -> None:
        """Make the host's part read-only, and with `read_only_root` everything but volumes and /proc."""
        set_read_only(self.root, read_only=True, recursive=True)
        again = self._writable if read_only_root else [*self._opened, *self._writable]
        for path in again:
            set_read_only(self.root + path, read_only=False, recursive=False)

    def ensure(self, path: str, *, folder: bool) -> str:
        """Make sure that `path` exists as a folder or file; return it with links resolved inside the root."""
        parts, done, links = [part for part in path.split("/") if part], "", 0
        while parts:
            part = parts.pop(0)
            here = f"{done}/{part}"
            if os.path.islink(self.root + here):
                links += 1
                if links > MAX_LINKS:
                    raise OSError(f"too many links in {path}")
                target = os.readlink(self.root + here)
                if target.startswith("/"):
                    done = ""
                parts = [piece for piece in target.split("/") if piece and piece != "."] + parts
                continue
            if part == "..":
                done = done.rpartition("/")[0]
                continue
            if not os.path.exists(self.root + here):
                self._create(done or "/", here, folder=folder or bool(parts))
            done = here
        return done or "/"

    def _create(self, parent: str, path: str, *, folder: bool) -> None:
        if not self._is_ours(parent):
            self._open(parent)
        if folder:
            os.mkdir(self.root + path, 0o755)
        else:
            os.close(os.open(self.root + path, os.O_CREAT | os.O_WRONLY, 0o644))

    def _is_ours(self, path: str) -> bool:
        while path not in self._ours:
            path = path.rpartition("/")[0] or "/"
        return self._ours[path]

    def _open(self, path: str) -> None:
        """Replace a folder of the host by a tmpfs with the same entries."""
        mode = stat.S_IMODE(os.stat(path).st_mode)
        mount("tmpfs", self.root + path, "tmpfs", 0, f"mode={mode:o}")
        self._ours[path] = True
        self._opened.append(path)
        try:
            names = sorted(os.listdir(path))
        except PermissionError:
            names = []  # another user's folder: what we may not see cannot be in the container
        for name in names:
            self._bring(f"{path}/{name}")


def _same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def build(spec: dict[str, Any]) -> str:
    """Build the root that a launch specification describes; return its path. Raises OSError."""
    tree = RootFs(spec["root"])
    tree.populate()
    # Shallow first, so that a volume inside another's folder is mounted after it.
    mounts = sorted(spec["mounts"], key=lambda m: m["target"].rstrip("/").count("/"))
    # All places before the first mount: a folder that is opened for a place hides what is mounted in it already, as
    # /etc for /etc/keys would hide the pod's /etc/resolv.conf.
    for entry in mounts:
        tree.ensure(entry["target"], folder=os.path.isdir(entry["source"]))
    for entry in mounts:
        tree.bind(entry["source"], entry["target"], read_only=entry["read_only"])
    # Last, since a fresh folder or a volume (a checkout under /tmp, an emptyDir at /tmp) would hide the program.
    # An empty folder may stand in its place in a volume: the mount point of the container before this one.
    for path in spec["keep"]:
        if not _same(path, tree.root + path):
            tree.bind(path, path, read_only=True)
    tree.ensure(spec["cwd"], folder=True)
    tree.seal(read_only_root=spec["read_only_root"])
    return tree.root
