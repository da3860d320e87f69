#!/usr/bin/env python3
"""Checks that the engine's kernels can be loaded here.

vLLM only warns when they cannot, and later ends over something else. `kernels.py` ends with 1 and says what is
missing, so that an image without a library cannot be built. Every kernel library is looked at with `ldd`, which runs
nothing of it: one for a newer CPU than the builder's must not be run there. The one that vLLM takes on this CPU is
loaded as well.
"""

import ctypes
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path


def package(name: str) -> Path:
    """The folder of an installed package, which is not imported. Raises ModuleNotFoundError."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{name} is not installed in {sys.prefix}")
    return Path(spec.origin).parent


def problems(library: Path, search: str) -> list[str]:
    """What keeps a library from being loaded, in the loader's words."""
    environment = {**os.environ, "LD_LIBRARY_PATH": search}
    command = ["ldd", str(library)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = [line.strip() for line in done.stdout.splitlines()]
    return [line for line in lines if "not found" in line] if done.returncode == 0 else lines


def chosen() -> str:
    """The library that vLLM takes on this CPU (CpuPlatform.import_kernels); "" where it has none that can run."""
    import torch

    if not torch.cpu._is_avx512_supported():
        return "_C_AVX2" if torch.cpu._is_avx2_supported() else ""
    return "_C" if torch.cpu._is_avx512_bf16_supported() else "_C_AVX512"


def main() -> int:
    """0 when all of them can be loaded."""
    folder = package("vllm")
    search = ":".join(filter(None, (str(package("torch") / "lib"), os.environ.get("LD_LIBRARY_PATH"))))
    libraries = sorted(folder.glob("_C*.so"))
    found = [f"{library.name}: {problem}" for library in libraries for problem in problems(library, search)]
    if not libraries:
        found = [f"no kernel library in {folder}"]
    if not found and (name := chosen()):
        try:
            ctypes.CDLL(str(folder / f"{name}.abi3.so"))
        except OSError as error:
            found = [f"{name}: {error}"]
    print("\n".join(found) or f"{len(libraries)} kernel libraries can be loaded")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
